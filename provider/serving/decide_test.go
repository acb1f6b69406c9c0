package serving

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// virtual is a virtual Node of a provider with these addresses and its own name.
func virtual(name, provider string, ips ...string) *corev1.Node {
	node := build.VirtualNodesNode(build.VirtualNode(name, provider))
	node.Labels[v1beta1.LabelRemoteClusterID] = provider
	for _, ip := range ips {
		node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{
			Type: corev1.NodeInternalIP, Address: ip,
		})
	}
	node.Status.Addresses = append(node.Status.Addresses, corev1.NodeAddress{
		Type: corev1.NodeHostName, Address: name,
	})
	return node
}

func addresses(ips ...string) []netip.Addr {
	var out []netip.Addr
	for _, ip := range ips {
		out = append(out, netip.MustParseAddr(ip))
	}
	return out
}

func TestDecide(t *testing.T) {
	good := identity{node: "milan", dns: []string{"milan"}, ips: addresses("10.1.0.7", "fd00::7")}
	for name, tc := range map[string]struct {
		change func(id *identity, f *facts)
		want   answer
		why    string
	}{
		"the agent's own node at its own addresses": {
			func(*identity, *facts) {}, approved, "it is of the agent of provider milan-id, for virtual node milan",
		},
		"one address of several": {
			func(id *identity, _ *facts) { id.dns, id.ips = nil, id.ips[:1] }, approved,
			"it is of the agent of provider milan-id, for virtual node milan",
		},
		"the name alone": {
			func(id *identity, _ *facts) { id.ips = nil }, approved,
			"it is of the agent of provider milan-id, for virtual node milan",
		},
		"an agent on one machine with others": {
			func(id *identity, f *facts) {
				id.ips, f.node = addresses("127.0.0.1"), virtual("milan", "milan-id", "127.0.0.1")
				f.others[netip.MustParseAddr("127.0.0.1")] = "node worker-1"
			}, approved, "it is of the agent of provider milan-id, for virtual node milan",
		},
		"a node of another provider": {
			func(_ *identity, f *facts) { f.provider = "rome-id" }, pending,
			"provider rome-id has no virtual node milan",
		},
		"a VirtualNode that is not there yet": {
			func(_ *identity, f *facts) { f.virtualNode = nil }, pending, "provider milan-id has no virtual node milan",
		},
		"a Node that is not there yet": {
			func(_ *identity, f *facts) { f.node = nil }, pending,
			"node milan is not there, or not of provider milan-id",
		},
		"a Node that somebody has taken over": {
			func(_ *identity, f *facts) { f.node.Labels[v1beta1.LabelRemoteClusterID] = "rome-id" }, pending,
			"node milan is not there, or not of provider milan-id",
		},
		"an ordinary Node": {
			func(_ *identity, f *facts) { delete(f.node.Labels, v1beta1.LabelNodeType) }, pending,
			"node milan is not there, or not of provider milan-id",
		},
		"an address that the Node has not (yet)": {
			func(id *identity, _ *facts) { id.ips = addresses("10.1.0.7", "10.1.0.8") }, pending,
			"10.1.0.8 is not an address of node milan",
		},
		"its name, which is no address of it": {
			func(_ *identity, f *facts) { f.node.Status.Addresses = f.node.Status.Addresses[:2] }, pending,
			"milan is not an address of node milan",
		},
		"another name": {
			func(id *identity, _ *facts) { id.dns = []string{"kubernetes.default.svc", "milan"} }, denied,
			"node milan may not be called kubernetes.default.svc",
		},
		"an ordinary node's address, even if the Node has it": {
			func(_ *identity, f *facts) { f.others[netip.MustParseAddr("10.1.0.7")] = "node worker-1" }, denied,
			"10.1.0.7 is an address of node worker-1",
		},
		"the API server's Service, even if the Node has it": {
			func(_ *identity, f *facts) { f.services = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")} }, denied,
			"10.1.0.7 is an address of Services",
		},
		"the API server itself, even if the Node has it": {
			func(_ *identity, f *facts) { f.others[netip.MustParseAddr("10.1.0.7")] = "the API server" }, denied,
			"10.1.0.7 is an address of the API server",
		},
		"no address at all": {
			func(id *identity, f *facts) {
				id.ips, f.node = addresses("0.0.0.0"), virtual("milan", "milan-id", "0.0.0.0")
			}, denied, "0.0.0.0 is no address of a server",
		},
		"the metadata server of a cloud": {
			func(id *identity, f *facts) {
				id.ips, f.node = addresses("169.254.169.254"), virtual("milan", "milan-id", "169.254.169.254")
			}, denied, "169.254.169.254 is no address of a server",
		},
	} {
		t.Run(name, func(t *testing.T) {
			id, f := good, facts{
				provider: "milan-id", virtualNode: build.VirtualNode("milan", "milan-id"),
				node: virtual("milan", "milan-id", "10.1.0.7", "fd00::7"), others: map[netip.Addr]string{},
			}
			tc.change(&id, &f)
			got, why := decide(id, f)
			if diff := cmp.Diff([]string{string(tc.want), tc.why}, []string{string(got), why}); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestIdentityOf(t *testing.T) {
	node := virtual("milan", "milan-id", "10.1.0.7", "fd00::7", "::ffff:10.1.0.7")
	node.Status.Addresses = append(node.Status.Addresses,
		corev1.NodeAddress{Type: corev1.NodeInternalDNS, Address: "milan"},
		corev1.NodeAddress{Type: corev1.NodeExternalDNS, Address: "kubernetes.default.svc"})
	want := identity{node: "milan", dns: []string{"milan"}, ips: addresses("10.1.0.7", "fd00::7")}
	got := identityOf(node)
	if !want.equal(got) {
		t.Errorf("want %v, got %v", want, got)
	}
	for name, other := range map[string]identity{
		"another node": {node: "rome", dns: want.dns, ips: want.ips}, "no name": {node: "milan", ips: want.ips},
		"one address less": {node: "milan", dns: want.dns, ips: want.ips[:1]},
	} {
		if want.equal(other) {
			t.Errorf("%s is taken for the same", name)
		}
	}
}
