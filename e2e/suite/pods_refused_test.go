package suite

import (
	"testing"

	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// refusedPod is how a provider's administrator comes to refuse a pod.
type refusedPod struct {
	// set makes it so, and returns what takes it back; nil is for what only the pod is to blame for.
	set func(w *world) (lift func())
	// change is what is wrong with the pod.
	change func(*build.PodBuilder)
	says   string
}

// O8; for Pod Security see provider. A pod that the provider refuses stays Pending with the provider's words, and runs
// when it is refused no more.
func TestARefusalIsToldInTheProvidersWords(t *testing.T) {
	for name, test := range map[string]refusedPod{
		"quota":            {quota, nil, "exceeded quota: none"},
		"admission-policy": {policy, func(b *build.PodBuilder) { b.Label("colour", "mauve") }, "not in this colour"},
		"runtime-class": {nil, func(b *build.PodBuilder) {
			b.Annotation(v1beta1.AnnotationRemoteRuntimeClass, "nope")
		}, `RuntimeClass "nope" not found`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "refused-"+name)
			w.remoteOn("provider-1")
			lift := func() {}
			if test.set != nil {
				lift = test.set(w)
			}
			pod := build.Pod("web").Namespace(w.ns)
			if test.change != nil {
				test.change(pod)
			}
			w.create(pod.Obj())
			refused := And(HaveField("Status.Phase", corev1.PodPending), HaveField("Status.Reason", "FailedCreate"),
				HaveField("Status.Message", ContainSubstring(test.says)))
			get := func() (corev1.Pod, error) {
				var now corev1.Pod
				err := w.get(w.home, w.ns, "web", &now)
				return now, err
			}
			w.Eventually(get).Should(refused)
			w.Eventually(func(g Gomega) {
				var events eventsv1.EventList
				g.Expect(w.home.List(w.ctx, &events, client.InNamespace(w.ns))).To(Succeed())
				g.Expect(events.Items).To(ContainElement(And(HaveField("Reason", "FailedCreate"),
					HaveField("Regarding.Name", "web"), HaveField("Note", ContainSubstring(test.says)))))
			}).Should(Succeed())
			if test.set == nil {
				return
			}
			lift()
			w.Eventually(get).Should(And(HaveField("Status.Phase", corev1.PodRunning), HaveField("Status.Reason", "")))
		})
	}
}

// quota lets no pod into the twin.
func quota(w *world) func() {
	w.t.Helper()
	q := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.twin(), Name: "none"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")}},
	}
	w.Expect(away("provider-1").Create(w.ctx, q)).To(Succeed())
	w.refusing(build.Pod("probe"))
	return func() { w.Expect(away("provider-1").Delete(w.ctx, q)).To(Succeed()) }
}

// policy is an admission policy of the provider's own.
func policy(w *world) func() {
	w.t.Helper()
	c, name := away("provider-1"), "colours"
	p := &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
					RuleWithOperations: admissionregistrationv1.RuleWithOperations{
						Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
						Rule: admissionregistrationv1.Rule{
							APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"pods"},
						},
					},
				}},
			},
			Validations: []admissionregistrationv1.Validation{{
				Expression: "!has(object.metadata.labels) || !('colour' in object.metadata.labels)",
				Message:    "not in this colour",
			}},
		},
	}
	b := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        name,
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}
	w.Expect(c.Create(w.ctx, p)).To(Succeed())
	w.Expect(c.Create(w.ctx, b)).To(Succeed())
	w.refusing(build.Pod("probe").Label("colour", "red"))
	return func() {
		w.Expect(c.Delete(w.ctx, b)).To(Succeed())
		w.Expect(c.Delete(w.ctx, p)).To(Succeed())
	}
}

// refusing waits until the provider refuses such a pod: API servers hear of policies and quotas in their own time.
func (w *world) refusing(probe *build.PodBuilder) {
	w.t.Helper()
	refused := func(err error) bool { return apierrors.IsForbidden(err) || apierrors.IsInvalid(err) }
	w.Eventually(func() error {
		pod := probe.Namespace(w.twin()).Obj() // made for real: a quota counts nothing in a dry run
		if err := away("provider-1").Create(w.ctx, pod); err != nil {
			return err
		}
		return away("provider-1").Delete(w.ctx, pod, client.GracePeriodSeconds(0))
	}).Should(MatchError(refused, "refused"))
}

// O8 and O13: a provider that cannot be reached fails no pod, not even one that may not be restarted. Those that run
// are not ready meanwhile and say why, and are ready again afterwards; nobody was restarted.
func TestAProviderThatCannotBeReachedFailsNoPod(t *testing.T) {
	w := newWorld(t, "unreached")
	w.remoteOn("provider-2")
	c := w.chronicleOf("provider-2")
	never := func(name string) *build.PodBuilder {
		return build.Pod(name).Namespace(w.ns).Spec(func(s *corev1.PodSpec) {
			s.RestartPolicy = corev1.RestartPolicyNever
		})
	}
	w.create(never("early").Obj())
	w.running(1)
	ready := func(name string) func() (string, error) {
		return func() (string, error) {
			var pod corev1.Pod
			err := w.get(w.home, w.ns, name, &pod)
			for _, c := range pod.Status.Conditions {
				if c.Type == corev1.PodReady {
					return string(c.Status) + "/" + c.Reason, err
				}
			}
			return string(pod.Status.Phase), err
		}
	}
	w.Eventually(ready("early")).Should(HavePrefix("True/"))

	heal := w.cut("provider-2")
	w.create(never("late").Node("provider-2").Tolerate(v1beta1.Toleration()).Obj()) // as if bound a moment before
	w.Eventually(ready("early"), outage).Should(Equal("False/ProviderUnreachable"))
	w.Eventually(func() (map[string]string, error) {
		var pod corev1.Pod
		err := w.get(w.home, w.ns, "early", &pod)
		return pod.Labels, err
	}).Should(HaveKeyWithValue(v1beta1.LabelRemoteUnavailable, "true"))
	w.Expect(ready("late")()).To(Equal(string(corev1.PodPending)))
	heal()
	w.Eventually(ready("early"), outage).Should(HavePrefix("True/"))
	w.Eventually(ready("late"), outage).Should(HavePrefix("True/"))
	w.Eventually(func() (map[string]string, error) {
		var pod corev1.Pod
		err := w.get(w.home, w.ns, "early", &pod)
		return pod.Labels, err
	}).ShouldNot(HaveKey(v1beta1.LabelRemoteUnavailable))
	w.kept(c)
}
