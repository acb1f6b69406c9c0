package reflection

import policyv1 "k8s.io/api/policy/v1"

// PodDisruptionBudgets are off until an installation asks for them: each cluster counts only the pods that it runs, so
// a budget holds in each of them on its own, and one that allows nothing keeps the provider from emptying its nodes.
func PodDisruptionBudgets() Kind[*policyv1.PodDisruptionBudget] {
	return Kind[*policyv1.PodDisruptionBudget]{
		Resource: "poddisruptionbudgets",
		New:      func() *policyv1.PodDisruptionBudget { return &policyv1.PodDisruptionBudget{} },
		Policy:   PolicyNone,
		// The rights that can be added are those in offloaded namespaces.
		PerNamespace: true,
		Mirror:       func(dst, src *policyv1.PodDisruptionBudget) { dst.Spec = src.Spec },
	}
}
