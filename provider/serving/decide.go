package serving

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// answer is what is done about a request.
type answer string

const (
	// approved: the cluster's authority signs.
	approved answer = "approved"
	// denied for good.
	denied answer = "denied"
	// pending until the VirtualNode or its Node says otherwise; it may be that the agent was faster than our caches.
	pending answer = "pending"
)

// facts are what home knows about the Node that a request of a provider's agent names.
type facts struct {
	provider string
	// virtualNode is the one of that name in the provider's tenant namespace, node the Node of that name; nil if none.
	virtualNode *v1beta1.VirtualNode
	node        *corev1.Node
	// others are the addresses of all Nodes that are not virtual and of the API server, with whose they are, and
	// services the ranges of Services' addresses. An agent writes the addresses of its own Node: it must not make
	// itself another server.
	others   map[netip.Addr]string
	services []netip.Prefix
}

// decide says what is done about a request, and why.
func decide(id identity, f facts) (answer, string) {
	if why := f.notOurs(id.node); why != "" {
		return pending, why
	}
	for _, name := range id.dns {
		if name != id.node {
			return denied, fmt.Sprintf("node %s may not be called %s", id.node, name)
		}
	}
	for _, ip := range id.ips {
		if why := f.reserved(ip); why != "" {
			return denied, fmt.Sprintf("%s is %s", ip, why)
		}
	}
	if missing := id.beyond(identityOf(f.node)); missing != "" {
		return pending, fmt.Sprintf("%s is not an address of node %s", missing, id.node)
	}
	return approved, fmt.Sprintf("it is of the agent of provider %s, for virtual node %s", f.provider, id.node)
}

// notOurs says why a Node is none that the provider's agent may speak for; "" if it is one.
func (f facts) notOurs(node string) string {
	if f.virtualNode == nil || f.virtualNode.Spec.ClusterID != f.provider {
		return fmt.Sprintf("provider %s has no virtual node %s", f.provider, node)
	}
	if f.node == nil || f.node.Labels[v1beta1.LabelRemoteClusterID] != f.provider ||
		f.node.Labels[v1beta1.LabelNodeType] != v1beta1.NodeTypeVirtual {
		return fmt.Sprintf("node %s is not there, or not of provider %s", node, f.provider)
	}
	return ""
}

// beyond returns a name or address that the other identity has not, "" if there is none.
func (id identity) beyond(other identity) string {
	for _, ip := range id.ips {
		if !slices.Contains(other.ips, ip) {
			return ip.String()
		}
	}
	for _, name := range id.dns {
		if !slices.Contains(other.dns, name) {
			return name
		}
	}
	return ""
}

// reserved says whose an address is that no virtual Node may have; "" for others. Loopback addresses are everybody's:
// they lead nowhere but to the machine of whoever uses them.
func (f facts) reserved(ip netip.Addr) string {
	if ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast() {
		return "no address of a server"
	}
	if whose, ok := f.others[ip]; ok && !ip.IsLoopback() {
		return "an address of " + whose
	}
	for _, services := range f.services {
		if services.Contains(ip) {
			return "an address of Services"
		}
	}
	return ""
}
