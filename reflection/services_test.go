package reflection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// service is what the home API server makes of a small Service, changed.
func service(change func(*corev1.Service)) *corev1.Service {
	s := build.Service("shop", "web")
	s.Spec.Type = corev1.ServiceTypeClusterIP
	s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.1.0.7", []string{"10.1.0.7"}
	s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicySingleStack)
	s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyCluster)
	s.Spec.SessionAffinity = corev1.ServiceAffinityNone
	s.Spec.Ports[0].Protocol = corev1.ProtocolTCP
	change(s)
	return s
}

// mirrored is what we own of that Service on the provider, changed.
func mirrored(change func(*corev1.ServiceSpec)) corev1.ServiceSpec {
	spec := corev1.ServiceSpec{
		Type:                  corev1.ServiceTypeClusterIP,
		Selector:              map[string]string{"app": "web"},
		SessionAffinity:       corev1.ServiceAffinityNone,
		InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyCluster),
		IPFamilyPolicy:        ptr.To(corev1.IPFamilyPolicySingleStack),
		Ports: []corev1.ServicePort{{
			Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromInt32(8080),
		}},
	}
	change(&spec)
	return spec
}

func noClasses() []v1beta1.LoadBalancerType { return nil }

func TestServiceAtTheProvider(t *testing.T) {
	for name, tc := range map[string]struct {
		home func(*corev1.Service)
		want func(*corev1.ServiceSpec)
	}{
		"the address is the provider's to choose, the selector is kept": {
			func(*corev1.Service) {}, func(*corev1.ServiceSpec) {},
		},
		"headless stays headless, not ready addresses stay published": {
			func(s *corev1.Service) {
				s.Spec.ClusterIP, s.Spec.ClusterIPs = "None", []string{"None"}
				s.Spec.PublishNotReadyAddresses = true
			},
			func(s *corev1.ServiceSpec) { s.ClusterIP, s.PublishNotReadyAddresses = "None", true },
		},
		"without selector stays without": {
			func(s *corev1.Service) { s.Spec.Selector = nil },
			func(s *corev1.ServiceSpec) { s.Selector = nil },
		},
		"an external name is kept, it has no address family": {
			func(s *corev1.Service) {
				s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "db.example"}
			},
			func(s *corev1.ServiceSpec) {
				*s = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "db.example"}
			},
		},
		"node ports are the provider's to choose": {
			func(s *corev1.Service) {
				s.Spec.Type, s.Spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, 30080
				s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
			},
			func(s *corev1.ServiceSpec) {
				s.Type, s.ExternalTrafficPolicy = corev1.ServiceTypeNodePort, corev1.ServiceExternalTrafficPolicyCluster
			},
		},
		"node ports can be forced": {
			func(s *corev1.Service) {
				s.Spec.Type, s.Spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, 30080
				s.Annotations = map[string]string{v1beta1.AnnotationForceNodePort: "true"}
			},
			func(s *corev1.ServiceSpec) { s.Type, s.Ports[0].NodePort = corev1.ServiceTypeNodePort, 30080 },
		},
		"forced to be something other than true is not forced": {
			func(s *corev1.Service) {
				s.Spec.Type, s.Spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, 30080
				s.Annotations = map[string]string{v1beta1.AnnotationForceNodePort: "yes"}
			},
			func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeNodePort },
		},
		"a load balancer is the provider's, who may use it is ours": {
			func(s *corev1.Service) {
				s.Spec.Type, s.Spec.Ports[0].NodePort = corev1.ServiceTypeLoadBalancer, 30080
				s.Spec.LoadBalancerIP, s.Spec.LoadBalancerClass = "1.2.3.4", ptr.To("home.example/lb")
				s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
				s.Spec.HealthCheckNodePort = 31000
				s.Spec.LoadBalancerSourceRanges = []string{"192.0.2.0/24"}
				s.Spec.AllocateLoadBalancerNodePorts = ptr.To(false)
				s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "1.2.3.4"}}
			},
			func(s *corev1.ServiceSpec) {
				s.Type = corev1.ServiceTypeLoadBalancer
				s.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
				s.LoadBalancerSourceRanges = []string{"192.0.2.0/24"}
				s.AllocateLoadBalancerNodePorts = ptr.To(false)
			},
		},
		"addresses outside are not drawn away at the provider": {
			func(s *corev1.Service) {
				s.Spec.ExternalIPs = []string{"198.51.100.1"}
				s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
			},
			func(*corev1.ServiceSpec) {},
		},
		"two families are asked for, not required": {
			func(s *corev1.Service) { s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyRequireDualStack) },
			func(s *corev1.ServiceSpec) { s.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyPreferDualStack) },
		},
		"IPv6 alone is reached when both families are asked for": {
			func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} },
			func(s *corev1.ServiceSpec) { s.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyPreferDualStack) },
		},
		"session affinity and traffic policies are kept": {
			func(s *corev1.Service) {
				s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
				s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{
					ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To[int32](60)}}
				s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
				s.Spec.TrafficDistribution = ptr.To("PreferSameZone")
			},
			func(s *corev1.ServiceSpec) {
				s.SessionAffinity = corev1.ServiceAffinityClientIP
				s.SessionAffinityConfig = &corev1.SessionAffinityConfig{
					ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To[int32](60)}}
				s.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
				s.TrafficDistribution = ptr.To("PreferSameZone")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := service(tc.home), &corev1.Service{}
			before := src.DeepCopy()
			Services(noClasses).Mirror(dst, src)
			if diff := cmp.Diff(mirrored(tc.want), dst.Spec); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
			if diff := cmp.Diff(before, src); diff != "" {
				t.Errorf("the source was changed:\n%s", diff)
			}
			if diff := cmp.Diff(corev1.ServiceStatus{}, dst.Status); diff != "" {
				t.Errorf("the status was carried:\n%s", diff)
			}
		})
	}
}

func TestWhatTheProviderChoseForAServiceIsNoDrift(t *testing.T) {
	for name, tc := range map[string]struct {
		home func(*corev1.Service)
		away func(*corev1.Service)
	}{
		"an address": {
			func(*corev1.Service) {},
			func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.ClusterIPs = "10.2.0.9", []string{"10.2.0.9"} },
		},
		"another family": {
			func(*corev1.Service) {},
			func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} },
		},
		"a second family beside the one that home has": {
			func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} },
			func(s *corev1.Service) {
				s.Spec.IPFamilyPolicy = ptr.To(corev1.IPFamilyPolicyPreferDualStack)
				s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
			},
		},
		"a node port": {
			func(s *corev1.Service) { s.Spec.Type, s.Spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, 30080 },
			func(s *corev1.Service) { s.Spec.Type, s.Spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, 31999 },
		},
		"a load balancer": {
			func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeLoadBalancer },
			func(s *corev1.Service) {
				s.Spec.Type, s.Spec.LoadBalancerClass = corev1.ServiceTypeLoadBalancer, ptr.To("theirs")
				s.Spec.HealthCheckNodePort = 31001
				s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "203.0.113.1"}}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			live := service(tc.away)
			dst := live.DeepCopy()
			Services(noClasses).Mirror(dst, service(tc.home))
			if diff := cmp.Diff(live, dst); diff != "" {
				t.Errorf("-live,+wanted:\n%s", diff)
			}
		})
	}
}

func TestTheLoadBalancerClassOfAService(t *testing.T) {
	const mine, other = "home.example/lb", "cloud.example/nlb"
	offer := func(name string, byDefault bool) v1beta1.LoadBalancerType {
		return v1beta1.LoadBalancerType{LoadBalancerClassName: name, Default: byDefault}
	}
	for name, tc := range map[string]struct {
		home    corev1.ServiceType
		class   *string
		offered []v1beta1.LoadBalancerType
		live    corev1.ServiceType // none: there is no copy yet
		had     *string
		want    *string
	}{
		"the provider's own when it offers none": {home: "LoadBalancer", class: ptr.To(mine), live: ""},
		"home's when the provider has one of that name": {
			home: "LoadBalancer", class: ptr.To(mine),
			offered: []v1beta1.LoadBalancerType{offer(other, true), offer(mine, false)}, want: ptr.To(mine),
		},
		"the provider's default for home's": {
			home: "LoadBalancer", class: ptr.To(mine),
			offered: []v1beta1.LoadBalancerType{offer("x/y", false), offer(other, true)}, want: ptr.To(other),
		},
		"the provider's default for none": {
			home: "LoadBalancer", offered: []v1beta1.LoadBalancerType{offer(other, true)}, want: ptr.To(other),
		},
		"the provider's own when none is the default": {
			home: "LoadBalancer", offered: []v1beta1.LoadBalancerType{offer(other, false)},
		},
		"none without a load balancer": {
			home: "NodePort", offered: []v1beta1.LoadBalancerType{offer(other, true)},
		},
		"chosen when the Service gets its load balancer": {
			home: "LoadBalancer", live: "ClusterIP", offered: []v1beta1.LoadBalancerType{offer(other, true)},
			want: ptr.To(other),
		},
		"kept when another is the default later": {
			home: "LoadBalancer", live: "LoadBalancer", had: ptr.To(mine),
			offered: []v1beta1.LoadBalancerType{offer(other, true)}, want: ptr.To(mine),
		},
		"not given later, which the API server refuses": {
			home: "LoadBalancer", live: "LoadBalancer", offered: []v1beta1.LoadBalancerType{offer(other, true)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := service(func(s *corev1.Service) { s.Spec.Type, s.Spec.LoadBalancerClass = tc.home, tc.class })
			dst := &corev1.Service{Spec: corev1.ServiceSpec{Type: tc.live, LoadBalancerClass: tc.had}}
			Services(func() []v1beta1.LoadBalancerType { return tc.offered }).Mirror(dst, src)
			if diff := cmp.Diff(tc.want, dst.Spec.LoadBalancerClass); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestAServiceThatCannotBecomeAnotherIsReplaced(t *testing.T) {
	plain := func(*corev1.Service) {}
	none := func(s *corev1.Service) { s.Spec.ClusterIP = "None" }
	name := func(s *corev1.Service) {
		s.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "x"}
	}
	node := func(s *corev1.Service) { s.Spec.Type = corev1.ServiceTypeNodePort }
	for name, tc := range map[string]struct {
		away, home func(*corev1.Service)
		want       bool
	}{
		"nothing changes":             {plain, plain, false},
		"ports open on nodes":         {plain, node, false},
		"becomes headless":            {plain, none, true},
		"is headless no more":         {none, plain, true},
		"becomes an external name":    {plain, name, true},
		"is an external name no more": {name, plain, true},
	} {
		t.Run(name, func(t *testing.T) {
			live := service(tc.away)
			want := live.DeepCopy()
			Services(noClasses).Mirror(want, service(tc.home))
			if got := Services(noClasses).Replace(live, want); got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}

func TestTheAPIServerIsNotReflected(t *testing.T) {
	for name, tc := range map[string]struct {
		namespace, name string
		want            bool
	}{
		"the API server":                  {"default", "kubernetes", true},
		"a namesake in another namespace": {"shop", "kubernetes", false},
		"another Service in default":      {"default", "web", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Services(noClasses).Never(build.Service(tc.namespace, tc.name)) != ""; got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}
