package reflection

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
)

// ourNode knows one virtual Node of the provider, clusterOf two, and one of another provider.
func ourNode(name string) bool { return name == "vn-1" }

func clusterOf(node string) string {
	switch node {
	case "vn-1":
		return "provider-1"
	case "vn-2":
		return "provider-2"
	default:
		return "home"
	}
}

// endpoint is one that is ready, on a node and in a zone unless they are empty.
func endpoint(address, node, zone string) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{
		Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)},
	}
	if node != "" {
		e.NodeName = &node
	}
	if zone != "" {
		e.Zone = &zone
	}
	return e
}

func becoming(e discoveryv1.Endpoint, change func(*discoveryv1.Endpoint)) discoveryv1.Endpoint {
	change(&e)
	return e
}

func notReady(e *discoveryv1.Endpoint) { e.Conditions.Ready = ptr.To(false) }

func hinted(zone string, nodes ...string) func(*discoveryv1.Endpoint) {
	return func(e *discoveryv1.Endpoint) {
		e.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}}
		for _, node := range nodes {
			e.Hints.ForNodes = append(e.Hints.ForNodes, discoveryv1.ForNode{Name: node})
		}
	}
}

// facts are of a flat network.
func facts() Facts { return Facts{OurNode: ourNode, ClusterOf: clusterOf}.withDefaults() }

func TestEndpointsThatTheProviderIsTold(t *testing.T) {
	const four, six = discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6
	type endpoints []discoveryv1.Endpoint
	state := discoveryv1.EndpointConditions{Ready: ptr.To(false), Serving: ptr.To(true), Terminating: ptr.To(true)}
	for name, tc := range map[string]struct {
		family discoveryv1.AddressType
		home   endpoints
		want   endpoints
	}{
		"those at home run in the home cluster, and keep their zone": {
			four, endpoints{endpoint("10.0.0.1", "worker-1", "a")}, endpoints{endpoint("10.0.0.1", "home", "a")},
		},
		"those on another provider run there": {
			six, endpoints{endpoint("fd00::1", "vn-2", "provider-2")},
			endpoints{endpoint("fd00::1", "provider-2", "provider-2")},
		},
		"those that are no pods run in no cluster": {
			four, endpoints{endpoint("192.0.2.1", "", "")}, endpoints{endpoint("192.0.2.1", "", "")},
		},
		"not those that run there": {
			four, endpoints{endpoint("10.0.0.1", "worker-1", ""), endpoint("10.2.0.1", "vn-1", "")},
			endpoints{endpoint("10.0.0.1", "home", "")},
		},
		"nothing when all run there": {four, endpoints{endpoint("10.2.0.1", "vn-1", "")}, nil},
		"not what means another machine there": {
			four,
			endpoints{
				endpoint("127.0.0.1", "", ""), endpoint("169.254.169.254", "", ""), endpoint("0.0.0.0", "", ""),
				endpoint("224.0.0.1", "", ""), endpoint("bad", "", ""), endpoint("10.0.0.1", "", ""),
			},
			endpoints{endpoint("10.0.0.1", "", "")},
		},
		"not what means another machine there, IPv6": {
			six, endpoints{endpoint("::1", "", ""), endpoint("fe80::1", "", ""), endpoint("ff02::1", "", "")}, nil,
		},
		"host names as they are": {
			discoveryv1.AddressTypeFQDN, endpoints{endpoint("db.example", "", "")},
			endpoints{endpoint("db.example", "", "")},
		},
		"an address that is there twice, once": {
			four, endpoints{endpoint("10.0.0.1", "worker-1", ""), endpoint("10.0.0.1", "vn-2", "")},
			endpoints{endpoint("10.0.0.1", "home", "")},
		},
		"an address that is there twice, as the one that is ready": {
			four,
			endpoints{becoming(endpoint("10.0.0.1", "worker-1", ""), notReady), endpoint("10.0.0.1", "vn-2", "")},
			endpoints{endpoint("10.0.0.1", "provider-2", "")},
		},
		"in one order, whatever home's is": {
			four, endpoints{endpoint("10.0.0.3", "", ""), endpoint("10.0.0.1", "", ""), endpoint("10.0.0.2", "", "")},
			endpoints{endpoint("10.0.0.1", "", ""), endpoint("10.0.0.2", "", ""), endpoint("10.0.0.3", "", "")},
		},
		"state and host name are kept; pod, old topology and home's hints mean nothing there": {
			four,
			endpoints{becoming(endpoint("10.0.0.1", "", "a"), func(e *discoveryv1.Endpoint) {
				hinted("b")(e)
				e.Conditions, e.Hostname = state, ptr.To("web-0")
				e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: "web-0"}
				e.DeprecatedTopology = map[string]string{"old": "x"}
			})},
			endpoints{becoming(endpoint("10.0.0.1", "", "a"), func(e *discoveryv1.Endpoint) {
				e.Conditions, e.Hostname = state, ptr.To("web-0")
			})},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := outlook{facts: facts(), family: tc.family}.all(tc.home)
			if diff := cmp.Diff(tc.want, endpoints(got)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestEndpointsOfAServiceWithoutSelector(t *testing.T) {
	service := build.Service("shop", "web")
	service.Spec.Selector = nil
	home := []discoveryv1.Endpoint{endpoint("10.1.0.1", "vn-1", ""), endpoint("192.0.2.1", "", "")}
	got := outlook{facts: facts(), family: discoveryv1.AddressTypeIPv4, service: service}.all(home)
	want := []discoveryv1.Endpoint{endpoint("10.1.0.1", "provider-1", ""), endpoint("192.0.2.1", "", "")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nobody over there finds its pods; -want,+got:\n%s", diff)
	}
}

func TestHintsForTheProvidersProxies(t *testing.T) {
	distributed := func(how string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.TrafficDistribution = &how }
	}
	annotated := func(key, value string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Annotations = map[string]string{key: value} }
	}
	none := func(*discoveryv1.Endpoint) {}
	for name, tc := range map[string]struct {
		service          func(*corev1.Service)
		zoned, unzoned   func(*discoveryv1.Endpoint)
		withoutNodeOrPod func(*discoveryv1.Endpoint)
	}{
		"traffic goes everywhere": {func(*corev1.Service) {}, none, none, none},
		"traffic prefers its zone": {
			distributed("PreferSameZone"), hinted("a"), hinted("provider-2"), hinted("home"),
		},
		"traffic stays close": {distributed("PreferClose"), hinted("a"), hinted("provider-2"), hinted("home")},
		"traffic prefers its node": {
			distributed("PreferSameNode"),
			hinted("a", "home"), hinted("provider-2", "provider-2"), hinted("home", "home"),
		},
		"a way that we do not know": {distributed("PreferTheMoon"), none, none, none},
		"an annotation leaves it to Kubernetes": {
			annotated(corev1.AnnotationTopologyMode, "Auto"), hinted("a"), hinted("provider-2"), hinted("home"),
		},
		"an older annotation does": {
			annotated(corev1.DeprecatedAnnotationTopologyAwareHints, "auto"),
			hinted("a"), hinted("provider-2"), hinted("home"),
		},
		"an annotation turns it off": {annotated(corev1.AnnotationTopologyMode, "Disabled"), none, none, none},
	} {
		t.Run(name, func(t *testing.T) {
			service := build.Service("shop", "web")
			tc.service(service)
			home := []discoveryv1.Endpoint{
				endpoint("10.0.0.1", "worker-1", "a"), endpoint("10.0.0.2", "vn-2", ""), endpoint("10.0.0.3", "", ""),
			}
			want := []discoveryv1.Endpoint{
				becoming(endpoint("10.0.0.1", "home", "a"), tc.zoned),
				becoming(endpoint("10.0.0.2", "provider-2", ""), tc.unzoned),
				becoming(endpoint("10.0.0.3", "", ""), tc.withoutNodeOrPod),
			}
			got := outlook{facts: facts(), family: discoveryv1.AddressTypeIPv4, service: service}.all(home)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

// What is translated must not come out twice or unroutable either.
func TestEndpointsAreTranslatedForTheProvider(t *testing.T) {
	f := facts()
	f.Reach = func(home netip.Addr) netip.Addr {
		switch home.String() {
		case "10.0.0.1", "10.0.0.2":
			return netip.MustParseAddr("10.9.0.1")
		case "fd00::1":
			return netip.MustParseAddr("fd99::1")
		}
		return home
	}
	for name, tc := range map[string]struct {
		family     discoveryv1.AddressType
		home, want []string
	}{
		"an address":       {discoveryv1.AddressTypeIPv4, []string{"10.0.0.1"}, []string{"10.9.0.1"}},
		"an IPv6 address":  {discoveryv1.AddressTypeIPv6, []string{"fd00::1"}, []string{"fd99::1"}},
		"another":          {discoveryv1.AddressTypeIPv4, []string{"192.0.2.1"}, []string{"192.0.2.1"}},
		"two become one":   {discoveryv1.AddressTypeIPv4, []string{"10.0.0.2", "10.0.0.1"}, []string{"10.9.0.1"}},
		"one was there":    {discoveryv1.AddressTypeIPv4, []string{"10.9.0.1", "10.0.0.1"}, []string{"10.9.0.1"}},
		"a name is a name": {discoveryv1.AddressTypeFQDN, []string{"10.0.0.1.example"}, []string{"10.0.0.1.example"}},
		"as home wrote it": {discoveryv1.AddressTypeIPv6, []string{"FD00:0::2"}, []string{"FD00:0::2"}},
	} {
		t.Run(name, func(t *testing.T) {
			var home []discoveryv1.Endpoint
			for _, address := range tc.home {
				home = append(home, endpoint(address, "worker-1", ""))
			}
			var got []string
			for _, e := range (outlook{facts: f, family: tc.family}).all(home) {
				got = append(got, e.Addresses...)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

// An API server takes up to 1,000 endpoints in a slice, and home puts 100 into one unless it is told otherwise.
func TestManyEndpointsStayInTheirSlices(t *testing.T) {
	kind, seen := EndpointSlices(facts()), map[string]int{}
	for n, size := range []int{1000, 1000, 500, 100, 1} {
		src := build.EndpointSlice("shop", fmt.Sprintf("web-%d", n), "web", "worker-1")
		for i := range size {
			src.Endpoints = append(src.Endpoints, endpoint(fmt.Sprintf("10.%d.%d.%d", n, i/250, i%250), "worker-1", ""))
		}
		dst := &discoveryv1.EndpointSlice{}
		stamp(dst, src, "home", "provider-1")
		kind.Mirror(dst, src)
		if len(dst.Endpoints) != size {
			t.Errorf("%s: want %d endpoints, got %d", src.Name, size, len(dst.Endpoints))
		}
		for _, e := range dst.Endpoints {
			seen[e.Addresses[0]]++
		}
	}
	if len(seen) != 2601 {
		t.Errorf("want 2601 addresses, got %d", len(seen))
	}
}
