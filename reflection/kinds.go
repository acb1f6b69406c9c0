package reflection

import (
	corev1 "k8s.io/api/core/v1"
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
}

// Kinds is what is reflected. A new kind is a line here, its own file, and its rights in the roles
// liqo-offloaded-namespace (home) and liqo-twin (away).
func Kinds(facts Facts) []Reflected {
	return []Reflected{
		mirror(Services()),
		mirror(EndpointSlices(facts.OurNode)),
		mirror(ConfigMaps()),
		mirror(Secrets(facts.Pods, facts.OurNode)),
	}
}
