package reflection

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Services are reflected with their selector, so that the provider itself finds the pods that run there. Addresses,
// ports of nodes and load balancers are the provider's own; externalIPs would let one cluster draw the other's
// traffic.
func Services(offered func() []v1beta1.LoadBalancerType) Kind[*corev1.Service] {
	return Kind[*corev1.Service]{
		Resource: "services",
		New:      func() *corev1.Service { return &corev1.Service{} },
		Whole:    true,
		Never: func(src *corev1.Service) string {
			if src.Namespace == metav1.NamespaceDefault && src.Name == "kubernetes" {
				return "it is the API server of the home cluster"
			}
			return ""
		},
		Mirror: func(dst, src *corev1.Service) {
			// The class is chosen once: it cannot be changed, and another load balancer has another address.
			if balanced(src) && !balanced(dst) {
				dst.Spec.LoadBalancerClass = balancerClass(src, offered())
			}
			mirrorService(dst, src)
		},
		Replace: func(live, want *corev1.Service) bool {
			return headless(live) != headless(want) || external(live) != external(want)
		},
	}
}

func headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }
func external(s *corev1.Service) bool { return s.Spec.Type == corev1.ServiceTypeExternalName }
func balanced(s *corev1.Service) bool { return s.Spec.Type == corev1.ServiceTypeLoadBalancer }

// balancerClass is home's class if the provider offers it under that name, else the one that is offered for all
// others, else none, which leaves it to the provider.
func balancerClass(src *corev1.Service, offered []v1beta1.LoadBalancerType) *string {
	wanted := ptr.Deref(src.Spec.LoadBalancerClass, "")
	named := func(o v1beta1.LoadBalancerType) bool { return o.LoadBalancerClassName == wanted }
	if slices.ContainsFunc(offered, named) {
		return &wanted
	}
	for _, o := range offered {
		if o.Default {
			return &o.LoadBalancerClassName
		}
	}
	return nil
}

func mirrorService(dst, src *corev1.Service) {
	s, d := &src.Spec, &dst.Spec
	exposed := s.Type == corev1.ServiceTypeNodePort || s.Type == corev1.ServiceTypeLoadBalancer
	d.Type, d.Selector, d.ExternalName = s.Type, s.Selector, s.ExternalName
	d.SessionAffinity, d.SessionAffinityConfig = s.SessionAffinity, s.SessionAffinityConfig
	d.InternalTrafficPolicy, d.TrafficDistribution = s.InternalTrafficPolicy, s.TrafficDistribution
	d.PublishNotReadyAddresses = s.PublishNotReadyAddresses
	d.ExternalTrafficPolicy, d.LoadBalancerSourceRanges, d.AllocateLoadBalancerNodePorts = "", nil, nil
	if exposed {
		d.ExternalTrafficPolicy, d.LoadBalancerSourceRanges = s.ExternalTrafficPolicy, s.LoadBalancerSourceRanges
		d.AllocateLoadBalancerNodePorts = s.AllocateLoadBalancerNodePorts
	}
	// Else: empty for the provider to choose, or what it chose.
	switch {
	case headless(src):
		d.ClusterIP = corev1.ClusterIPNone
	case headless(dst):
		d.ClusterIP, d.ClusterIPs = "", nil
	}
	d.IPFamilyPolicy = familyPolicy(src)
	d.Ports = ports(d.Ports, s.Ports, exposed, src.Annotations[v1beta1.AnnotationForceNodePort] == "true")
}

// familyPolicy asks for two families where home has them, but not for more than the provider can give. Of its families
// the provider gives the first, which may be IPv4: what home has in IPv6 alone is reached when both are asked for.
func familyPolicy(src *corev1.Service) *corev1.IPFamilyPolicy {
	if external(src) {
		return nil
	}
	policy := ptr.Deref(src.Spec.IPFamilyPolicy, corev1.IPFamilyPolicySingleStack)
	if policy == corev1.IPFamilyPolicyRequireDualStack || slices.Contains(src.Spec.IPFamilies, corev1.IPv6Protocol) {
		policy = corev1.IPFamilyPolicyPreferDualStack
	}
	return &policy
}

// ports returns want with the node ports that the provider chose in have, unless home's are forced.
func ports(have, want []corev1.ServicePort, exposed, force bool) []corev1.ServicePort {
	chosen := map[string]int32{}
	for _, port := range have {
		if exposed {
			chosen[port.Name] = port.NodePort
		}
	}
	var out []corev1.ServicePort
	for _, port := range want {
		if !exposed || !force {
			port.NodePort = chosen[port.Name]
		}
		out = append(out, port)
	}
	return out
}
