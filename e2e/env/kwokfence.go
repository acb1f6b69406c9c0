package env

import (
	"fmt"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kwokFence lets fake kubelets delete what real ones may: pods on nodes of theirs (NodeRestriction sees to that) that
// are being deleted. kwok deletes by name alone, and now and then once more when the pod is gone, so that it would end
// a successor of the same name, on a virtual node even.
func (c *Cluster) kwokFence() []client.Object {
	meta := metav1.ObjectMeta{Name: "playground-kwok"}
	return []client.Object{
		&admissionv1.ValidatingAdmissionPolicy{
			ObjectMeta: meta,
			Spec: admissionv1.ValidatingAdmissionPolicySpec{
				FailurePolicy: ptr.To(admissionv1.Fail),
				MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
					RuleWithOperations: admissionv1.RuleWithOperations{
						Operations: []admissionv1.OperationType{admissionv1.Delete},
						Rule: admissionv1.Rule{
							APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
						},
					},
				}}},
				MatchConditions: []admissionv1.MatchCondition{{
					Name: "fake-kubelet", Expression: fmt.Sprintf("request.userInfo.username == '%s'", userKwok),
				}},
				Validations: []admissionv1.Validation{{
					Expression: fmt.Sprintf("has(oldObject.metadata.deletionTimestamp) && "+
						"has(oldObject.spec.nodeName) && oldObject.spec.nodeName.startsWith('%s')", c.nodePrefix()),
					Message: "a fake kubelet ends pods on its own nodes that are being deleted, and no others",
				}},
			},
		},
		&admissionv1.ValidatingAdmissionPolicyBinding{
			ObjectMeta: meta,
			Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
				PolicyName: meta.Name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
			},
		},
	}
}
