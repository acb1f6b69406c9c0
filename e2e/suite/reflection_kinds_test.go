package suite

import (
	"context"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// annotate sets an annotation of an object at home, or removes it if the value is nil.
func (w *world) annotate(obj client.Object, key string, value *string) {
	w.t.Helper()
	text := "null"
	if value != nil {
		text = `"` + *value + `"`
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+key+`":`+text+`}}}`))
	w.Expect(w.home.Patch(w.ctx, obj, patch)).To(Succeed())
}

// isCopied waits until the object has copies on all providers; gone until it has none.
func (w *world) isCopied(obj client.Object, name string, why string) {
	w.t.Helper()
	for _, p := range providers() {
		w.Eventually(func() error { return w.get(away(p), w.twin(), name, obj.DeepCopyObject().(client.Object)) }).
			Should(Succeed(), "%s on %s", why, p)
	}
}

func (w *world) isNotCopied(obj client.Object, name string, why string) {
	w.t.Helper()
	for _, p := range providers() {
		w.Eventually(func() error { return w.get(away(p), w.twin(), name, obj.DeepCopyObject().(client.Object)) }).
			Should(MatchError(notFound, "not found"), "%s on %s", why, p)
	}
}

// R2: annotations win over the policy, skip over allow, and a slice follows its Service unless it says otherwise.
func TestAnnotationsDecideWhatIsReflected(t *testing.T) {
	w := newWorld(t, "annotated")
	w.remote()
	settings, unused := configMap(w.ns, "settings", "one"), secret(w.ns, "unused", "one")
	service := build.Service(w.ns, "elsewhere")
	service.Spec.Selector = nil
	slice := build.EndpointSlice(w.ns, "elsewhere-1", service.Name, "consumer-node-1", "10.250.0.1")
	lone := build.EndpointSlice(w.ns, "elsewhere-2", service.Name, "consumer-node-1", "10.250.0.2")
	w.create(settings, unused, service, slice, lone)
	sliceName, loneName := slice.Name+"."+env.Consumer, lone.Name+"."+env.Consumer
	w.isCopied(settings, settings.Name, "a ConfigMap")
	w.isCopied(slice, sliceName, "a slice")
	w.isCopied(lone, loneName, "a slice")
	w.isNotCopied(unused, unused.Name, "a Secret that nobody refers to")

	yes, no := ptr.To("true"), ptr.To("false")
	w.annotate(settings, v1beta1.AnnotationSkipReflection, yes)
	w.isNotCopied(settings, settings.Name, "skipped")
	w.annotate(settings, v1beta1.AnnotationAllowReflection, yes)
	w.annotate(unused, v1beta1.AnnotationAllowReflection, yes)
	w.isCopied(unused, unused.Name, "a Secret that is allowed")
	w.isNotCopied(settings, settings.Name, "skipped and allowed")
	w.annotate(settings, v1beta1.AnnotationSkipReflection, no)
	w.isCopied(settings, settings.Name, `skip is "false"`)
	w.annotate(unused, v1beta1.AnnotationAllowReflection, nil)
	w.isNotCopied(unused, unused.Name, "a Secret that is not allowed any more")

	w.annotate(lone, v1beta1.AnnotationAllowReflection, yes)
	w.annotate(service, v1beta1.AnnotationSkipReflection, yes)
	w.isNotCopied(service, service.Name, "a Service that is skipped")
	w.isNotCopied(slice, sliceName, "a slice follows its Service")
	w.isCopied(lone, loneName, "a slice that says otherwise")
	w.annotate(service, v1beta1.AnnotationSkipReflection, nil)
	w.isCopied(slice, sliceName, "a slice follows its Service")
}

// R6: addresses and ports of a Service are the provider's own, unless node ports are forced.
func TestAServiceGetsItsAddressesFromEachCluster(t *testing.T) {
	w := newWorld(t, "addresses")
	w.remoteOn("provider-1")
	there := away("provider-1")
	exposed := func(ns, name string, port int32) *corev1.Service {
		s := build.Service(ns, name)
		s.Spec.Type, s.Spec.Ports[0].NodePort = corev1.ServiceTypeNodePort, port
		return s
	}
	// The provider has given this port to somebody else.
	taken := exposed(metav1.NamespaceDefault, "taken", 30901)
	w.Expect(there.Create(w.ctx, taken)).To(Succeed())
	t.Cleanup(func() { _ = there.Delete(context.Background(), taken) })
	headless, forced := build.Service(w.ns, "headless"), exposed(w.ns, "forced", 30902)
	headless.Spec.ClusterIP = corev1.ClusterIPNone
	forced.Annotations = map[string]string{v1beta1.AnnotationForceNodePort: "true"}
	plain, open := build.Service(w.ns, "plain"), exposed(w.ns, "open", 30901)
	w.create(plain, headless, open, forced)

	copied := func(name string) *corev1.Service {
		var s corev1.Service
		w.Eventually(func() error { return w.get(there, w.twin(), name, &s) }).Should(Succeed())
		return &s
	}
	w.Expect(copied("plain").Spec.ClusterIP).NotTo(Or(BeEmpty(), Equal(plain.Spec.ClusterIP)))
	w.Expect(copied("headless").Spec.ClusterIP).To(Equal(corev1.ClusterIPNone))
	w.Expect(copied("open").Spec.Ports[0].NodePort).NotTo(Or(BeZero(), BeEquivalentTo(30901)))
	w.Expect(copied("forced").Spec.Ports[0].NodePort).To(BeEquivalentTo(30902))
}

// R8.
func TestBothCertificateAuthoritiesAreInATwin(t *testing.T) {
	const name = "kube-root-ca.crt"
	w := newWorld(t, "authorities")
	w.remoteOn("provider-1")
	authority := func(c client.Client, namespace, name string) func() (string, error) {
		return func() (string, error) {
			var m corev1.ConfigMap
			err := w.get(c, namespace, name, &m)
			return m.Data["ca.crt"], err
		}
	}
	w.Eventually(authority(w.home, w.ns, name)).ShouldNot(BeEmpty())
	home, err := authority(w.home, w.ns, name)()
	w.Expect(err).NotTo(HaveOccurred())
	w.Eventually(authority(away("provider-1"), w.twin(), name+"."+env.Consumer)).Should(Equal(home))
	w.Eventually(authority(away("provider-1"), w.twin(), name)).Should(And(Not(BeEmpty()), Not(Equal(home))))
}

// R9.
func TestWhatIsAtTheLimitsIsReflected(t *testing.T) {
	w := newWorld(t, "limits")
	w.remoteOn("provider-1")
	there := away("provider-1")
	long := configMap(w.ns, strings.Repeat("a", 253), "value")
	prefix := strings.Repeat("p", 63) + "." + strings.Repeat("q", 63)
	long.Labels = map[string]string{prefix + "/" + strings.Repeat("n", 63): strings.Repeat("v", 63)}
	large := configMap(w.ns, "large", "")
	large.Data["key"] = strings.Repeat("x", 1<<20-len("key"))
	frozen := configMap(w.ns, "frozen", "one")
	frozen.Immutable = ptr.To(true)
	w.create(long, large, frozen)

	var m corev1.ConfigMap
	w.Eventually(func() error { return w.get(there, w.twin(), long.Name, &m) }).Should(Succeed())
	for key, value := range long.Labels {
		w.Expect(m.Labels).To(HaveKeyWithValue(key, value))
	}
	w.Eventually(func() error { return w.get(there, w.twin(), large.Name, &m) }).Should(Succeed())
	w.Expect(m.Data["key"] == large.Data["key"]).To(BeTrue(), "a megabyte has arrived")

	value := func() (string, error) {
		var m corev1.ConfigMap
		err := w.get(there, w.twin(), frozen.Name, &m)
		if err == nil {
			w.Expect(m.Immutable).To(HaveValue(BeTrue()))
		}
		return m.Data["key"], err
	}
	w.Eventually(value).Should(Equal("one"))
	w.Expect(w.home.Delete(w.ctx, frozen)).To(Succeed())
	another := configMap(w.ns, "frozen", "two")
	another.Immutable = ptr.To(true)
	w.create(another)
	w.Eventually(value).Should(Equal("two"), "what cannot be changed is replaced")
}

// R13: what was reflected goes where a namespace is not offloaded any more, stays at home, and comes back with it.
func TestReflectionEndsWithTheOffloading(t *testing.T) {
	w := newWorld(t, "endings")
	w.remote()
	settings := configMap(w.ns, "settings", "one")
	w.create(settings, build.Service(w.ns, "web"))
	w.isCopied(settings, settings.Name, "a ConfigMap")
	value := func(provider string) func() (string, error) {
		return func() (string, error) {
			var m corev1.ConfigMap
			err := w.get(away(provider), w.twin(), settings.Name, &m)
			return m.Data["key"], err
		}
	}

	w.edit(func(s *v1beta1.NamespaceOffloadingSpec) {
		s.ClusterSelector = build.Selector("liqo.io/provider", "provider-1")
	})
	w.twinGone("provider-2")
	trail := w.trail()
	w.Expect(w.home.Update(w.ctx, configMap(w.ns, "settings", "two"))).To(Succeed())
	w.Eventually(value("provider-1")).Should(Equal("two"))
	w.Expect(trail.abroad()).To(Equal([]string{"provider-1 patch configmaps/settings"}), "provider-2 has lost it")

	out, code := w.liqoctl("unoffload", "namespace", w.ns)
	w.Expect(code).To(Equal(0), out)
	w.twinGone("provider-1")
	_, err := trail.next()
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(w.home.Update(w.ctx, configMap(w.ns, "settings", "three"))).To(Succeed())
	w.Expect(w.get(w.home, w.ns, "web", &corev1.Service{})).To(Succeed(), "home keeps what is its own")

	w.remoteOn("provider-2")
	w.Eventually(value("provider-2")).Should(Equal("three"))
	writes, err := trail.next()
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(writes).NotTo(ContainElement(HavePrefix("provider-1 ")), "nobody writes there any more")
	w.Eventually(func(g Gomega) {
		var slices discoveryv1.EndpointSliceList
		g.Expect(w.home.List(w.ctx, &slices, client.InNamespace(w.ns))).To(Succeed())
		for _, slice := range slices.Items {
			g.Expect(slice.Labels).NotTo(HaveKey(v1beta1.LabelOrigin), "no copy comes home")
		}
	}).Should(Succeed())
}
