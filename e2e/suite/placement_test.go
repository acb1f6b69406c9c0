package suite

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// bound says what kind of node a pod is bound to: "home", "away" or, for now, "pending".
func (w *world) bound(name string) (string, error) {
	var pod corev1.Pod
	if err := w.get(w.home, w.ns, name, &pod); err != nil || pod.Spec.NodeName == "" {
		return "pending", err
	}
	var node corev1.Node
	if err := w.get(w.home, "", pod.Spec.NodeName, &node); err != nil {
		return "", err
	}
	if node.Labels[v1beta1.LabelNodeType] == v1beta1.NodeTypeVirtual {
		return "away", nil
	}
	return "home", nil
}

func toVirtualNodes(op corev1.NodeSelectorOperator) *corev1.Affinity {
	term := corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
		Key: v1beta1.LabelNodeType, Operator: op, Values: []string{v1beta1.NodeTypeVirtual},
	}}}
	return &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
			NodeSelectorTerms: []corev1.NodeSelectorTerm{term},
		},
	}}
}

// P1: the twelve cells, on the real scheduler. The plugin's own tests hold the whole truth table.
func TestThePodsOwnAffinityAppliesOnTopOfTheStrategy(t *testing.T) {
	affinities := map[string]*corev1.Affinity{
		"away": toVirtualNodes(corev1.NodeSelectorOpIn), "home": toVirtualNodes(corev1.NodeSelectorOpNotIn),
	}
	for strategy, want := range map[v1beta1.PodOffloadingStrategy]map[string]string{
		v1beta1.Local:          {"away": "pending", "home": "home", "away-liqo": "away", "home-liqo": "pending"},
		v1beta1.Remote:         {"away": "away", "home": "pending", "away-liqo": "away", "home-liqo": "pending"},
		v1beta1.LocalAndRemote: {"away": "away", "home": "home", "away-liqo": "away", "home-liqo": "pending"},
	} {
		t.Run(string(strategy), func(t *testing.T) {
			w := newWorld(t, "affinity-"+map[v1beta1.PodOffloadingStrategy]string{
				v1beta1.Local: "local", v1beta1.Remote: "remote", v1beta1.LocalAndRemote: "both",
			}[strategy])
			w.create(build.Offloading(w.ns).Strategy(strategy).Obj())
			w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
			for to, affinity := range affinities {
				with := func(s *corev1.PodSpec) { s.Affinity = affinity }
				w.create(
					build.Pod(to).Namespace(w.ns).Spec(with).Obj(),
					build.Pod(to+"-liqo").Namespace(w.ns).RuntimeClass(v1beta1.RuntimeClass).Spec(with).Obj(),
				)
			}
			for pod, where := range want {
				if where != "pending" {
					w.Eventually(func() (string, error) { return w.bound(pod) }).Should(Equal(where), pod)
				}
			}
			for pod, where := range want {
				w.Consistently(func() (string, error) { return w.bound(pod) }, "1s").Should(Equal(where), pod)
			}
		})
	}
}

// The rows "not offloaded": neither a toleration nor the class takes a pod away.
func TestAPodOfANamespaceThatIsNotOffloadedNeverLeavesHome(t *testing.T) {
	w := newWorld(t, "ordinary")
	everything := corev1.Toleration{Operator: corev1.TolerationOpExists}
	w.create(
		build.Pod("plain").Namespace(w.ns).Obj(),
		build.Pod("tolerant").Namespace(w.ns).Tolerate(everything).Obj(),
		build.Pod("insistent").Namespace(w.ns).Tolerate(everything).
			Spec(func(s *corev1.PodSpec) { s.Affinity = toVirtualNodes(corev1.NodeSelectorOpIn) }).Obj(),
		build.Pod("class").Namespace(w.ns).RuntimeClass(v1beta1.RuntimeClass).Obj(),
	)
	for pod, want := range map[string]string{
		"plain": "home", "tolerant": "home", "insistent": "pending", "class": "pending",
	} {
		w.Eventually(func() (string, error) { return w.bound(pod) }).Should(Equal(want), pod)
	}
	w.Eventually(func(g Gomega) {
		var pod corev1.Pod
		g.Expect(w.get(w.home, w.ns, "class", &pod)).To(Succeed())
		g.Expect(waitingFor(&pod)).To(ContainSubstring("namespace is not offloaded"))
	}).Should(Succeed())
	w.Consistently(func() (string, error) { return w.bound("insistent") }).Should(Equal("pending"))
}

// P2: the offloading and the pods arrive as fast as one client can send them.
func TestPodsCreatedTogetherWithTheOffloadingObeyIt(t *testing.T) {
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			w := newWorld(t, fmt.Sprintf("batch-%d", round))
			w.create(
				build.Offloading(w.ns).Strategy(v1beta1.Remote).Obj(),
				build.Pod("one").Namespace(w.ns).Obj(),
				build.Pod("two").Namespace(w.ns).Obj(),
				build.Pod("three").Namespace(w.ns).Obj(),
			)
			for _, pod := range w.running(3) {
				w.Expect(providers()).To(ContainElement(pod.Spec.NodeName), pod.Name)
				w.Expect(pod.Spec.Tolerations).To(ContainElement(v1beta1.Toleration()))
			}
		})
	}
}

// P10: the providers' schedulers are ours too, and there our kinds do not exist.
func TestTheSchedulerWorksWhereOurKindsAreMissing(t *testing.T) {
	w := newWorld(t, "elsewhere")
	pod := build.Pod("theirs").Spec(func(s *corev1.PodSpec) {
		s.TerminationGracePeriodSeconds = ptr.To[int64](0)
	}).Obj()
	w.Expect(away("provider-1").Create(w.ctx, pod)).To(Succeed())
	w.Eventually(func(g Gomega) {
		var now corev1.Pod
		g.Expect(w.get(away("provider-1"), metav1.NamespaceDefault, "theirs", &now)).To(Succeed())
		g.Expect(now.Status.Phase).To(Equal(corev1.PodRunning))
	}).Should(Succeed())
	w.Expect(away("provider-1").Delete(w.ctx, pod)).To(Succeed())
}
