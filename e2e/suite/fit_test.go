package suite

import (
	"context"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// closedSays is how the scheduler of such a provider puts it.
const closedSays = "had untolerated taint"

// closed taints the nodes of a provider, so that its scheduler finds none for new pods, until open is called or the
// test ends.
func (w *world) closed(provider string) (open func()) {
	w.t.Helper()
	taint := corev1.Taint{Key: "example.com/closed", Effect: corev1.TaintEffectNoSchedule}
	each := func(ctx context.Context, change func(*corev1.Node)) error {
		var nodes corev1.NodeList
		if err := away(provider).List(ctx, &nodes); err != nil {
			return err
		}
		for i := range nodes.Items {
			before := client.MergeFrom(nodes.Items[i].DeepCopy())
			change(&nodes.Items[i])
			if err := away(provider).Patch(ctx, &nodes.Items[i], before); err != nil {
				return err
			}
		}
		return nil
	}
	w.Expect(each(w.ctx, func(n *corev1.Node) { n.Spec.Taints = append(n.Spec.Taints, taint) })).To(Succeed())
	open = func() {
		// After the test, its own context is done.
		err := each(context.Background(), func(n *corev1.Node) {
			var rest []corev1.Taint
			for _, t := range n.Spec.Taints {
				if !t.MatchTaint(&taint) {
					rest = append(rest, t)
				}
			}
			n.Spec.Taints = rest
		})
		if err != nil {
			w.t.Errorf("open %s: %v", provider, err)
		}
	}
	w.t.Cleanup(open)
	return open
}

// unfit returns until when a virtual node takes no pods of a controller; the zero time if it does.
func (w *world) unfit(node string, owner *metav1.OwnerReference) (time.Time, error) {
	var n corev1.Node
	err := w.get(w.home, "", node, &n)
	return placement.ParseUnfit(n.Annotations[v1beta1.AnnotationUnfit])[owner.UID], err
}

// A provider that finds no node for a pod gives it back, and another one runs it.
func TestAPodThatFindsNoNodeRunsElsewhere(t *testing.T) {
	w := newWorld(t, "elsewhere")
	open := w.closed("provider-1")
	only := build.Selector("liqo.io/provider", "provider-1")
	w.create(build.Offloading(w.ns).Strategy(v1beta1.Remote).Selector(only).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
	w.shop(1)
	w.create(build.Pod("single").Namespace(w.ns).Obj())
	var stuck []corev1.Pod
	w.Eventually(func(g Gomega) {
		var err error
		stuck, err = w.pods(w.home, w.ns)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(stuck).To(HaveLen(2))
		for _, pod := range stuck {
			g.Expect(pod.Status.Reason).To(Equal(corev1.PodReasonUnschedulable), pod.Name)
			g.Expect(pod.Status.Message).To(ContainSubstring(closedSays), "the provider's words")
		}
	}).Should(Succeed())
	first := stuck[0]
	if first.Name == "single" {
		first = stuck[1]
	}
	owner := metav1.GetControllerOf(&first)

	off := w.offloading()
	wider := client.MergeFrom(off.DeepCopy())
	off.Spec.ClusterSelector = build.Selector("liqo.io/provider", "provider-1", "provider-2")
	w.Expect(w.home.Patch(w.ctx, off, wider)).To(Succeed())
	var second corev1.Pod
	w.Eventually(func(g Gomega) {
		pods, err := w.pods(w.home, w.ns)
		g.Expect(err).NotTo(HaveOccurred())
		second = corev1.Pod{}
		for _, pod := range pods {
			if strings.HasPrefix(pod.Name, "web-") {
				second = pod
			}
		}
		g.Expect(second.UID).NotTo(Equal(first.UID))
		g.Expect(second.Spec.NodeName).To(Equal("provider-2"))
		g.Expect(second.Status.Phase).To(Equal(corev1.PodRunning), waitingFor(&second))
	}).Should(Succeed(), "the Deployment's pod runs at the other provider")
	w.Eventually(func() error { return w.get(w.home, w.ns, first.Name, &corev1.Pod{}) }).
		Should(MatchError(notFound, "not found"))
	_, err := w.awayPod(&first)
	w.Expect(err).To(MatchError(notFound, "not found"))
	w.Expect(w.unfit("provider-1", owner)).To(BeTemporally(">", time.Now()))
	out, code := w.liqoctl("explain", "pod", second.Name, "-n", w.ns)
	w.Expect(code).To(Equal(0), out)
	w.Expect(out).To(ContainSubstring("no node of the provider took pods of ReplicaSet " + owner.Name))

	var events eventsv1.EventList
	w.Expect(w.home.List(w.ctx, &events, client.InNamespace(w.ns))).To(Succeed())
	var told []string
	for _, e := range events.Items {
		if e.Reason == "ReleasedUnschedulable" {
			told = append(told, e.Regarding.Name+": "+e.Note)
		}
	}
	w.Expect(told).To(ContainElement(
		And(HavePrefix(first.Name+": released after "), ContainSubstring(closedSays))))
	w.Expect(told).NotTo(ContainElement(HavePrefix("single:")))

	var single corev1.Pod
	w.Expect(w.get(w.home, w.ns, "single", &single)).To(Succeed())
	w.Expect(single.DeletionTimestamp).To(BeNil(), "nobody would make it again")
	open()
	w.Eventually(func() (corev1.PodPhase, error) {
		err := w.get(w.home, w.ns, "single", &single)
		return single.Status.Phase, err
	}).Should(Equal(corev1.PodRunning), "it waited")
	w.Eventually(func() (time.Time, error) { return w.unfit("provider-1", owner) }).Should(BeZero(), "the note passes")
}

// A pod that was bound when its policy changed, and has not begun, goes back to its controller.
func TestAPodThatPolicyCameToForbidRunsAtHome(t *testing.T) {
	w := newWorld(t, "second-thoughts")
	w.remoteOn("provider-1")
	agent := env.AgentOf("provider-1")
	w.Expect(playground.Stop(w.ctx, env.Consumer, agent)).To(Succeed())
	w.shop(1)
	bound := func(now gomegatypes.GomegaMatcher) {
		w.Eventually(func() ([]corev1.Pod, error) { return w.pods(w.home, w.ns) }).
			Should(ConsistOf(And(HaveField("Spec.NodeName", "provider-1"), now)))
	}
	bound(HaveField("Status.Reason", ""))
	w.edit(strategy(v1beta1.Local))
	w.Expect(playground.Start(w.ctx, env.Consumer, agent)).To(Succeed())
	bound(backingOff("strategy Local keeps"))
	w.allHome(1)
	w.Expect(w.told("ReleasedNotPermitted")).To(ConsistOf(HavePrefix("released after ")))
}

// A provider has 96 CPUs, but no node has more than 32.
func TestAPodThatIsTooLargeForAnyNodeOfAProviderStaysAtHome(t *testing.T) {
	w := newWorld(t, "too-large")
	only := build.Selector("liqo.io/provider", "provider-1")
	w.create(build.Offloading(w.ns).Strategy(v1beta1.Remote).Selector(only).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
	large := build.Pod("large").Namespace(w.ns).Request(corev1.ResourceCPU, "40").Obj()
	direct := build.Pod("direct").Namespace(w.ns).Request(corev1.ResourceCPU, "40").Node("provider-1").
		Tolerate(v1beta1.Toleration()).Obj()
	w.create(large, direct)
	w.Eventually(func(g Gomega) {
		g.Expect(w.get(w.home, w.ns, "large", large)).To(Succeed())
		g.Expect(waitingFor(large)).To(MatchRegexp(`1 largest free node has \d+ CPUs, the pod asks for 40`))
	}).Should(Succeed())
	w.Eventually(func(g Gomega) {
		g.Expect(w.get(w.home, w.ns, "direct", direct)).To(Succeed())
		g.Expect(*direct).To(backingOff("the pod asks for 40"))
	}).Should(Succeed())
	_, err := w.awayPod(direct)
	w.Expect(err).To(MatchError(notFound, "not found"))

	giant := build.Node("giant")
	giant.Status.Capacity[corev1.ResourceCPU] = resource.MustParse("64")
	w.Expect(away("provider-1").Create(w.ctx, giant)).To(Succeed())
	t.Cleanup(func() { _ = away("provider-1").Delete(context.Background(), giant) })
	w.Eventually(func() (string, error) {
		err := w.get(w.home, w.ns, "large", large)
		return large.Spec.NodeName, err
	}).Should(Equal("provider-1"), "the news wakes it")
}
