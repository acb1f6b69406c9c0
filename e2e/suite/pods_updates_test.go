package suite

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// O3, with the rights and behind the fence of a real peering.
func TestAPodFarAwayFollowsItsHomePod(t *testing.T) {
	w := newWorld(t, "followers")
	w.remote()
	w.create(build.Pod("web").Namespace(w.ns).Label("app", "web").Label("old", "x").Obj())
	home := &w.running(1)[0]
	was, err := w.awayPod(home)
	w.Expect(err).NotTo(HaveOccurred())

	before := client.MergeFrom(home.DeepCopy())
	home.Labels["app"], home.Annotations = "till", map[string]string{"note": "n"}
	delete(home.Labels, "old")
	home.Spec.Containers[0].Image = "registry.example/next:2"
	home.Spec.ActiveDeadlineSeconds = ptr.To[int64](3600)
	home.Spec.Tolerations = append(home.Spec.Tolerations,
		corev1.Toleration{Key: "gpu", Operator: corev1.TolerationOpExists})
	w.Expect(w.home.Patch(w.ctx, home, before)).To(Succeed())
	debug := client.MergeFrom(home.DeepCopy())
	home.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{
			Name: "debug", Image: build.Image, ImagePullPolicy: corev1.PullIfNotPresent,
			TerminationMessagePolicy: corev1.TerminationMessageReadFile,
		},
	}}
	w.Expect(w.home.SubResource("ephemeralcontainers").Patch(w.ctx, home, debug)).To(Succeed())

	w.Eventually(func(g Gomega) {
		now, err := w.awayPod(home)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(now.UID).To(Equal(was.UID), "it is the same pod")
		g.Expect(now.Labels).To(HaveKeyWithValue("app", "till"))
		g.Expect(now.Labels).NotTo(HaveKey("old"))
		g.Expect(now.Annotations).To(HaveKeyWithValue("note", "n"))
		g.Expect(now.Spec.Containers[0].Image).To(Equal("registry.example/next:2"))
		g.Expect(now.Spec.ActiveDeadlineSeconds).To(HaveValue(BeEquivalentTo(3600)))
		g.Expect(now.Spec.Tolerations).To(ContainElement(HaveField("Key", "gpu")))
		g.Expect(now.Spec.EphemeralContainers).To(ConsistOf(HaveField("Name", "debug")))
	}).Should(Succeed())
	w.Eventually(func(g Gomega) {
		g.Expect(w.get(w.home, w.ns, "web", home)).To(Succeed())
		g.Expect(home.Status.ObservedGeneration).To(Equal(home.Generation))
	}).Should(Succeed())

	// What somebody changes over there is put back, and what somebody adds stays.
	remote, err := w.awayPod(home)
	w.Expect(err).NotTo(HaveOccurred())
	drift := client.MergeFrom(remote.DeepCopy())
	remote.Labels["app"], remote.Labels["theirs"] = "hijacked", "y"
	w.Expect(away(home.Spec.NodeName).Patch(w.ctx, remote, drift)).To(Succeed())
	w.Eventually(func(g Gomega) {
		now, err := w.awayPod(home)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(now.Labels).To(And(HaveKeyWithValue("app", "till"), HaveKeyWithValue("theirs", "y")))
	}).Should(Succeed())
}

// O13, and with the policy that lets an agent change one label only.
func TestPodsOfAnUnreachableProviderAreLabelled(t *testing.T) {
	w := newWorld(t, "islands")
	cut, err := env.ParseMode("cut")
	w.Expect(err).NotTo(HaveOccurred())
	heal, err := env.ParseMode("heal")
	w.Expect(err).NotTo(HaveOccurred())
	w.remoteOn("provider-1")
	w.create(build.Pod("web").Namespace(w.ns).Obj())
	w.running(1)
	unavailable := client.MatchingLabels{v1beta1.LabelRemoteUnavailable: "true"}
	labelled := func() ([]corev1.Pod, error) {
		var pods corev1.PodList
		err := w.home.List(w.ctx, &pods, client.InNamespace(w.ns), unavailable)
		return pods.Items, err
	}

	w.Expect(playground.SetLink(w.ctx, "provider-1", cut)).To(Succeed())
	t.Cleanup(func() {
		if err := playground.SetLink(context.Background(), "provider-1", heal); err != nil {
			t.Error(err)
		}
	})
	w.Eventually(labelled).WithTimeout(outage).Should(HaveLen(1))
	w.Expect(playground.SetLink(w.ctx, "provider-1", heal)).To(Succeed())
	w.Eventually(labelled).WithTimeout(outage).Should(BeEmpty())
	w.Eventually(func() (string, error) { return w.ready("provider-1") }).WithTimeout(outage).
		Should(HavePrefix("True/"))
}
