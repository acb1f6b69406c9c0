package suite

import (
	"context"
	"encoding/json"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// hosted makes one more virtual node of provider-1, for this scenario alone, and a Deployment of two that runs there.
func hosted(t *testing.T, ns string) *world {
	t.Helper()
	w := newWorld(t, ns)
	out, code := w.liqoctl("create", "virtualnode", w.vnode(), "--remote-cluster-id", "provider-1", "--cpu", "8",
		"--label", "scenario="+ns)
	w.Expect(code).To(Equal(0), out)
	t.Cleanup(func() {
		vn := build.VirtualNode(w.vnode(), "provider-1")
		// The test's own context is done by now.
		if err := w.home.Delete(context.Background(), vn); client.IgnoreNotFound(err) != nil {
			t.Errorf("delete virtual node %s: %v", vn.Name, err)
		}
	})
	w.offload("--pod-offloading-strategy", "Remote", "--selector", "scenario="+ns)
	w.create(build.Deployment("web").Namespace(ns).Replicas(2).PodSpec(func(s *corev1.PodSpec) {
		s.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
	}).Obj())
	for _, pod := range w.running(2) {
		w.Expect(pod.Spec.NodeName).To(Equal(w.vnode()))
	}
	return w
}

// vnode is the scenario's own virtual node.
func (w *world) vnode() string { return "vn-" + w.ns }

// conditions returns what the scenario's VirtualNode says.
func (w *world) conditions() (string, error) {
	var vn v1beta1.VirtualNode
	err := w.get(w.home, v1beta1.TenantNamespace("provider-1"), w.vnode(), &vn)
	text, _ := json.Marshal(vn.Status.Conditions)
	return string(text), err
}

// O12, O13: a virtual node that is deleted is drained first, as budgets allow.
func TestAVirtualNodeIsDrainedBeforeItGoes(t *testing.T) {
	w := hosted(t, "drained")
	w.Eventually(func(g Gomega) {
		var node corev1.Node
		g.Expect(w.get(w.home, "", w.vnode(), &node)).To(Succeed())
		g.Expect(node.Labels).To(HaveKeyWithValue(corev1.LabelTopologyZone, "provider-1"))
		g.Expect(node.Status.Allocatable.Cpu().Value()).To(BeEquivalentTo(8))
		free := map[corev1.ResourceName]resource.Quantity{}
		g.Expect(json.Unmarshal([]byte(node.Annotations[v1beta1.AnnotationLargestFree]), &free)).To(Succeed())
		g.Expect(free).To(HaveKey(corev1.ResourceCPU))
		g.Expect(free).To(HaveKey(corev1.ResourceMemory))
	}).Should(Succeed())
	pdb := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(2)),
			Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}
	w.create(pdb)
	w.Eventually(func(g Gomega) {
		g.Expect(w.get(w.home, w.ns, "web", pdb)).To(Succeed())
		g.Expect(pdb.Status.CurrentHealthy).To(BeEquivalentTo(2))
	}).Should(Succeed())

	out, code := w.liqoctl("delete", "virtualnode", w.vnode(), "--timeout", "2s")
	w.Expect(code).To(Equal(1), out)
	w.Eventually(w.conditions).Should(ContainSubstring("held by a PodDisruptionBudget: drained/web-"))
	w.Consistently(func() ([]corev1.Pod, error) { return w.pods(w.home, w.ns) }).Should(HaveLen(2))
	w.twinPods(2)

	w.deleted(pdb)
	out, code = w.liqoctl("delete", "virtualnode", w.vnode())
	w.Expect(code).To(Equal(0), out)
	w.Expect(w.get(w.home, "", w.vnode(), &corev1.Node{})).To(MatchError(notFound, "not found"))
	w.twinGone("provider-1")
}

// O13: a Node that somebody deletes waits until its remote pods are gone, and comes back.
func TestANodeDeletedByHandWaitsForItsPodsAndComesBack(t *testing.T) {
	w := hosted(t, "byhand")
	var node corev1.Node
	w.Expect(w.get(w.home, "", w.vnode(), &node)).To(Succeed())
	home := w.running(2)[0]
	c := away("provider-1")
	var remote corev1.Pod
	w.Expect(w.get(c, w.twin(), home.Name, &remote)).To(Succeed())
	hold := client.MergeFrom(remote.DeepCopy())
	remote.Finalizers = []string{"example.com/hold"}
	w.Expect(c.Patch(w.ctx, &remote, hold)).To(Succeed())

	w.Expect(w.home.Delete(w.ctx, node.DeepCopy())).To(Succeed())
	w.Eventually(func(g Gomega) {
		g.Expect(w.get(w.home, w.ns, home.Name, &home)).To(Succeed())
		g.Expect(home.DeletionTimestamp).NotTo(BeNil(), "it is evicted")
	}).Should(Succeed())
	w.Consistently(func(g Gomega) {
		var now corev1.Node
		g.Expect(w.get(w.home, "", w.vnode(), &now)).To(Succeed())
		g.Expect(now.UID).To(Equal(node.UID))
		g.Expect(w.get(w.home, w.ns, home.Name, &home)).To(Succeed(), "a home pod leaves only after its remote pod")
	}).Should(Succeed())
	w.Eventually(w.conditions).Should(ContainSubstring("somebody deleted the Node"))

	w.Expect(w.get(c, w.twin(), home.Name, &remote)).To(Succeed())
	release := client.MergeFrom(remote.DeepCopy())
	remote.Finalizers = nil
	w.Expect(c.Patch(w.ctx, &remote, release)).To(Succeed())
	w.Eventually(func(g Gomega) {
		var now corev1.Node
		g.Expect(w.get(w.home, "", w.vnode(), &now)).To(Succeed())
		g.Expect(now.UID).NotTo(Equal(node.UID))
	}).Should(Succeed())
	w.running(2)
}

// The words of people: cordon, drain, uncordon.
func TestDrainingAVirtualNodeWithLiqoctl(t *testing.T) {
	w := hosted(t, "emptied")
	before := map[string]bool{}
	for _, pod := range w.running(2) {
		before[pod.Name] = true
	}
	out, code := w.liqoctl("drain", w.vnode())
	w.Expect(code).To(Equal(0), out)
	w.Expect(out).To(ContainSubstring("done: node " + w.vnode() + " is drained"))
	pods, err := w.pods(w.home, w.ns)
	w.Expect(err).NotTo(HaveOccurred())
	for _, pod := range pods {
		w.Expect(before).NotTo(HaveKey(pod.Name), "it was evicted")
		w.Expect(pod.Spec.NodeName).To(BeEmpty(), "there is no other node for it")
	}
	w.twinPods(0)
	out, code = w.liqoctl("uncordon", w.vnode())
	w.Expect(code).To(Equal(0), out)
	w.running(2)
}
