package suite

import (
	"context"
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// tolerations counts the pod's tolerations that are the one of virtual nodes.
func tolerations(pod *corev1.Pod) int {
	count := 0
	for _, toleration := range pod.Spec.Tolerations {
		if toleration == v1beta1.Toleration() {
			count++
		}
	}
	return count
}

const heldBack = "a test holds the pods of this namespace back"

// holdBindings keeps pods of the namespace from being bound, once it is in force, until it is let go.
func (w *world) holdBindings() (letGo func()) {
	w.t.Helper()
	name := "hold-bindings-of-" + w.ns
	namespace := map[string]string{corev1.LabelMetadataName: w.ns}
	rule := admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create},
		Rule: admissionv1.Rule{
			APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods/binding"},
		},
	}
	policy := &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: namespace},
				ResourceRules:     []admissionv1.NamedRuleWithOperations{{RuleWithOperations: rule}},
			},
			Validations: []admissionv1.Validation{{Expression: "false", Message: heldBack}},
		},
	}
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}
	letGo = func() {
		for _, obj := range []client.Object{binding, policy} {
			if err := w.home.Delete(context.Background(), obj); client.IgnoreNotFound(err) != nil {
				w.t.Errorf("delete %s: %v", name, err)
			}
		}
	}
	w.t.Cleanup(letGo)
	w.create(policy, binding)
	return letGo
}

// P8: the scheduler dies after it added the toleration and before it bound the pod.
func TestATolerationIsAddedOnceWhenTheSchedulerDiesBeforeItBinds(t *testing.T) {
	w := newWorld(t, "patched")
	w.remote()
	letGo := w.holdBindings()
	held := func(pod *corev1.Pod) func(g Gomega) {
		return func(g Gomega) {
			var now corev1.Pod
			g.Expect(w.get(w.home, w.ns, pod.Name, &now)).To(Succeed())
			g.Expect(tolerations(&now)).To(Equal(1))
			g.Expect(now.Spec.NodeName == "" && refusal(&now) == "").To(BeFalse(), "it is being bound")
		}
	}
	// The API server learns of the policy in its own time: a pod tells whether it has.
	var pods []*corev1.Pod
	for n := 0; ; n++ {
		probe := build.Pod(fmt.Sprintf("probe-%d", n)).Namespace(w.ns).Obj()
		w.create(probe)
		w.Eventually(held(probe)).Should(Succeed())
		w.Expect(w.get(w.home, w.ns, probe.Name, probe)).To(Succeed())
		if probe.Spec.NodeName == "" {
			w.Expect(refusal(probe)).To(ContainSubstring(heldBack))
			pods = append(pods, probe)
			break
		}
	}
	theirs := corev1.Toleration{Key: "theirs", Operator: corev1.TolerationOpExists}
	for n := range 10 {
		pods = append(pods, build.Pod(fmt.Sprintf("pod-%d", n)).Namespace(w.ns).Tolerate(theirs).Obj())
		w.create(pods[len(pods)-1])
	}
	for _, pod := range pods {
		w.Eventually(held(pod)).Should(Succeed())
	}

	w.Expect(playground.Kill(w.ctx, env.Consumer, env.Scheduler)).To(Succeed())
	letGo()
	w.Expect(playground.Start(w.ctx, env.Consumer, env.Scheduler)).To(Succeed())
	cells := map[string]cell{}
	for _, pod := range pods {
		cells[pod.Name] = cell{pod: pod, on: aVirtualNode}
	}
	w.settle(t, cells)
	for _, pod := range pods {
		w.Expect(w.get(w.home, w.ns, pod.Name, pod)).To(Succeed())
		w.Expect(tolerations(pod)).To(Equal(1), pod.Name)
		if pod.Name[:3] == "pod" {
			w.Expect(pod.Spec.Tolerations).To(ContainElement(theirs), "others' tolerations stay")
		}
	}
}

// P8: the scheduler dies in a burst of pods, wherever it is with each.
func TestABurstOfPodsSurvivesTheDeathOfTheScheduler(t *testing.T) {
	const burst = 60
	w := newWorld(t, "burst")
	w.remote()
	cells := map[string]cell{}
	for n := range burst {
		pod := build.Pod(fmt.Sprintf("pod-%d", n)).Namespace(w.ns).Spec(func(s *corev1.PodSpec) {
			s.TerminationGracePeriodSeconds = ptr.To[int64](0)
		}).Obj()
		cells[pod.Name] = cell{pod: pod, on: aVirtualNode}
	}
	creations := w.creating(cells)
	bound := func() (int, error) {
		var pods corev1.PodList
		err := w.home.List(w.ctx, &pods, client.InNamespace(w.ns))
		count := 0
		for _, pod := range pods.Items {
			if pod.Spec.NodeName != "" {
				count++
			}
		}
		return count, err
	}
	w.Eventually(bound, decided, "5ms").Should(BeNumerically(">", 5))
	w.Expect(playground.Kill(w.ctx, env.Consumer, env.Scheduler)).To(Succeed())
	w.Expect(creations.Wait()).To(Succeed())
	w.Expect(bound()).To(BeNumerically("<", burst), "it died before it was done")
	w.Expect(playground.Start(w.ctx, env.Consumer, env.Scheduler)).To(Succeed())
	w.settle(t, cells)
	var pods corev1.PodList
	w.Expect(w.home.List(w.ctx, &pods, client.InNamespace(w.ns))).To(Succeed())
	for _, pod := range pods.Items {
		w.Expect(tolerations(&pod)).To(Equal(1), pod.Name)
	}
}
