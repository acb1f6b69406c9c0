package suite

import (
	"context"
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// database is a StatefulSet whose pods have a volume of class liqo each.
func database(ns string, replicas int32) *appsv1.StatefulSet {
	template := build.Pod("db").Label("app", "db").Claim("data").Spec(func(s *corev1.PodSpec) {
		s.Volumes = nil // the StatefulSet adds its own
		s.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}}
	}).Obj()
	claim := build.Claim("data").Obj()
	claim.Namespace = ""
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "db"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To(replicas), Selector: &metav1.LabelSelector{MatchLabels: template.Labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: template.Labels}, Spec: template.Spec,
			},
			VolumeClaimTemplates: []corev1.PersistentVolumeClaim{*claim},
		},
	}
}

func (w *world) claim(c client.Client, ns, name string) (*corev1.PersistentVolumeClaim, error) {
	claim := &corev1.PersistentVolumeClaim{}
	return claim, w.get(c, ns, name, claim)
}

// stored waits until the claim of a pod is bound at home and, on the provider where the pod runs, in its twin; and
// returns it and its home volume.
func (w *world) stored(pod *corev1.Pod, name string) (*corev1.PersistentVolumeClaim, *corev1.PersistentVolume) {
	w.t.Helper()
	var claim *corev1.PersistentVolumeClaim
	volume := &corev1.PersistentVolume{}
	w.Eventually(func(g Gomega) {
		var err error
		claim, err = w.claim(w.home, w.ns, name)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(claim.Status.Phase).To(Equal(corev1.ClaimBound))
		g.Expect(w.get(w.home, "", claim.Spec.VolumeName, volume)).To(Succeed())
		copied, err := w.claim(away(pod.Spec.NodeName), w.twin(), name)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(copied.Status.Phase).To(Equal(corev1.ClaimBound))
		g.Expect(volume.Annotations).To(HaveKeyWithValue(v1beta1.AnnotationRemoteClaimUID, string(copied.UID)))
	}).Should(Succeed())
	terms := volume.Spec.NodeAffinity.Required.NodeSelectorTerms
	w.Expect(terms[0].MatchExpressions[0].Values).To(Equal([]string{pod.Spec.NodeName}))
	return claim, volume
}

// R12: claims of class liqo are bound where their pods run, pods follow their data, claims grow and go.
func TestVolumesAreMadeWherePodsRun(t *testing.T) {
	w := newWorld(t, "storage")
	w.remote()
	w.create(database(w.ns, 2))
	nodes := map[string]string{}
	for _, pod := range w.running(2) {
		w.stored(&pod, "data-"+pod.Name)
		nodes[pod.Name] = pod.Spec.NodeName
	}

	// A pod that is replaced goes where its data are.
	before, err := w.pods(w.home, w.ns)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(w.home.Delete(w.ctx, &before[0])).To(Succeed())
	w.Eventually(func(g Gomega) {
		for _, pod := range w.running(2) {
			g.Expect(pod.UID).NotTo(Equal(before[0].UID))
			g.Expect(pod.Spec.NodeName).To(Equal(nodes[pod.Name]), pod.Name)
		}
	}).Should(Succeed())

	// A claim that grows at home grows there, and home says how large it has become. The volumes of a playground are
	// directories, so the test plays the driver that expands them.
	node, name := nodes["db-0"], "data-db-0"
	claim, volume := w.stored(&corev1.Pod{Spec: corev1.PodSpec{NodeName: node}}, name)
	grown := claim.DeepCopy()
	grown.Spec.Resources.Requests[corev1.ResourceStorage] = resource.MustParse("3Gi")
	w.Expect(w.home.Patch(w.ctx, grown, client.MergeFrom(claim))).To(Succeed())
	w.Eventually(func(g Gomega) {
		copied, err := w.claim(away(node), w.twin(), name)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(copied.Spec.Resources.Requests.Storage().String()).To(Equal("3Gi"))
		copied.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("3Gi")}
		g.Expect(away(node).Status().Update(w.ctx, copied)).To(Succeed())
	}).Should(Succeed())
	w.Eventually(func(g Gomega) {
		claim, err := w.claim(w.home, w.ns, name)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(claim.Status.Capacity.Storage().String()).To(Equal("3Gi"))
		g.Expect(w.get(w.home, "", volume.Name, volume)).To(Succeed())
		g.Expect(volume.Spec.Capacity.Storage().String()).To(Equal("3Gi"))
	}).Should(Succeed())

	// Claims go with their data, since that is the class's reclaim policy.
	w.deleted(database(w.ns, 2))
	for pod, node := range nodes {
		claim, volume := w.stored(&corev1.Pod{Spec: corev1.PodSpec{NodeName: node}}, "data-"+pod)
		w.deleted(claim)
		w.Eventually(func() error { return w.get(w.home, "", volume.Name, volume) }).
			Should(MatchError(notFound, "not found"))
		_, err := w.claim(away(node), w.twin(), claim.Name)
		w.Expect(err).To(MatchError(notFound, "not found"))
	}
}

// A provider that cannot have the volume says so on the claim, and the pod goes to another.
func TestAPodGoesWhereItCanHaveItsVolume(t *testing.T) {
	w := newWorld(t, "elsewhere-stored")
	class := &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{Name: "only-here"}, Provisioner: "kubernetes.io/host-path",
		VolumeBindingMode: ptr.To(storagev1.VolumeBindingWaitForFirstConsumer),
	}
	w.Expect(away("provider-2").Create(w.ctx, class)).To(Succeed())
	t.Cleanup(func() { _ = away("provider-2").Delete(context.Background(), class) })
	w.remote()
	pod := build.Pod("db").Namespace(w.ns).Claim("data").Spec(func(s *corev1.PodSpec) {
		s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
				Weight: 100, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{"provider-1"},
				}}},
			}},
		}}
	}).Obj()
	w.create(build.Claim("data").Namespace(w.ns).
		Annotation(v1beta1.AnnotationRemoteStorageClass, class.Name).Obj(), pod)
	running := w.running(1)[0]
	w.Expect(running.Spec.NodeName).To(Equal("provider-2"))
	w.stored(&running, "data")
	w.Eventually(func() ([]string, error) { return w.told("VolumeRefused") }).Should(ContainElement(
		`no volume on virtual node provider-1: the provider has no storage class "only-here"`))
	w.Eventually(func(g Gomega) {
		claim, err := w.claim(w.home, w.ns, "data")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(claim.Status.Conditions).To(BeEmpty())
		g.Expect(claim.Annotations).NotTo(HaveKey(v1beta1.AnnotationVolumeRefused))
	}).Should(Succeed())
}

// A volume that is lost on a provider is told on the claim, and its pods begin anew.
func TestALostVolumeIsTold(t *testing.T) {
	w := newWorld(t, "lost-stored")
	w.remoteOn("provider-1")
	w.create(build.Claim("data").Namespace(w.ns).Obj(), build.Pod("db").Namespace(w.ns).Claim("data").Obj())
	pod := w.running(1)[0]
	claim, _ := w.stored(&pod, "data")
	w.deleted(&pod)
	copied, err := w.claim(away("provider-1"), w.twin(), "data")
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(away("provider-1").Delete(w.ctx, copied)).To(Succeed())
	w.Eventually(func(g Gomega) {
		g.Expect(w.get(w.home, w.ns, "data", claim)).To(Succeed())
		g.Expect(claim.Status.Conditions).To(HaveLen(1))
		g.Expect(claim.Status.Conditions[0].Type).To(Equal(v1beta1.ClaimVolumeLost))
	}).Should(Succeed())
	w.Eventually(func() ([]string, error) { return w.told("VolumeLost") }).
		Should(Equal([]string{claim.Status.Conditions[0].Message}))
	w.create(build.Pod("db").Namespace(w.ns).Claim("data").Obj())
	w.running(1)
}

// A claim of home keeps its pod at home, and everybody says so in the same words.
func TestAClaimOfHomeKeepsItsPod(t *testing.T) {
	w := newWorld(t, "homely")
	w.create(build.Offloading(w.ns).Strategy(v1beta1.LocalAndRemote).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
	w.create(build.Claim("data").Namespace(w.ns).Class(env.StorageClass).Obj(),
		build.Pod("db").Namespace(w.ns).Claim("data").Obj())
	pod := w.running(1)[0]
	w.Expect(providers()).NotTo(ContainElement(pod.Spec.NodeName))
	claim, err := w.claim(w.home, w.ns, "data")
	w.Expect(err).NotTo(HaveOccurred())

	sentence := fmt.Sprintf(`claim "data" is bound at home, to volume %s, and the pod stays with its data`,
		claim.Spec.VolumeName)
	second := build.Pod("second").Namespace(w.ns).Claim("data").RuntimeClass(v1beta1.RuntimeClass).Obj()
	w.create(second)
	w.Eventually(func() ([]string, error) { return w.scheduling(second) }).
		Should(ContainElement(ContainSubstring(sentence)))
	out, code := w.liqoctl("explain", "pod", "second", "-n", w.ns)
	w.Expect(code).To(Equal(0), out)
	w.Expect(out).To(ContainSubstring(sentence))
	w.create(build.Pod("behind").Namespace(w.ns).Claim("data").Node("provider-1").Tolerate(v1beta1.Toleration()).Obj())
	w.Eventually(func(g Gomega) {
		var pod corev1.Pod
		g.Expect(w.get(w.home, w.ns, "behind", &pod)).To(Succeed())
		g.Expect(pod.Status.Reason + " " + waitingFor(&pod)).To(ContainSubstring(sentence))
	}).Should(Succeed())
}
