package suite

import (
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// shop is the application of the README: a Deployment and its Service.
func (w *world) shop(replicas int32) {
	w.t.Helper()
	w.create(build.Deployment("web").Namespace(w.ns).Replicas(replicas).Obj(), build.Service(w.ns, "web"))
}

func (w *world) scale(replicas int32) {
	w.t.Helper()
	web := &appsv1.Deployment{}
	w.Expect(w.get(w.home, w.ns, "web", web)).To(Succeed())
	patch := client.MergeFrom(web.DeepCopy())
	web.Spec.Replicas = ptr.To(replicas)
	w.Expect(w.home.Patch(w.ctx, web, patch)).To(Succeed())
}

func TestAnApplicationRunsAcrossTheProvidersOfARemoteNamespace(t *testing.T) {
	w := newWorld(t, "shop")
	w.offload("--pod-offloading-strategy", "Remote")
	w.shop(6)

	pods := w.running(6)
	w.Expect(nodesOf(pods)).To(ConsistOf(providers()), "spread over both virtual nodes and nothing else")
	for _, pod := range w.twinPods(6) {
		w.Expect(pod.Labels).To(HaveKeyWithValue(v1beta1.LabelOrigin, "consumer"))
		w.Expect(pod.Annotations).To(HaveKey(v1beta1.AnnotationHomeUID))
	}
	for _, p := range providers() {
		w.Eventually(func() (map[string]int, error) { return w.endpoints(away(p), w.twin(), "web") }).
			Should(Equal(once(pods)), "every pod behind the Service on %s, each once", p)
	}
	w.Eventually(func() (map[string]int, error) { return w.endpoints(w.home, w.ns, "web") }).Should(Equal(once(pods)))

	w.Eventually(func() (string, error) { return w.logs(pods[0].Name) }).ShouldNot(BeEmpty())

	w.scale(2)
	w.Expect(w.running(2)).To(HaveLen(2))
	w.twinPods(2)
	w.scale(6)
	pods = w.running(6)
	w.twinPods(6)
	for _, p := range providers() {
		w.Eventually(func() (map[string]int, error) { return w.endpoints(away(p), w.twin(), "web") }).
			Should(Equal(once(pods)))
	}

	w.deleted(build.Namespace("shop").Obj())
	for _, p := range providers() {
		w.twinGone(p)
		w.Eventually(func() map[string]string { return w.desired(p) }).ShouldNot(HaveKey("shop"))
	}
}

// desired returns what is asked of a provider's agent.
func (w *world) desired(provider string) map[string]string {
	w.t.Helper()
	var m v1beta1.NamespaceMap
	w.Expect(w.get(w.home, v1beta1.TenantNamespace(provider), provider, &m)).To(Succeed())
	return m.Spec.DesiredMapping
}

func TestUnoffloadingBringsAnApplicationHome(t *testing.T) {
	w := newWorld(t, "homecoming")
	w.offload("--pod-offloading-strategy", "Remote")
	w.shop(4)
	w.running(4)

	out, code := w.liqoctl("unoffload", "namespace", w.ns)
	w.Expect(code).To(Equal(0), out)
	for _, p := range providers() {
		w.twinGone(p)
	}
	w.Eventually(func(g Gomega) {
		pods, err := w.pods(w.home, w.ns)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(pods).To(HaveLen(4))
		for _, pod := range pods {
			g.Expect(pod.Status.Phase).To(Equal(corev1.PodRunning))
			g.Expect(providers()).NotTo(ContainElement(pod.Spec.NodeName), "its controller replaced it at home")
		}
	}).Should(Succeed())
}

func TestStrategyLocalKeepsPodsAtHomeExceptThoseOfRuntimeClassLiqo(t *testing.T) {
	w := newWorld(t, "homebody")
	w.offload("--pod-offloading-strategy", "Local")
	w.create(
		build.Deployment("stays").Namespace(w.ns).Replicas(3).Obj(),
		build.Deployment("goes").Namespace(w.ns).Replicas(3).PodSpec(func(s *corev1.PodSpec) {
			s.RuntimeClassName = ptr.To(v1beta1.RuntimeClass)
		}).Obj(),
	)
	for _, pod := range w.running(6) {
		if pod.Labels["app"] == "goes" {
			w.Expect(providers()).To(ContainElement(pod.Spec.NodeName), pod.Name)
		} else {
			w.Expect(providers()).NotTo(ContainElement(pod.Spec.NodeName), pod.Name)
		}
	}
	w.twinPods(3)
}
