package suite

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func configMap(ns, name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string]string{"key": value},
	}
}

func secret(ns, name, value string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Data: map[string][]byte{"key": []byte(value)},
	}
}

// R1 for ConfigMaps, Secrets, Services and EndpointSlices: create, update, delete.
func TestWhatPodsNeedFollowsThem(t *testing.T) {
	w := newWorld(t, "baggage")
	w.remote()
	w.create(configMap(w.ns, "settings", "one"), secret(w.ns, "password", "one"), secret(w.ns, "unused", "one"),
		build.Service(w.ns, "web"))
	w.create(build.Pod("web").Namespace(w.ns).Label("app", "web").Spec(func(s *corev1.PodSpec) {
		s.Containers[0].EnvFrom = []corev1.EnvFromSource{{
			SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "password"}},
		}}
	}).Obj())
	pod := w.running(1)[0]
	there, elsewhere := away(pod.Spec.NodeName), away("provider-1")
	if pod.Spec.NodeName == "provider-1" {
		elsewhere = away("provider-2")
	}

	value := func(c client.Client) func() (string, error) {
		return func() (string, error) {
			var s corev1.Secret
			err := w.get(c, w.twin(), "password", &s)
			return string(s.Data["key"]), err
		}
	}
	setting := func(c client.Client) func() (string, error) {
		return func() (string, error) {
			var m corev1.ConfigMap
			err := w.get(c, w.twin(), "settings", &m)
			return m.Data["key"], err
		}
	}
	w.Eventually(value(there)).Should(Equal("one"))
	w.Eventually(setting(there)).Should(Equal("one"))
	w.Eventually(setting(elsewhere)).Should(Equal("one"))
	w.Consistently(func() error { return w.get(elsewhere, w.twin(), "password", &corev1.Secret{}) }).
		Should(MatchError(notFound, "not found"), "no pod refers to it there")
	w.Expect(w.get(there, w.twin(), "unused", &corev1.Secret{})).To(MatchError(notFound, "not found"))
	w.Eventually(func() (map[string]int, error) { return w.endpoints(elsewhere, w.twin(), "web") }).
		Should(Equal(map[string]int{pod.Status.PodIP: 1}))

	w.Expect(w.home.Update(w.ctx, configMap(w.ns, "settings", "two"))).To(Succeed())
	w.Expect(w.home.Update(w.ctx, secret(w.ns, "password", "two"))).To(Succeed())
	service := &corev1.Service{}
	w.Expect(w.get(w.home, w.ns, "web", service)).To(Succeed())
	service.Spec.Ports[0].Port = 81
	w.Expect(w.home.Update(w.ctx, service)).To(Succeed())
	w.Eventually(value(there)).Should(Equal("two"))
	w.Eventually(setting(elsewhere)).Should(Equal("two"))
	w.Eventually(func(g Gomega) {
		var copied corev1.Service
		g.Expect(w.get(elsewhere, w.twin(), "web", &copied)).To(Succeed())
		g.Expect(copied.Spec.Ports[0].Port).To(Equal(int32(81)))
		g.Expect(copied.Spec.ClusterIP).NotTo(Equal(service.Spec.ClusterIP))
	}).Should(Succeed())

	w.deleted(configMap(w.ns, "settings", ""))
	w.deleted(service)
	w.deleted(&pod)
	for _, c := range []client.Client{there, elsewhere} {
		w.Eventually(func() error { return w.get(c, w.twin(), "settings", &corev1.ConfigMap{}) }).
			Should(MatchError(notFound, "not found"))
		w.Eventually(func() error { return w.get(c, w.twin(), "web", &corev1.Service{}) }).
			Should(MatchError(notFound, "not found"))
		w.Eventually(func(g Gomega) {
			var slices discoveryv1.EndpointSliceList
			g.Expect(c.List(w.ctx, &slices, client.InNamespace(w.twin()))).To(Succeed())
			g.Expect(slices.Items).To(BeEmpty())
		}).Should(Succeed())
		w.Eventually(func() error { return w.get(c, w.twin(), "password", &corev1.Secret{}) }).
			Should(MatchError(notFound, "not found"), "it leaves with the last pod that refers to it")
	}
}

// R4.
func TestAForeignObjectOfTheSameNameIsNeverTouched(t *testing.T) {
	w := newWorld(t, "squatter")
	w.remote()
	foreign := configMap(w.twin(), "settings", "theirs")
	w.Expect(away("provider-1").Create(w.ctx, foreign)).To(Succeed())
	ours := configMap(w.ns, "settings", "ours")
	w.create(ours)

	w.Eventually(func(g Gomega) {
		var m corev1.ConfigMap
		g.Expect(w.get(away("provider-2"), w.twin(), "settings", &m)).To(Succeed())
		g.Expect(m.Data).To(HaveKeyWithValue("key", "ours"))
	}).Should(Succeed())
	w.Eventually(func(g Gomega) {
		var events eventsv1.EventList
		g.Expect(w.home.List(w.ctx, &events, client.InNamespace(w.ns))).To(Succeed())
		g.Expect(events.Items).To(ContainElement(And(
			HaveField("Reason", "FailedReflection"), HaveField("Regarding.Name", "settings"),
		)))
	}).Should(Succeed())
	ours.Data["key"] = "ours, edited"
	w.Expect(w.home.Update(w.ctx, ours)).To(Succeed())
	unchanged := func() string {
		var now corev1.ConfigMap
		w.Expect(w.get(away("provider-1"), w.twin(), "settings", &now)).To(Succeed())
		return now.ResourceVersion
	}
	w.Consistently(unchanged).Should(Equal(foreign.ResourceVersion))
	w.deleted(ours)
	w.Consistently(unchanged).Should(Equal(foreign.ResourceVersion))
}

// R5, and with it that an object is ours by its marks.
func TestACopyThatIsEditedOrDeletedByHandIsRepaired(t *testing.T) {
	w := newWorld(t, "repair")
	w.remote()
	w.create(configMap(w.ns, "settings", "right"))
	var copied corev1.ConfigMap
	get := func() (map[string]string, error) {
		copied = corev1.ConfigMap{}
		err := w.get(away("provider-1"), w.twin(), "settings", &copied)
		return copied.Data, err
	}
	right := map[string]string{"key": "right"}
	w.Eventually(get).Should(Equal(right))
	w.Expect(copied.Labels).To(HaveKeyWithValue(v1beta1.LabelOrigin, "consumer"))

	copied.Data["key"] = "wrong"
	w.Expect(away("provider-1").Update(w.ctx, &copied)).To(Succeed())
	w.Eventually(get).Should(Equal(right))
	w.Expect(away("provider-1").Delete(w.ctx, &copied)).To(Succeed())
	w.Eventually(get).Should(Equal(right))
}
