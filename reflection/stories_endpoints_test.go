package reflection_test

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/reflection/remote/cidr"
)

// reach is a network in which both clusters use ranges that mean something else on the other side.
func (w *world) reach() func(netip.Addr) netip.Addr {
	w.t.Helper()
	away, awayErr := cidr.Parse([]string{"10.55.0.0/16=10.56.0.0/16", "fd55::/64=fd56::/64"})
	home, homeErr := cidr.Parse([]string{"10.55.0.0/16=10.57.0.0/16", "fd55::/64=fd57::/64"})
	if awayErr != nil || homeErr != nil {
		w.t.Fatal(awayErr, homeErr)
	}
	network, err := cidr.New(away, home)
	if err != nil {
		w.t.Fatal(err)
	}
	return network.Away
}

// clusterOf knows the provider's virtual Node, and one of another provider.
func clusterOf(node string) string {
	switch node {
	case "vn-1":
		return destination
	case "vn-2":
		return "provider-2"
	default:
		return origin
	}
}

func through(text string) func(*discoveryv1.EndpointSlice) bool {
	return func(s *discoveryv1.EndpointSlice) bool { return sketch(s) == text }
}

// sketch writes the endpoints of a slice as address@cluster, and /zone after it when there is a hint.
func sketch(s *discoveryv1.EndpointSlice) string {
	text := ""
	for _, e := range s.Endpoints {
		text += fmt.Sprintf("%s@%s", e.Addresses[0], ptr.Deref(e.NodeName, "-"))
		if e.Hints != nil {
			text += "/" + e.Hints.ForZones[0].Name
		}
		text += " "
	}
	return text
}

// Item 3, as a provider's API server takes it.
func (w *world) endpoints() {
	home, away := w.offload("network")
	service := build.Service(home, "web")
	four := slice(home, "web-four", "10.55.0.1", "192.0.2.9")
	four.Endpoints = append(four.Endpoints,
		discoveryv1.Endpoint{Addresses: []string{"10.56.0.1"}, NodeName: ptr.To("vn-1")},
		discoveryv1.Endpoint{Addresses: []string{"10.99.0.1"}, NodeName: ptr.To("vn-2"), Zone: ptr.To("elsewhere")})
	six := slice(home, "web-six", "fd55::1")
	six.AddressType = discoveryv1.AddressTypeIPv6
	many := slice(home, "web-many")
	for i := range 1000 {
		many.Endpoints = append(many.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.100.%d.%d", i/250, i%250)}, NodeName: ptr.To("worker-2"),
		})
	}
	w.create(w.home, service, four, six, many)
	const copied = "web-four.consumer"
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, copied), "translated, without what runs there",
		through("10.57.0.1@consumer 10.99.0.1@provider-2 192.0.2.9@consumer "))
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, "web-six.consumer"), "translated",
		through("fd57::1@consumer "))
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, "web-many.consumer"), "whole",
		func(s *discoveryv1.EndpointSlice) bool { return len(s.Endpoints) == 1000 })

	// What the Service says reaches its slices although they do not change themselves.
	change(w, w.home, service, func(s *corev1.Service) {
		s.Spec.TrafficDistribution = ptr.To(corev1.ServiceTrafficDistributionPreferSameZone)
	})
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, copied), "hinted",
		through("10.57.0.1@consumer/consumer 10.99.0.1@provider-2/elsewhere 192.0.2.9@consumer/consumer "))
	change(w, w.home, service, func(s *corev1.Service) { s.Spec.TrafficDistribution = nil })
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, copied), "not hinted",
		through("10.57.0.1@consumer 10.99.0.1@provider-2 192.0.2.9@consumer "))

	// Another order is no change; what comes after it is.
	var before discoveryv1.EndpointSlice
	eventually(w, &before, at(away, copied), "there", func(*discoveryv1.EndpointSlice) bool { return true })
	change(w, w.home, four, func(s *discoveryv1.EndpointSlice) {
		s.Endpoints[0], s.Endpoints[1] = s.Endpoints[1], s.Endpoints[0]
	})
	change(w, w.home, six, func(s *discoveryv1.EndpointSlice) { s.Endpoints[0].Addresses[0] = "fd55::2" })
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, "web-six.consumer"), "changed",
		through("fd57::2@consumer "))
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, copied), "as it was",
		func(s *discoveryv1.EndpointSlice) bool { return s.ResourceVersion == before.ResourceVersion })

	// Without a selector nobody over there finds the pods that run there.
	change(w, w.home, service, func(s *corev1.Service) { s.Spec.Selector = nil })
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, copied), "with what runs there, as it is called there",
		through("10.55.0.1@provider-1 10.57.0.1@consumer 10.99.0.1@provider-2 192.0.2.9@consumer "))
}

// services changes one Service from each type to the next, which a provider's API server takes or refuses.
func (w *world) services() {
	home, away := w.offload("types")
	service := build.Service(home, "web")
	w.create(w.home, service)
	reached := func(what string, is func(*corev1.Service) bool) {
		eventually(w, &corev1.Service{}, at(away, "web"), what, is)
	}
	become := func(to func(*corev1.ServiceSpec)) {
		change(w, w.home, service, func(s *corev1.Service) {
			s.Spec.ClusterIP, s.Spec.ClusterIPs = "", nil
			to(&s.Spec)
		})
	}
	again := func(to func(*corev1.ServiceSpec)) { // what home refuses to change is made anew
		w.delete(w.home, service)
		service = build.Service(home, "web")
		to(&service.Spec)
		w.create(w.home, service)
	}
	reached("a plain Service", func(s *corev1.Service) bool { return s.Spec.ClusterIP != "" })
	change(w, w.home, service, func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	})
	reached("a load balancer of the provider's class", func(s *corev1.Service) bool {
		return ptr.Deref(s.Spec.LoadBalancerClass, "") == "provider.example/lb" && s.Spec.HealthCheckNodePort != 0 &&
			s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	})
	change(w, w.home, service, func(s *corev1.Service) {
		s.Spec.Type = corev1.ServiceTypeNodePort
		s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	})
	reached("open on nodes", func(s *corev1.Service) bool {
		return s.Spec.Type == corev1.ServiceTypeNodePort && s.Spec.LoadBalancerClass == nil &&
			s.Spec.Ports[0].NodePort != 0
	})
	change(w, w.home, service, func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeClusterIP })
	reached("a plain Service again", func(s *corev1.Service) bool { return s.Spec.Ports[0].NodePort == 0 })
	become(func(s *corev1.ServiceSpec) { s.Type, s.ExternalName = corev1.ServiceTypeExternalName, "db.example" })
	reached("a name outside", func(s *corev1.Service) bool { return s.Spec.ExternalName == "db.example" })
	become(func(s *corev1.ServiceSpec) { s.Type, s.ExternalName = corev1.ServiceTypeClusterIP, "" })
	reached("inside again", func(s *corev1.Service) bool { return s.Spec.ClusterIP != "" && s.Spec.ExternalName == "" })
	again(func(s *corev1.ServiceSpec) { s.ClusterIP, s.PublishNotReadyAddresses = corev1.ClusterIPNone, true })
	reached("headless", func(s *corev1.Service) bool {
		return s.Spec.ClusterIP == corev1.ClusterIPNone && s.Spec.PublishNotReadyAddresses
	})
	again(func(s *corev1.ServiceSpec) { s.SessionAffinity = corev1.ServiceAffinityClientIP })
	reached("not headless, and faithful to clients", func(s *corev1.Service) bool {
		return s.Spec.ClusterIP != corev1.ClusterIPNone && s.Spec.ClusterIP != "" &&
			s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP &&
			*s.Spec.SessionAffinityConfig.ClientIP.TimeoutSeconds > 0
	})
}
