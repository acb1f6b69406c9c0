package suite

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// remote offloads the namespace with strategy Remote and waits until it is ready.
func (w *world) remote() {
	w.t.Helper()
	w.create(build.Offloading(w.ns).Strategy(v1beta1.Remote).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
}

// remoteOn is remote with one provider only.
func (w *world) remoteOn(provider string) {
	w.t.Helper()
	one := build.Selector("liqo.io/provider", provider)
	w.create(build.Offloading(w.ns).Strategy(v1beta1.Remote).Selector(one).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
}

// awayPod returns the remote pod of a home pod.
func (w *world) awayPod(home *corev1.Pod) (*corev1.Pod, error) {
	var pod corev1.Pod
	err := w.get(away(home.Spec.NodeName), w.twin(), home.Name, &pod)
	return &pod, err
}

func notFound(err error) bool { return apierrors.IsNotFound(err) }

// O4. That the grace is the same is shown where nobody ends pods at once, as kwok does: in provider.
func TestAPodLeavesHomeOnlyAfterItsRemotePod(t *testing.T) {
	w := newWorld(t, "farewell")
	w.remote()
	held := build.Pod("graceful").Namespace(w.ns).Obj()
	w.create(held, build.Pod("forced").Namespace(w.ns).Obj())
	pods := map[string]*corev1.Pod{}
	for _, pod := range w.running(2) {
		pods[pod.Name] = &pod
	}

	// A finalizer on the remote pod shows the moment in between: it must hold the home pod too.
	remote, err := w.awayPod(pods["graceful"])
	w.Expect(err).NotTo(HaveOccurred())
	hold := client.MergeFrom(remote.DeepCopy())
	remote.Finalizers = []string{"example.com/hold"}
	c := away(pods["graceful"].Spec.NodeName)
	w.Expect(c.Patch(w.ctx, remote, hold)).To(Succeed())
	w.Expect(w.home.Delete(w.ctx, pods["graceful"])).To(Succeed())
	w.Eventually(func(g Gomega) {
		now, err := w.awayPod(pods["graceful"])
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(now.DeletionTimestamp).NotTo(BeNil())
	}).Should(Succeed())
	w.Consistently(func() error { return w.get(w.home, w.ns, "graceful", &corev1.Pod{}) }).
		Should(Succeed(), "a home pod leaves only after the remote one")
	remote, err = w.awayPod(pods["graceful"])
	w.Expect(err).NotTo(HaveOccurred())
	release := client.MergeFrom(remote.DeepCopy())
	remote.Finalizers = nil
	w.Expect(c.Patch(w.ctx, remote, release)).To(Succeed())
	w.Eventually(func() error { return w.get(w.home, w.ns, "graceful", &corev1.Pod{}) }).
		Should(MatchError(notFound, "not found"))

	w.Expect(w.home.Delete(w.ctx, pods["forced"], client.GracePeriodSeconds(0))).To(Succeed())
	w.Eventually(func() error {
		_, err := w.awayPod(pods["forced"])
		return err
	}).Should(MatchError(notFound, "not found"))
}

// O11.
func TestAnAgentThatIsKilledDisturbsNoPod(t *testing.T) {
	w := newWorld(t, "restart")
	w.remote()
	w.shop(6)
	w.create(build.Pod("leaves").Namespace(w.ns).Obj())
	w.running(7)
	before := map[types.UID]int32{}
	var leaving corev1.Pod
	w.Expect(w.get(w.home, w.ns, "leaves", &leaving)).To(Succeed())
	for _, pod := range w.twinPods(7) {
		if pod.Name != "leaves" {
			before[pod.UID] = pod.Status.ContainerStatuses[0].RestartCount
		}
	}

	for _, p := range providers() {
		w.Expect(playground.Kill(w.ctx, env.Consumer, env.AgentOf(p))).To(Succeed())
	}
	// What happens meanwhile is found out afterwards: a pod that left home for good, and one that came.
	w.Expect(w.home.Delete(w.ctx, &leaving, client.GracePeriodSeconds(0))).To(Succeed())
	w.create(build.Pod("comes").Namespace(w.ns).Obj())
	for _, p := range providers() {
		w.Expect(playground.Start(w.ctx, env.Consumer, env.AgentOf(p))).To(Succeed())
	}
	w.Eventually(func() error {
		_, err := w.awayPod(&leaving)
		return err
	}).Should(MatchError(notFound, "not found"), "its remote pod is not forgotten")
	w.running(7)

	after := map[types.UID]int32{}
	for _, pod := range w.twinPods(7) {
		if pod.Name != "comes" {
			after[pod.UID] = pod.Status.ContainerStatuses[0].RestartCount
		}
	}
	w.Expect(after).To(Equal(before), "no remote pod deleted, duplicated or restarted")
}

// O12.
func TestTheVirtualNodeTellsTheTruthAndIsRepaired(t *testing.T) {
	w := newWorld(t, "nodes")
	get := func(g Gomega) *corev1.Node {
		var node corev1.Node
		g.Expect(w.get(w.home, "", "provider-1", &node)).To(Succeed())
		return &node
	}
	var theirs corev1.NodeList
	w.Expect(away("provider-1").List(w.ctx, &theirs)).To(Succeed())
	var pods int64
	for _, n := range theirs.Items {
		pods += n.Status.Allocatable.Pods().Value()
	}
	w.Eventually(func(g Gomega) {
		node := get(g)
		g.Expect(node.Status.Allocatable.Pods().Value()).To(Equal(pods))
		g.Expect(node.Labels).To(HaveKeyWithValue("topology.kubernetes.io/region", "region-1"))
		g.Expect(node.Labels[corev1.LabelArchStable]).To(Equal(theirs.Items[0].Labels[corev1.LabelArchStable]))
		g.Expect(node.Spec.Taints).To(ContainElement(v1beta1.Taint()))
	}).Should(Succeed())

	node := get(w)
	drift := client.MergeFrom(node.DeepCopy())
	node.Labels["topology.kubernetes.io/region"] = "elsewhere"
	delete(node.Labels, v1beta1.LabelNodeType)
	node.Spec.Taints = nil
	w.Expect(w.home.Patch(w.ctx, node, drift)).To(Succeed())
	w.Eventually(func(g Gomega) {
		node := get(g)
		g.Expect(node.Labels).To(HaveKeyWithValue("topology.kubernetes.io/region", "region-1"))
		g.Expect(node.Labels).To(HaveKeyWithValue(v1beta1.LabelNodeType, v1beta1.NodeTypeVirtual))
		g.Expect(node.Spec.Taints).To(ContainElement(v1beta1.Taint()))
	}).Should(Succeed())

	extra := build.Node("extra")
	w.Expect(away("provider-1").Create(w.ctx, extra)).To(Succeed())
	w.Eventually(func(g Gomega) {
		g.Expect(get(g).Status.Allocatable.Pods().Value()).To(Equal(pods + extra.Status.Allocatable.Pods().Value()))
	}).Should(Succeed())
	w.Expect(away("provider-1").Delete(w.ctx, extra)).To(Succeed())
	w.Eventually(func(g Gomega) {
		g.Expect(get(g).Status.Allocatable.Pods().Value()).To(Equal(pods))
	}).Should(Succeed())
}

// ready returns status/reason of the node's Ready condition.
func (w *world) ready(node string) (string, error) {
	var n corev1.Node
	if err := w.get(w.home, "", node, &n); err != nil {
		return "", err
	}
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return string(c.Status) + "/" + c.Reason, nil
		}
	}
	return "absent", nil
}

// O12, the other half.
func TestTheVirtualNodeFollowsTheHealthOfItsProvider(t *testing.T) {
	w := newWorld(t, "cable")
	cut, err := env.ParseMode("cut")
	w.Expect(err).NotTo(HaveOccurred())
	heal, err := env.ParseMode("heal")
	w.Expect(err).NotTo(HaveOccurred())

	w.Expect(playground.SetLink(w.ctx, "provider-2", cut)).To(Succeed())
	t.Cleanup(func() { _ = playground.SetLink(w.ctx, "provider-2", heal) })
	w.Eventually(func() (string, error) { return w.ready("provider-2") }, outage).
		Should(Equal("False/RemoteAPIServerUnreachable"))
	w.Expect(w.ready("provider-1")).To(HavePrefix("True/"))
	w.Expect(playground.SetLink(w.ctx, "provider-2", heal)).To(Succeed())
	w.Eventually(func() (string, error) { return w.ready("provider-2") }, outage).Should(HavePrefix("True/"))
}
