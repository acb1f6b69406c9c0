package suite

import (
	"context"
	"fmt"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// evicting offloads the namespace so that its pods follow the policy.
func (w *world) evicting(off *build.OffloadingBuilder) {
	w.t.Helper()
	obj := off.Obj()
	obj.Spec.PodEvictionStrategy = v1beta1.EvictOnPolicyChange
	w.create(obj)
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
}

func strategy(s v1beta1.PodOffloadingStrategy) func(*v1beta1.NamespaceOffloadingSpec) {
	return func(spec *v1beta1.NamespaceOffloadingSpec) { spec.PodOffloadingStrategy = s }
}

// permitted returns condition PodsPermitted of the policy as it is now, "" while it is that of an older one.
func (w *world) permitted() metav1.Condition {
	off := w.offloading()
	c := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionPodsPermitted)
	if c == nil || c.ObservedGeneration != off.Generation {
		return metav1.Condition{}
	}
	return *c
}

// becomes waits for a reason of condition PodsPermitted, and returns its message.
func (w *world) becomes(reason string) string {
	w.t.Helper()
	var c metav1.Condition
	w.Eventually(func() string { c = w.permitted(); return c.Reason }).Should(Equal(reason),
		func() string { return fmt.Sprintf("%+v", w.permitted()) })
	return c.Message
}

// deploy starts a Deployment and waits until its pods run.
func (w *world) deploy(replicas int32, change func(*corev1.PodSpec)) {
	w.t.Helper()
	w.create(build.Deployment("web").Namespace(w.ns).Replicas(replicas).PodSpec(func(s *corev1.PodSpec) {
		s.TerminationGracePeriodSeconds = ptr.To[int64](0)
		if change != nil {
			change(s)
		}
	}).Obj())
	w.running(int(replicas))
}

// budget makes a PodDisruptionBudget for the Deployment, and waits until it counts.
func (w *world) budget(minAvailable int) *policyv1.PodDisruptionBudget {
	w.t.Helper()
	pdb := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt(minAvailable)),
			Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}
	w.create(pdb)
	w.Eventually(func(g Gomega) {
		g.Expect(w.home.Get(w.ctx, client.ObjectKeyFromObject(pdb), pdb)).To(Succeed())
		g.Expect(pdb.Status.ObservedGeneration).To(Equal(pdb.Generation))
		g.Expect(pdb.Status.ExpectedPods).To(BeNumerically(">", 0))
		g.Expect(pdb.Status.CurrentHealthy).To(Equal(pdb.Status.ExpectedPods))
	}).Should(Succeed())
	return pdb
}

// history is what a watch saw of a Deployment and its offloading.
type history struct {
	mu        sync.Mutex
	available []int32
	violating []int32
}

// watch records until the test is over how many replicas were available, and how many pods the status counted.
func (w *world) watch() *history {
	w.t.Helper()
	h := &history{}
	c, err := client.NewWithWatch(playground.Consumer().Config(), client.Options{Scheme: w.home.Scheme()})
	w.Expect(err).NotTo(HaveOccurred())
	ctx, cancel := context.WithCancel(w.ctx)
	w.t.Cleanup(cancel)
	for _, list := range []client.ObjectList{&appsv1.DeploymentList{}, &v1beta1.NamespaceOffloadingList{}} {
		watch, err := c.Watch(ctx, list, client.InNamespace(w.ns))
		w.Expect(err).NotTo(HaveOccurred())
		go func() {
			for event := range watch.ResultChan() {
				h.note(event.Object)
			}
		}()
	}
	return h
}

func (h *history) note(object any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch o := object.(type) {
	case *appsv1.Deployment:
		h.available = append(h.available, o.Status.AvailableReplicas)
	case *v1beta1.NamespaceOffloading:
		count := ptr.Deref(o.Status.ViolatingPods, -1)
		if last := len(h.violating) - 1; last < 0 || h.violating[last] != count {
			h.violating = append(h.violating, count)
		}
	}
}

func (h *history) seen() (available, violating []int32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]int32{}, h.available...), append([]int32{}, h.violating...)
}

// allHome waits until all pods run at home.
func (w *world) allHome(n int) {
	w.t.Helper()
	w.Eventually(func(g Gomega) {
		pods, err := w.pods(w.home, w.ns)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(pods).To(HaveLen(n))
		for _, pod := range pods {
			g.Expect(providers()).NotTo(ContainElement(pod.Spec.NodeName), pod.Name)
			g.Expect(pod.Status.Phase).To(Equal(corev1.PodRunning), pod.Name)
		}
	}).WithTimeout(2 * later).Should(Succeed())
}

// toProviders ties pods to virtual nodes.
func toProviders(s *corev1.PodSpec) {
	s.NodeSelector = map[string]string{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual}
}

func TestPodsComeHomeOneByOneWithinTheirBudget(t *testing.T) {
	w := newWorld(t, "evict-home")
	w.evicting(build.Offloading(w.ns).Strategy(v1beta1.Remote))
	w.deploy(6, nil)
	w.edit(strategy(v1beta1.LocalAndRemote))
	w.becomes("AllPermitted")
	w.budget(5)
	h := w.watch()

	w.edit(strategy(v1beta1.Local))
	w.allHome(6)
	w.Expect(w.becomes("AllPermitted")).To(Equal("every pod is where the policy permits it"))
	w.Expect(w.offloading().Status.ViolatingPods).To(HaveValue(BeEquivalentTo(0)))

	available, violating := h.seen()
	w.Expect(available).NotTo(BeEmpty())
	for _, n := range available {
		w.Expect(n).To(BeNumerically(">=", 5), "available over time: %v", available)
	}
	// The watch begins with none, and a count that loses the race with another writer comes a second later.
	w.Expect(len(violating)).To(BeNumerically(">=", 5), "left over time: %v", violating)
	w.Expect(violating[1]).To(BeNumerically(">=", 5), "left over time: %v", violating)
	for i := 2; i < len(violating); i++ {
		w.Expect(violating[i]).To(BeNumerically("<", violating[i-1]), "left over time: %v", violating)
	}
	w.Eventually(func() ([]string, error) { return w.told("PolicyEviction") }).Should(
		ContainElement("strategy Local keeps the pods of this namespace at home"))
	w.Eventually(func() ([]string, error) { return w.told("PodsPermitted") }).ShouldNot(BeEmpty())
}

// told returns the notes of the events with a reason.
func (w *world) told(reason string) ([]string, error) {
	var list eventsv1.EventList
	err := w.home.List(w.ctx, &list, client.InNamespace(w.ns))
	var notes []string
	for _, event := range list.Items {
		if event.Reason == reason {
			notes = append(notes, event.Note)
		}
	}
	return notes, err
}

func TestABudgetThatAllowsNothingIsNamed(t *testing.T) {
	w := newWorld(t, "evict-budget")
	w.evicting(build.Offloading(w.ns).Strategy(v1beta1.Remote))
	w.deploy(2, nil)
	budget := w.budget(2)
	w.edit(strategy(v1beta1.Local))
	w.Expect(w.becomes("DisruptionBudget")).To(SatisfyAll(
		ContainSubstring("2 pods are where the policy does not permit it"), ContainSubstring("disruption budget web")))
	w.Consistently(func() ([]corev1.Pod, error) { return w.pods(w.home, w.ns) }).Should(
		HaveEach(HaveField("Spec.NodeName", BeElementOf(providers()))))

	w.Expect(w.home.Delete(w.ctx, budget)).To(Succeed())
	w.allHome(2)
	w.becomes("AllPermitted")
}

func TestWhatCannotBeMovedStaysAndIsNamed(t *testing.T) {
	w := newWorld(t, "evict-stays")
	w.evicting(build.Offloading(w.ns))
	w.deploy(1, toProviders) // its own selector ties it to virtual nodes
	w.create(build.Pod("bare").Namespace(w.ns).Spec(toProviders).Obj())
	before := w.running(2)
	w.edit(strategy(v1beta1.Local))
	w.Expect(w.becomes("NoPermittedNode")).To(SatisfyAll(
		ContainSubstring("the pod's own node selector or affinity does not match"),
		ContainSubstring("never evicted because no controller would replace them: bare")))
	w.Expect(w.offloading().Status.ViolatingPods).To(HaveValue(BeEquivalentTo(2)))
	w.Consistently(func() ([]string, error) { return w.uids() }).Should(ConsistOf(uidsOf(before)))

	w.deleted(build.Deployment("web").Namespace(w.ns).Obj())
	w.Expect(w.becomes("NoController")).To(ContainSubstring("bare"))
	w.edit(func(spec *v1beta1.NamespaceOffloadingSpec) { spec.PodEvictionStrategy = v1beta1.EvictNever })
	w.Eventually(func(g Gomega) {
		off := w.offloading()
		g.Expect(off.Status.ViolatingPods).To(BeNil())
		g.Expect(meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionPodsPermitted)).To(BeNil())
		g.Expect(meta.IsStatusConditionTrue(off.Status.Conditions, v1beta1.ConditionReady)).To(BeTrue())
	}).Should(Succeed())
}

func uidsOf(pods []corev1.Pod) []string {
	uids := sets.New[string]()
	for _, pod := range pods {
		uids.Insert(string(pod.UID))
	}
	return sets.List(uids)
}

func (w *world) uids() ([]string, error) {
	pods, err := w.pods(w.home, w.ns)
	return uidsOf(pods), err
}

func TestByDefaultNobodyIsEvicted(t *testing.T) {
	w := newWorld(t, "evict-never")
	w.create(build.Offloading(w.ns).Strategy(v1beta1.Remote).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
	w.deploy(2, nil)
	before, err := w.uids()
	w.Expect(err).NotTo(HaveOccurred())
	w.edit(strategy(v1beta1.Local))
	w.Eventually(func(g Gomega) {
		off := w.offloading()
		g.Expect(off.Status.ObservedGeneration).To(Equal(off.Generation))
	}).Should(Succeed())
	w.Consistently(func() ([]string, error) { return w.uids() }).Should(ConsistOf(before))
	w.Expect(w.offloading().Status.ViolatingPods).To(BeNil())
	w.Expect(w.permitted()).To(BeZero())
}

// A selector that drops a cluster: its pods leave gracefully, and the twin goes after the last of them.
func TestPodsLeaveADeselectedClusterBeforeItsTwinGoes(t *testing.T) {
	w := newWorld(t, "evict-deselect")
	w.evicting(build.Offloading(w.ns).Strategy(v1beta1.Remote).
		Selector(build.Selector(corev1.LabelHostname, "provider-1")))
	w.deploy(3, nil)
	w.Expect(nodesOf(w.running(3))).To(Equal([]string{"provider-1"}))
	w.budget(2)
	h := w.watch()
	w.edit(func(spec *v1beta1.NamespaceOffloadingSpec) {
		spec.ClusterSelector = build.Selector(corev1.LabelHostname, "provider-2")
	})
	w.Eventually(func(g Gomega) {
		conditions := w.offloading().Status.RemoteNamespacesConditions["provider-1"]
		g.Expect(conditions).To(ContainElement(HaveField("Message",
			ContainSubstring("waiting for pods to be evicted before namespace "+w.twin()+" goes"))))
	}).Should(Succeed())
	w.Eventually(func(g Gomega) {
		pods, err := w.pods(w.home, w.ns)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(nodesOf(pods)).To(Equal([]string{"provider-2"}))
		g.Expect(pods).To(HaveLen(3))
	}).WithTimeout(2 * later).Should(Succeed())
	w.twinGone("provider-1")
	w.becomes("AllPermitted")
	available, _ := h.seen()
	for _, n := range available {
		w.Expect(n).To(BeNumerically(">=", 2), "available over time: %v", available)
	}
}
