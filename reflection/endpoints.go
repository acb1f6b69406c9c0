package reflection

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// outlook is what home's endpoints of a Service look like from the provider.
type outlook struct {
	facts   Facts
	family  discoveryv1.AddressType
	service *corev1.Service // at home; nil when it is not known
}

// all returns the endpoints that the provider does not know by itself, each address once, in an order that does not
// change with home's.
func (o outlook) all(home []discoveryv1.Endpoint) []discoveryv1.Endpoint {
	var out []discoveryv1.Endpoint
	at := map[string]int{}
	for _, endpoint := range home {
		if o.found(endpoint) {
			continue
		}
		endpoint.Addresses = o.addresses(endpoint.Addresses)
		if len(endpoint.Addresses) == 0 {
			continue
		}
		o.place(&endpoint)
		i, twice := at[endpoint.Addresses[0]]
		switch {
		case !twice:
			at[endpoint.Addresses[0]] = len(out)
			out = append(out, endpoint)
		case !ready(out[i]) && ready(endpoint):
			out[i] = endpoint
		}
	}
	slices.SortFunc(out, func(a, b discoveryv1.Endpoint) int { return slices.Compare(a.Addresses, b.Addresses) })
	return out
}

func ready(e discoveryv1.Endpoint) bool { return ptr.Deref(e.Conditions.Ready, true) }

// found says whether the provider finds the endpoint itself: it runs there, and the Service says by which labels.
func (o outlook) found(endpoint discoveryv1.Endpoint) bool {
	return o.facts.OurNode(ptr.Deref(endpoint.NodeName, "")) && (o.service == nil || len(o.service.Spec.Selector) > 0)
}

// addresses are those at which the provider reaches an endpoint. What means another machine there is left out; its API
// server would refuse it.
func (o outlook) addresses(home []string) []string {
	if o.family == discoveryv1.AddressTypeFQDN {
		return home
	}
	var out []string
	for _, text := range home {
		ip, err := netip.ParseAddr(text)
		if err != nil || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() {
			continue
		}
		if there := o.facts.Reach(ip); there != ip {
			text = there.String()
		}
		out = append(out, text)
	}
	return out
}

// place says where an endpoint runs, in words that mean something at the provider: its cluster for its node, which is
// none of the provider's. Its pod means nothing there.
func (o outlook) place(endpoint *discoveryv1.Endpoint) {
	where := o.facts.ClusterOf(ptr.Deref(endpoint.NodeName, ""))
	if endpoint.NodeName != nil {
		endpoint.NodeName = &where
	}
	endpoint.TargetRef, endpoint.DeprecatedTopology = nil, nil
	endpoint.Hints = o.hints(where, ptr.Deref(endpoint.Zone, where))
}

// hints ask for traffic from where an endpoint runs, as the provider's controller does for those that run there. Its
// kube-proxy ignores the hints of all endpoints when one that is ready has none, so an endpoint without a zone is
// given its cluster for one.
func (o outlook) hints(where, zone string) *discoveryv1.EndpointHints {
	if o.service == nil {
		return nil
	}
	hints := &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: zone}}}
	switch ptr.Deref(o.service.Spec.TrafficDistribution, "") {
	case corev1.ServiceTrafficDistributionPreferSameNode:
		hints.ForNodes = []discoveryv1.ForNode{{Name: where}}
		return hints
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone:
		return hints
	}
	for _, key := range []string{corev1.AnnotationTopologyMode, corev1.DeprecatedAnnotationTopologyAwareHints} {
		if mode := o.service.Annotations[key]; mode == "Auto" || mode == "auto" {
			return hints
		}
	}
	return nil
}
