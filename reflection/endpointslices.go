package reflection

import (
	"net/netip"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// triggerTime is an annotation with which the home cluster measures itself.
const triggerTime = "endpoints.kubernetes.io/last-change-trigger-time"

// EndpointSlices bring to the provider the endpoints that it cannot know: those that run at home and on other
// providers. Those on its own virtual Nodes it finds itself, since the Service has its selector there. A slice
// follows its Service, and one without endpoints for the provider has no copy.
func EndpointSlices(ourNode func(string) bool) Kind[*discoveryv1.EndpointSlice] {
	return Kind[*discoveryv1.EndpointSlice]{
		Resource: "endpointslices",
		New:      func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} },
		// The provider's controller makes names in the same way as home's.
		Name: func(src metav1.Object, origin string) string { return suffixed(src.GetName(), origin) },
		Never: func(src *discoveryv1.EndpointSlice) string {
			if src.Labels[discoveryv1.LabelManagedBy] == v1beta1.EndpointSliceManagedBy {
				return "it is a reflection itself"
			}
			if len(elsewhere(src, ourNode)) == 0 {
				return "all its endpoints run on the provider, or it has none"
			}
			return ""
		},
		Follows: "services",
		Leader:  func(src metav1.Object) string { return src.GetLabels()[discoveryv1.LabelServiceName] },
		Mirror: func(dst, src *discoveryv1.EndpointSlice) {
			dst.AddressType, dst.Ports, dst.Endpoints = src.AddressType, src.Ports, elsewhere(src, ourNode)
			dst.Labels[discoveryv1.LabelManagedBy] = v1beta1.EndpointSliceManagedBy
			delete(dst.Annotations, triggerTime)
		},
		Replace: func(live, want *discoveryv1.EndpointSlice) bool { return live.AddressType != want.AddressType },
	}
}

// elsewhere returns the endpoints that the provider does not know by itself, without what means nothing there: the
// node, the pod, and hints that were computed for home's zones.
func elsewhere(src *discoveryv1.EndpointSlice, ourNode func(string) bool) []discoveryv1.Endpoint {
	var out []discoveryv1.Endpoint
	for _, endpoint := range src.Endpoints {
		if endpoint.NodeName != nil && ourNode(*endpoint.NodeName) {
			continue
		}
		endpoint.Addresses = routable(src.AddressType, endpoint.Addresses)
		if len(endpoint.Addresses) == 0 {
			continue
		}
		endpoint.NodeName, endpoint.TargetRef, endpoint.Hints, endpoint.DeprecatedTopology = nil, nil, nil, nil
		out = append(out, endpoint)
	}
	return out
}

// routable drops addresses that mean another machine at the provider, and that its API server refuses.
func routable(family discoveryv1.AddressType, addresses []string) []string {
	if family == discoveryv1.AddressTypeFQDN {
		return addresses
	}
	var out []string
	for _, address := range addresses {
		ip, err := netip.ParseAddr(address)
		if err != nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
			continue
		}
		out = append(out, address)
	}
	return out
}
