package reflection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// ingress leads shop.example to Service web, and has its certificate in Secret tls.
func ingress(change func(*networkingv1.Ingress)) *networkingv1.Ingress {
	out := &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Namespace: "shop"},
		Spec: networkingv1.IngressSpec{
			TLS: []networkingv1.IngressTLS{{Hosts: []string{"shop.example"}, SecretName: "tls"}},
			Rules: []networkingv1.IngressRule{{
				Host: "shop.example",
				IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
					Paths: []networkingv1.HTTPIngressPath{{
						Path: "/", PathType: ptr.To(networkingv1.PathTypePrefix), Backend: backend("web"),
					}},
				}},
			}},
		},
	}
	change(out)
	return out
}

func backend(service string) networkingv1.IngressBackend {
	return networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
		Name: service, Port: networkingv1.ServiceBackendPort{Number: 80},
	}}
}

func class(name string) func(*networkingv1.Ingress) {
	return func(i *networkingv1.Ingress) { i.Spec.IngressClassName = &name }
}

func asItIs(*networkingv1.Ingress) {}

func TestMirrorIngress(t *testing.T) {
	for name, tc := range map[string]struct {
		home func(*networkingv1.Ingress)
		want func(*networkingv1.IngressSpec)
	}{
		"rules, paths and certificates are home's": {asItIs, func(*networkingv1.IngressSpec) {}},
		"so is where everything else leads": {
			func(i *networkingv1.Ingress) { i.Spec.DefaultBackend = ptr.To(backend("other")) },
			func(s *networkingv1.IngressSpec) { s.DefaultBackend = ptr.To(backend("other")) },
		},
		"an Ingress without rules has none": {
			func(i *networkingv1.Ingress) {
				i.Spec = networkingv1.IngressSpec{DefaultBackend: ptr.To(backend("other"))}
			},
			func(s *networkingv1.IngressSpec) {
				*s = networkingv1.IngressSpec{DefaultBackend: ptr.To(backend("other"))}
			},
		},
		"home's addresses mean nothing at the provider": {
			func(i *networkingv1.Ingress) {
				i.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "192.0.2.1"}}
			},
			func(*networkingv1.IngressSpec) {},
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := ingress(tc.home), &networkingv1.Ingress{}
			before := src.DeepCopy()
			Ingresses(offering()).Mirror(dst, src)
			want := ingress(asItIs).Spec
			tc.want(&want)
			if diff := cmp.Diff(want, dst.Spec); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
			if diff := cmp.Diff(before, src); diff != "" {
				t.Errorf("the source was changed:\n%s", diff)
			}
			if diff := cmp.Diff(networkingv1.IngressStatus{}, dst.Status); diff != "" {
				t.Errorf("the status was carried:\n%s", diff)
			}
		})
	}
}

// offering has the last of several classes for all that want none of them.
func offering(classes ...string) func() []v1beta1.IngressType {
	var out []v1beta1.IngressType
	for i, name := range classes {
		out = append(out, v1beta1.IngressType{IngressClassName: name, Default: i == len(classes)-1})
	}
	return func() []v1beta1.IngressType { return out }
}

func TestTheClassOfAnIngress(t *testing.T) {
	legacy := func(i *networkingv1.Ingress) { i.Annotations = map[string]string{legacyIngressClass: "nginx"} }
	for name, tc := range map[string]struct {
		home    func(*networkingv1.Ingress)
		there   string // on the copy
		offered func() []v1beta1.IngressType
		want    string
	}{
		"home's means nothing there":                  {home: class("nginx"), offered: offering()},
		"the provider's own choice is left alone":     {class("nginx"), "theirs", offering(), "theirs"},
		"home's is offered under that name":           {class("nginx"), "", offering("nginx", "traefik"), "nginx"},
		"another is offered for all":                  {class("haproxy"), "", offering("nginx", "traefik"), "traefik"},
		"home has none, and one is offered for all":   {asItIs, "", offering("nginx", "traefik"), "traefik"},
		"the one that is offered for all has changed": {asItIs, "nginx", offering("nginx", "traefik"), "traefik"},
		"one is offered, but not for all": {
			class("haproxy"), "",
			func() []v1beta1.IngressType { return []v1beta1.IngressType{{IngressClassName: "nginx"}} }, "",
		},
		"home's is in the old annotation":     {home: legacy, offered: offering("nginx", "traefik"), want: "nginx"},
		"home's old annotation means nothing": {home: legacy, offered: offering()},
		"the field wins over the annotation": {
			func(i *networkingv1.Ingress) { legacy(i); class("traefik")(i) }, "",
			offering("nginx", "traefik"), "traefik",
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := ingress(tc.home), &networkingv1.Ingress{}
			if tc.there != "" {
				dst.Spec.IngressClassName = &tc.there
			}
			stamp(dst, src, "home", "provider-1")
			Ingresses(tc.offered).Mirror(dst, src)
			if got := ptr.Deref(dst.Spec.IngressClassName, ""); got != tc.want {
				t.Errorf("want %q, got %q", tc.want, got)
			}
			// An API server refuses a new Ingress with both.
			if _, ok := dst.Annotations[legacyIngressClass]; ok {
				t.Error("the old annotation was carried")
			}
		})
	}
}

func TestTheProvidersOldAnnotationOnAnIngressStays(t *testing.T) {
	dst := ingress(func(i *networkingv1.Ingress) { i.Annotations = map[string]string{legacyIngressClass: "theirs"} })
	Ingresses(offering()).Mirror(dst, ingress(asItIs))
	if got := dst.Annotations[legacyIngressClass]; got != "theirs" {
		t.Errorf("it is %q", got)
	}
}
