package suite

import (
	"testing"

	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// P6: a pod that names a virtual node itself runs there if the policy permits, and otherwise waits, says why, and is
// never seen by the provider. It brings the toleration, or Kubernetes itself would take it away.
func TestAPodThatNamesItsVirtualNodeIsHeldToThePolicy(t *testing.T) {
	one := build.Selector("liqo.io/provider", "provider-1")
	plain, local, remote := newWorld(t, "forced-plain"), newWorld(t, "forced-local"), newWorld(t, "forced-remote")
	local.create(build.Offloading(local.ns).Strategy(v1beta1.Local).Selector(one).Obj())
	remote.create(build.Offloading(remote.ns).Strategy(v1beta1.Remote).Selector(one).Obj())
	for _, w := range []*world{local, remote} {
		w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
	}
	tests := map[string]struct {
		w           *world
		node, class string
		says        string // why it waits, or runs
	}{
		"not offloaded":         {plain, "provider-1", "", notOffloaded},
		"not offloaded, liqo":   {plain, "provider-2", "liqo", notOffloaded},
		"Local":                 {local, "provider-1", "", localStays},
		"Local, liqo":           {local, "provider-1", "liqo", runs},
		"Remote":                {remote, "provider-1", "", runs},
		"Remote, not selected":  {remote, "provider-2", "", notSelected},
		"Remote, on Local liqo": {local, "provider-2", "liqo", notSelected},
	}
	pods := map[string]*corev1.Pod{}
	for name, test := range tests {
		pod := build.Pod("on-" + test.node + "-" + test.class + "-x").Namespace(test.w.ns).Node(test.node)
		if test.class != "" {
			pod.RuntimeClass(test.class)
		} else {
			pod.Tolerate(v1beta1.Toleration())
		}
		pods[name] = pod.Obj()
		plain.create(pods[name])
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := test.w
			is := HaveField("Status.Phase", corev1.PodRunning)
			if test.says != runs {
				is = backingOff(test.says)
			}
			NewWithT(t).Eventually(func() (corev1.Pod, error) {
				var now corev1.Pod
				err := w.home.Get(w.ctx, client.ObjectKeyFromObject(pods[name]), &now)
				return now, err
			}, decided, poll).Should(is)
			if test.says == runs {
				return
			}
			var remotes corev1.PodList
			w.Expect(away(test.node).List(w.ctx, &remotes)).To(Succeed())
			uid := string(pods[name].UID)
			NewWithT(t).Expect(remotes.Items).NotTo(ContainElement(
				HaveField("ObjectMeta.Annotations", HaveKeyWithValue(v1beta1.AnnotationHomeUID, uid)),
			), "no remote pod")
			var events eventsv1.EventList
			w.Expect(w.home.List(w.ctx, &events, client.InNamespace(w.ns))).To(Succeed())
			NewWithT(t).Expect(events.Items).To(ContainElement(And(
				HaveField("Reason", "OffloadingBackOff"), HaveField("Regarding.UID", pods[name].UID),
			)))
		})
	}

	plain.create(build.Offloading(plain.ns).Selector(one).Obj())
	plain.settle(t, map[string]cell{"once permitted it runs": {pod: pods["not offloaded"], on: "provider-1"}})
}

// backingOff matches a pod that its virtual node refuses, with words of the reason.
func backingOff(says string) gomegatypes.GomegaMatcher {
	return And(
		HaveField("Status.Phase", corev1.PodPending),
		HaveField("Status.Reason", "OffloadingBackOff"),
		HaveField("Status.Message", ContainSubstring(says)),
	)
}

// P5: a DaemonSet wants a pod on every node that it tolerates, and gets those that the policy permits. The others stay
// pending and are never bound, so no node backs off with them.
func TestADaemonSetHasNoPodsOnVirtualNodesThatThePolicyExcludes(t *testing.T) {
	plain, both := newWorld(t, "daemons-plain"), newWorld(t, "daemons-both")
	both.create(build.Offloading(both.ns).Selector(build.Selector("liqo.io/provider", "provider-1")).Obj())
	both.Eventually(both.phase).Should(Equal(v1beta1.PhaseReady))
	for w, want := range map[*world]struct {
		runs  []string
		waits []string // words for each node that gets none
	}{
		plain: {homeNodes(), []string{notOffloaded, notOffloaded}},
		both:  {append(homeNodes(), "provider-1"), []string{notSelected}},
	} {
		w.create(daemonSet(w.ns, "modest"), daemonSet(w.ns, "everywhere", everything()))
		t.Run(w.ns, func(t *testing.T) {
			g := NewWithT(t)
			g.Eventually(func(g Gomega) {
				pods, err := w.pods(w.home, w.ns)
				g.Expect(err).NotTo(HaveOccurred())
				var bound, refusals []string
				for _, pod := range pods {
					switch {
					case pod.Labels["app"] == "modest":
						g.Expect(homeNodes()).To(ContainElement(pod.Spec.NodeName), "the taint keeps it at home")
					case pod.Spec.NodeName != "":
						g.Expect(pod.Status.Phase).To(Equal(corev1.PodRunning), waitingFor(&pod))
						bound = append(bound, pod.Spec.NodeName)
					default:
						refusals = append(refusals, refusal(&pod))
					}
				}
				g.Expect(bound).To(ConsistOf(want.runs))
				g.Expect(refusals).To(HaveLen(len(want.waits)))
				for _, why := range refusals {
					g.Expect(why).To(ContainSubstring(want.waits[0]))
				}
			}, decided, poll).Should(Succeed())
			pods, err := w.pods(w.home, w.ns)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(pods).NotTo(ContainElement(HaveField("Status.Reason", "OffloadingBackOff")))
		})
	}
}

// homeNodes returns the ordinary nodes.
func homeNodes() []string { return []string{"consumer-node-1", "consumer-node-2", "consumer-node-3"} }

func daemonSet(ns, name string, tolerations ...corev1.Toleration) *appsv1.DaemonSet {
	labels := map[string]string{"app": name}
	spec := build.Pod(name).Obj().Spec
	spec.Tolerations = tolerations
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: spec},
		},
	}
}
