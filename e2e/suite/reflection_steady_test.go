package suite

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// trail is what our components write, on all clusters, in a namespace and its twins.
type trail struct {
	w      *world
	audits map[string]*env.Audit
}

// trail begins now.
func (w *world) trail() *trail {
	w.t.Helper()
	t := &trail{w, map[string]*env.Audit{}}
	for _, c := range playground.Clusters() {
		audit, err := c.Audit()
		w.Expect(err).NotTo(HaveOccurred())
		t.audits[c.Name] = audit
	}
	return t
}

// next returns what was written since the last call, such as "provider-1 patch configmaps/settings".
func (t *trail) next() ([]string, error) {
	var writes []string
	for cluster, audit := range t.audits {
		events, err := audit.Events()
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			ref := e.ObjectRef
			if ref == nil || ref.Namespace != t.w.ns && ref.Namespace != t.w.twin() {
				continue
			}
			if e.Stage == auditv1.StageResponseComplete && env.IsWrite(e) && ours(e.User.Username) {
				writes = append(writes, fmt.Sprintf("%s %s %s/%s", cluster, e.Verb, ref.Resource, ref.Name))
			}
		}
	}
	slices.Sort(writes)
	return writes, nil
}

// abroad is next without home, whose own account of an offloading comes when it comes.
func (t *trail) abroad() ([]string, error) {
	writes, err := t.next()
	return slices.DeleteFunc(writes, func(write string) bool { return strings.HasPrefix(write, env.Consumer) }), err
}

// rests waits until nothing is written for a while.
func (t *trail) rests() {
	t.w.t.Helper()
	t.w.Eventually(t.next).WithPolling(steady).Should(BeEmpty())
}

// R3 and I10: what is in step costs nothing, whatever is done that changes nothing.
func TestASteadySystemWritesNothing(t *testing.T) {
	w := newWorld(t, "steady")
	w.remote()
	const many = 30
	for i := range many {
		w.create(configMap(w.ns, fmt.Sprintf("settings-%d", i), "one"))
	}
	w.create(configMap(w.ns, "signal", "0"), secret(w.ns, "password", "one"), build.Service(w.ns, "web"))
	w.create(build.Deployment("web").Namespace(w.ns).Replicas(4).PodSpec(func(s *corev1.PodSpec) {
		s.Containers[0].EnvFrom = []corev1.EnvFromSource{{
			SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "password"}},
		}}
	}).Obj())
	pods := w.running(4)
	for _, p := range providers() {
		w.Eventually(func() (map[string]int, error) { return w.endpoints(away(p), w.twin(), "web") }).
			Should(Equal(once(pods)))
		w.Eventually(func() error { return w.get(away(p), w.twin(), "password", &corev1.Secret{}) }).Should(Succeed())
		w.Eventually(func() error {
			return w.get(away(p), w.twin(), fmt.Sprintf("settings-%d", many-1), &corev1.ConfigMap{})
		}).Should(Succeed())
	}
	trail := w.trail()
	trail.rests()

	// signal changes one object, waits until it is everywhere, and returns all that was written meanwhile.
	signals := 0
	signal := func() []string {
		signals++
		value := fmt.Sprint(signals)
		w.Expect(w.home.Update(w.ctx, configMap(w.ns, "signal", value))).To(Succeed())
		for _, p := range providers() {
			w.Eventually(func() (string, error) {
				var m corev1.ConfigMap
				err := w.get(away(p), w.twin(), "signal", &m)
				return m.Data["key"], err
			}).Should(Equal(value))
		}
		writes, err := trail.next()
		w.Expect(err).NotTo(HaveOccurred())
		return writes
	}
	once := []string{"provider-1 patch configmaps/signal", "provider-2 patch configmaps/signal"}
	w.Expect(signal()).To(Equal(once), "one write for each change on each provider")

	// What kubectl apply notes is not reflected.
	note := client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"kubectl.kubernetes.io/last-applied-configuration":"{}"}}}`))
	for _, obj := range []client.Object{
		configMap(w.ns, "settings-0", ""), secret(w.ns, "password", ""), build.Service(w.ns, "web"),
	} {
		w.Expect(w.home.Patch(w.ctx, obj, note)).To(Succeed())
	}
	w.Expect(signal()).To(Equal(once), "changes at home that are not reflected")

	for _, p := range providers() {
		w.Expect(playground.Kill(w.ctx, env.Consumer, env.AgentOf(p))).To(Succeed())
		w.Expect(revive(w.ctx, p)).To(Succeed())
		w.Eventually(func() (float64, error) { return w.looks(p, "configmaps") }).Should(BeNumerically(">", many))
	}
	w.Expect(signal()).To(Equal(once), "a restart of the agents")

	w.Consistently(trail.next, idle).WithPolling(steady).Should(BeEmpty())
	w.Expect(signal()).To(Equal(once), "it was awake all the while")
}

// looks returns how often a provider's agent has looked at objects of a kind since it was started.
func (w *world) looks(provider, resource string) (float64, error) {
	text, err := playground.Consumer().Metrics(w.ctx, env.AgentOf(provider))
	if err != nil {
		return 0, err
	}
	passes, err := parse(text, "liqo_reflection_passes_total")
	return passes.sum(`resource="`+resource+`"`) - passes.sum(`resource="`+resource+`"`, `outcome="error"`), err
}

// R10.
func TestTwoVirtualNodesOfOneProviderWriteEachObjectOnce(t *testing.T) {
	second := newWorld(t, "twice-node").virtualNode("vn-twice", "provider-1")
	w := newWorld(t, "twice")
	w.offload("--pod-offloading-strategy", "Remote", "--selector", "liqo.io/remote-cluster-id=provider-1")
	trail := w.trail()
	w.create(configMap(w.ns, "settings", "one"), secret(w.ns, "password", "one"), build.Service(w.ns, "web"))
	for _, node := range []string{"provider-1", second.Name} {
		w.create(build.Pod("on-"+node).Namespace(w.ns).Label("app", "web").Spec(func(s *corev1.PodSpec) {
			named("In", node)(s)
			s.Containers[0].EnvFrom = []corev1.EnvFromSource{{
				SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "password"}},
			}}
		}).Obj())
	}
	w.Expect(nodesOf(w.running(2))).To(ConsistOf("provider-1", second.Name))
	copied := func(value string) func(g Gomega) {
		return func(g Gomega) {
			var s corev1.Secret
			var m corev1.ConfigMap
			g.Expect(w.get(away("provider-1"), w.twin(), "password", &s)).To(Succeed())
			g.Expect(w.get(away("provider-1"), w.twin(), "settings", &m)).To(Succeed())
			g.Expect(w.get(away("provider-1"), w.twin(), "web", &corev1.Service{})).To(Succeed())
			g.Expect([]string{string(s.Data["key"]), m.Data["key"]}).To(Equal([]string{value, value}))
		}
	}
	// about are the writes that are neither about the pods nor about what comes with every twin.
	about := func() []string {
		writes, err := trail.next()
		w.Expect(err).NotTo(HaveOccurred())
		return slices.DeleteFunc(writes, func(write string) bool {
			return !strings.HasSuffix(write, "/password") && !strings.HasSuffix(write, "/settings") &&
				!strings.HasSuffix(write, "/web")
		})
	}
	w.Eventually(copied("one")).Should(Succeed())
	w.Consistently(copied("one")).Should(Succeed())
	w.Expect(about()).To(Equal([]string{
		"provider-1 create configmaps/settings", "provider-1 create secrets/password", "provider-1 create services/web",
	}))

	w.Expect(w.home.Update(w.ctx, configMap(w.ns, "settings", "two"))).To(Succeed())
	w.Expect(w.home.Update(w.ctx, secret(w.ns, "password", "two"))).To(Succeed())
	w.Eventually(copied("two")).Should(Succeed())
	w.Consistently(copied("two")).Should(Succeed())
	w.Expect(about()).To(Equal([]string{"provider-1 patch configmaps/settings", "provider-1 patch secrets/password"}))
}
