package reflection

import networkingv1 "k8s.io/api/networking/v1"

// NetworkPolicies are off until an installation asks for them: selectors of namespaces mean the provider's namespaces
// there, and address blocks are as home sees them. Rules of different policies add up, so a consumer that may write
// them opens what a policy of the provider's closes: the right to is not given by default either.
func NetworkPolicies() Kind[*networkingv1.NetworkPolicy] {
	return Kind[*networkingv1.NetworkPolicy]{
		Resource: "networkpolicies",
		New:      func() *networkingv1.NetworkPolicy { return &networkingv1.NetworkPolicy{} },
		Policy:   PolicyNone,
		// The rights that can be added are those in offloaded namespaces.
		PerNamespace: true,
		Mirror:       func(dst, src *networkingv1.NetworkPolicy) { dst.Spec = src.Spec },
	}
}
