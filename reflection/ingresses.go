package reflection

import (
	"slices"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// legacyIngressClass is how Ingresses named their class before there was a field. An API server takes only one of
// the two in a new Ingress.
const legacyIngressClass = "kubernetes.io/ingress.class"

// Ingresses are reflected so that an application can be entered wherever it runs. Of home's classes the provider knows
// nothing but the names that its virtual Nodes offer. Which addresses an Ingress has is each cluster's own.
func Ingresses(offered func() []v1beta1.IngressType) Kind[*networkingv1.Ingress] {
	return Kind[*networkingv1.Ingress]{
		Resource: "ingresses",
		New:      func() *networkingv1.Ingress { return &networkingv1.Ingress{} },
		Whole:    true,
		Refers: func(src *networkingv1.Ingress) map[string][]string {
			return map[string][]string{"secrets": certificatesOf(&src.Spec)}
		},
		Mirror: func(dst, src *networkingv1.Ingress) {
			there := dst.Spec.IngressClassName
			dst.Spec = src.Spec
			dst.Spec.IngressClassName = there // the provider's own choice, unless ours is known
			if class := ingressClass(src, offered()); class != "" {
				dst.Spec.IngressClassName = &class
			}
			if _, had := src.Annotations[legacyIngressClass]; had {
				delete(dst.Annotations, legacyIngressClass)
			}
		},
	}
}

// ingressClass is the class of a copy: home's if it is offered under that name, else the one that is offered for all
// others, else "", which leaves it to the provider.
func ingressClass(src *networkingv1.Ingress, offered []v1beta1.IngressType) string {
	wanted := src.Annotations[legacyIngressClass]
	if src.Spec.IngressClassName != nil {
		wanted = *src.Spec.IngressClassName
	}
	if slices.ContainsFunc(offered, func(o v1beta1.IngressType) bool { return o.IngressClassName == wanted }) {
		return wanted
	}
	for _, o := range offered {
		if o.Default {
			return o.IngressClassName
		}
	}
	return ""
}
