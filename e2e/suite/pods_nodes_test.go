package suite

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// O13: a Node that somebody deletes by hand stays until its pods have left it, so that Kubernetes starts no second copy
// of a StatefulSet's pod; then it comes back.
func TestANodeThatIsDeletedByHandWaitsForItsPodsAndComesBack(t *testing.T) {
	w := newWorld(t, "by-hand")
	w.remoteOn("provider-2")
	c := w.chronicleOf("provider-2")
	w.create(statefulSet(w.ns, "db", 2))
	pods := w.running(2)

	var node corev1.Node
	w.Expect(w.get(w.home, "", "provider-2", &node)).To(Succeed())
	w.Expect(w.home.Delete(w.ctx, &node)).To(Succeed())
	w.Eventually(func(g Gomega) {
		var now corev1.Node
		g.Expect(w.get(w.home, "", "provider-2", &now)).To(Succeed())
		g.Expect(now.UID).NotTo(Equal(node.UID))
	}, outage).Should(Succeed(), "it comes back")
	w.Eventually(func() (string, error) { return w.ready("provider-2") }, outage).Should(HavePrefix("True/"))
	w.replaced(pods)
	w.kept(c)
}

// O13: losing most nodes of one zone stops all eviction, so each provider is a zone of its own.
func TestEachProviderIsAZoneOfItsOwn(t *testing.T) {
	w := newWorld(t, "zones")
	w.Eventually(func(g Gomega) {
		var nodes corev1.NodeList
		virtual := client.MatchingLabels{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual}
		g.Expect(w.home.List(w.ctx, &nodes, virtual)).To(Succeed())
		zones := map[string]string{}
		for _, node := range nodes.Items {
			zones[node.Labels[corev1.LabelTopologyZone]] = node.Labels[v1beta1.LabelRemoteClusterID]
		}
		g.Expect(zones).To(HaveLen(len(providers())))
		g.Expect(zones).NotTo(HaveKey(""))
	}).Should(Succeed())
}

// O13 and O3: status.observedGeneration is home's, and follows it when the remote pod has taken the change.
func TestObservedGenerationFollowsWhatTheRemotePodHasTaken(t *testing.T) {
	w := newWorld(t, "generations")
	w.remote()
	w.create(build.Pod("web").Namespace(w.ns).Obj())
	pod := w.running(1)[0]
	w.Expect(pod.Status.ObservedGeneration).To(Equal(pod.Generation))

	const image = "registry.example/app:2"
	patch := client.MergeFrom(pod.DeepCopy())
	pod.Spec.Containers[0].Image = image
	w.Expect(w.home.Patch(w.ctx, &pod, patch)).To(Succeed())
	w.Eventually(func(g Gomega) {
		var now corev1.Pod
		g.Expect(w.get(w.home, w.ns, "web", &now)).To(Succeed())
		g.Expect(now.Generation).To(Equal(pod.Generation))
		g.Expect(now.Status.ObservedGeneration).To(Equal(pod.Generation))
		remote, err := w.awayPod(&now)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(remote.Spec.Containers[0].Image).To(Equal(image))
	}).Should(Succeed())
}
