package reflection

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Pods are the pods at home, from a cache that somebody else keeps.
type Pods interface {
	// List returns the pods of a namespace, and false as long as the cache cannot know them all.
	List(namespace string) ([]*corev1.Pod, bool)
	// OnChange makes f be called for each pod that is added, changed (with the new state) or deleted (with the last).
	OnChange(f func(pod *corev1.Pod))
}

// Facts are what kinds need to know of the world.
type Facts struct {
	// OurNode says whether a node of the home cluster is one of this provider's virtual Nodes.
	OurNode func(name string) bool
	// Pods are the pods at home.
	Pods Pods
	// ClusterOf is the id of the cluster where the pods of a node run: a provider's for virtual Nodes, home's for all
	// others.
	ClusterOf func(node string) string
	// Reach returns the address at which the provider reaches what home reaches at the given one; without it the
	// network is flat.
	Reach func(home netip.Addr) netip.Addr
	// LoadBalancerClasses are what the provider offers; without it none is known.
	LoadBalancerClasses func() []v1beta1.LoadBalancerType
	// IngressClasses are what the provider offers; without it none is known.
	IngressClasses func() []v1beta1.IngressType
	// Volumes are the home volumes whose data are on the provider; without them no claims are reflected.
	Volumes Volumes
}

// withDefaults fills in what is optional.
func (f Facts) withDefaults() Facts {
	if f.Reach == nil {
		f.Reach = func(home netip.Addr) netip.Addr { return home }
	}
	if f.LoadBalancerClasses == nil {
		f.LoadBalancerClasses = func() []v1beta1.LoadBalancerType { return nil }
	}
	if f.IngressClasses == nil {
		f.IngressClasses = func() []v1beta1.IngressType { return nil }
	}
	return f
}

// Kinds is what is reflected. A new kind is a line here, its own file, and its rights in the roles
// liqo-offloaded-namespace (home) and liqo-twin (away).
func Kinds(facts Facts) []Reflected {
	facts = facts.withDefaults()
	kinds := []Reflected{
		mirror(Services(facts.LoadBalancerClasses)),
		mirror(EndpointSlices(facts)),
		mirror(ConfigMaps()),
		mirror(Secrets(facts.Pods, facts.OurNode)),
		mirror(Ingresses(facts.IngressClasses)),
		mirror(NetworkPolicies()),
		mirror(PodDisruptionBudgets()),
	}
	if facts.Volumes != nil {
		kinds = append(kinds, mirror(PersistentVolumeClaims(facts.Volumes)))
	}
	return kinds
}
