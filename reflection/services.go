package reflection

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Services are reflected with their selector, so that the provider itself finds the pods that run there. Addresses,
// ports of nodes and load balancers are the provider's own; externalIPs would let one cluster draw the other's
// traffic.
func Services() Kind[*corev1.Service] {
	return Kind[*corev1.Service]{
		Resource: "services",
		New:      func() *corev1.Service { return &corev1.Service{} },
		Never: func(src *corev1.Service) string {
			if src.Namespace == metav1.NamespaceDefault && src.Name == "kubernetes" {
				return "it is the API server of the home cluster"
			}
			return ""
		},
		Mirror: mirrorService,
		Replace: func(live, want *corev1.Service) bool {
			return headless(live) != headless(want) || external(live) != external(want)
		},
	}
}

func headless(s *corev1.Service) bool { return s.Spec.ClusterIP == corev1.ClusterIPNone }
func external(s *corev1.Service) bool { return s.Spec.Type == corev1.ServiceTypeExternalName }

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

// familyPolicy asks for two families where home has them, but not for more than the provider can give.
func familyPolicy(src *corev1.Service) *corev1.IPFamilyPolicy {
	if external(src) {
		return nil
	}
	policy := ptr.Deref(src.Spec.IPFamilyPolicy, corev1.IPFamilyPolicySingleStack)
	if policy == corev1.IPFamilyPolicyRequireDualStack {
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
