package reflection

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// triggerTime is an annotation with which the home cluster measures itself.
const triggerTime = "endpoints.kubernetes.io/last-change-trigger-time"

// EndpointSlices bring to the provider the endpoints that it cannot know: those that run at home and on other
// providers. Those on its own virtual Nodes it finds itself, since the Service has its selector there. A slice
// follows its Service, and one without endpoints for the provider has no copy.
func EndpointSlices(facts Facts) Kind[*discoveryv1.EndpointSlice] {
	services := func(string, string) client.Object { return nil }
	elsewhere := func(src *discoveryv1.EndpointSlice) []discoveryv1.Endpoint {
		service, _ := services(src.Namespace, serviceOf(src)).(*corev1.Service)
		return outlook{facts: facts, family: src.AddressType, service: service}.all(src.Endpoints)
	}
	return Kind[*discoveryv1.EndpointSlice]{
		Resource: "endpointslices",
		New:      func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} },
		Whole:    true,
		// The provider's controller copies a Service's labels, our marks among them, to slices of its own.
		Labels: map[string]string{discoveryv1.LabelManagedBy: v1beta1.EndpointSliceManagedBy},
		// The provider's controller makes names in the same way as home's.
		Name: func(src metav1.Object, origin string) string { return suffixed(src.GetName(), origin) },
		Never: func(src *discoveryv1.EndpointSlice) string {
			if src.Labels[discoveryv1.LabelManagedBy] == v1beta1.EndpointSliceManagedBy {
				return "it is a reflection itself"
			}
			if len(elsewhere(src)) == 0 {
				return "all its endpoints run on the provider, or it has none"
			}
			return ""
		},
		Follows: "services",
		Leader:  serviceOf,
		Lead:    func(leader func(namespace, name string) client.Object) { services = leader },
		Mirror: func(dst, src *discoveryv1.EndpointSlice) {
			dst.AddressType, dst.Ports, dst.Endpoints = src.AddressType, src.Ports, elsewhere(src)
			delete(dst.Annotations, triggerTime)
		},
		Replace: func(live, want *discoveryv1.EndpointSlice) bool { return live.AddressType != want.AddressType },
	}
}

// serviceOf is the name of the Service that a slice belongs to.
func serviceOf(slice metav1.Object) string { return slice.GetLabels()[discoveryv1.LabelServiceName] }
