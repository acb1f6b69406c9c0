package reflection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func TestMirrorPodDisruptionBudget(t *testing.T) {
	atLeast := policyv1.PodDisruptionBudgetSpec{
		Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		MinAvailable: ptr.To(intstr.FromInt32(2)), UnhealthyPodEvictionPolicy: ptr.To(policyv1.AlwaysAllow),
	}
	atMost := policyv1.PodDisruptionBudgetSpec{
		Selector: atLeast.Selector, MaxUnavailable: ptr.To(intstr.FromString("25%")),
	}
	for name, tc := range map[string]struct {
		there, home policyv1.PodDisruptionBudgetSpec
	}{
		"a new one is home's":                    {policyv1.PodDisruptionBudgetSpec{}, atLeast},
		"another measure takes the place of one": {atLeast, atMost},
		"and the other way round":                {atMost, atLeast},
	} {
		t.Run(name, func(t *testing.T) {
			src := &policyv1.PodDisruptionBudget{
				Spec: tc.home, Status: policyv1.PodDisruptionBudgetStatus{DisruptionsAllowed: 1, ExpectedPods: 3},
			}
			dst := &policyv1.PodDisruptionBudget{Spec: *tc.there.DeepCopy()}
			PodDisruptionBudgets().Mirror(dst, src)
			if diff := cmp.Diff(&policyv1.PodDisruptionBudget{Spec: tc.home}, dst); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestPodDisruptionBudgetsAreOff(t *testing.T) {
	if got := PodDisruptionBudgets().Policy; got != PolicyNone {
		t.Errorf("their policy is %q", got)
	}
}
