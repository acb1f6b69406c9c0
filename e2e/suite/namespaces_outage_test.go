package suite

import (
	"context"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/namespacemap"
)

// cut pulls a provider's cable until the returned function, or the end of the test, puts it back.
func (w *world) cut(provider string) (heal func()) {
	w.t.Helper()
	set := func(mode string) {
		parsed, err := env.ParseMode(mode)
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(playground.SetLink(w.ctx, provider, parsed)).To(Succeed())
	}
	healed := false
	heal = func() {
		if !healed {
			set("heal")
		}
		healed = true
	}
	set("cut")
	w.t.Cleanup(func() {
		if mode, err := env.ParseMode("heal"); err == nil && !healed {
			_ = playground.SetLink(context.Background(), provider, mode) // the test's own context is done by now
		}
	})
	return heal
}

// message returns what the NamespaceOffloading says of itself.
func (w *world) message() (string, error) {
	var off v1beta1.NamespaceOffloading
	if err := w.get(w.home, w.ns, v1beta1.OffloadingName, &off); err != nil {
		return "", err
	}
	if ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady); ready != nil {
		return ready.Message, nil
	}
	return "", nil
}

// N19, without force.
func TestAnUnreachableProviderIsWaitedForUntilItIsBack(t *testing.T) {
	w := newWorld(t, "outage")
	w.offload()
	heal := w.cut("provider-2")
	w.Expect(w.home.Delete(w.ctx, build.Offloading(w.ns).Obj())).To(Succeed())
	w.Eventually(w.message, outage).Should(And(ContainSubstring("provider-2"), ContainSubstring("cannot be reached")))
	w.Expect(w.phase()).To(Equal(v1beta1.PhaseTerminating))
	w.twinGone("provider-1")
	heal()
	w.Eventually(func() error { return w.get(w.home, w.ns, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{}) },
		outage).Should(MatchError(notFound, "not found"))
	w.twinGone("provider-2")
}

// N19, with force; and a namespace that is offloaded again before what was left behind is gone.
func TestForceCompletesAtOnceAndSaysWhatItLeavesBehind(t *testing.T) {
	w := newWorld(t, "forced")
	w.offload()
	var twin corev1.Namespace
	w.Expect(w.get(away("provider-2"), "", w.twin(), &twin)).To(Succeed())
	heal := w.cut("provider-2")

	out, code := w.liqoctl("unoffload", "namespace", w.ns, "--force")
	w.Expect(code).To(Equal(0), out)
	w.Expect(out).To(ContainSubstring("namespace " + w.twin() + " is left behind on cluster provider-2"))
	w.Expect(out).NotTo(ContainSubstring("left behind on cluster provider-1"))
	w.twinGone("provider-1")
	w.Eventually(func(g Gomega) {
		var events corev1.EventList
		g.Expect(w.home.List(w.ctx, &events, client.InNamespace(w.ns))).To(Succeed())
		var told []string
		for _, event := range events.Items {
			told = append(told, event.Reason+" "+event.Message)
		}
		g.Expect(told).To(ContainElement(And(HavePrefix("TwinLeftBehind"), ContainSubstring("cluster provider-2"))))
	}).Should(Succeed())

	// Offloaded again it takes the twin back, once it is there.
	w.create(build.Offloading(w.ns).Obj())
	w.Eventually(func() string { return condition(w.offloading(), "provider-1", v1beta1.ConditionReady) }).
		Should(Equal("True/NamespaceCreated"))
	heal()
	w.Eventually(w.phase, outage).Should(Equal(v1beta1.PhaseReady))

	heal = w.cut("provider-2")
	out, code = w.liqoctl("unoffload", "namespace", w.ns, "--force")
	w.Expect(code).To(Equal(0), out)
	heal()
	w.Eventually(func(g Gomega) { g.Expect(w.desired("provider-2")).NotTo(HaveKey(w.ns)) }).Should(Succeed())
	w.twinGone("provider-2")
	w.Eventually(func() error {
		return w.get(w.home, w.ns, v1beta1.TenantNamespace("provider-2"), &rbacv1.RoleBinding{})
	}, outage).Should(MatchError(notFound, "not found"), "its agent has no rights here any more")
}

// N14.
func TestATwinDeletedByHandIsRebuiltAndItsPodsAreReplaced(t *testing.T) {
	w := newWorld(t, "rebuilt")
	w.offload("--pod-offloading-strategy", "Remote", "--selector", "liqo.io/provider=provider-1")
	bare := build.Pod("bare").Namespace(w.ns).Obj()
	config := &corev1.ConfigMap{Data: map[string]string{"a": "b"}}
	config.Namespace, config.Name = w.ns, "settings"
	w.create(build.Deployment("web").Namespace(w.ns).Replicas(2).Obj(), build.Service(w.ns, "web"), config, bare)
	before := sets.New[types.UID]()
	for _, pod := range w.running(3) {
		before.Insert(pod.UID)
	}
	var twin corev1.Namespace
	w.Expect(w.get(away("provider-1"), "", w.twin(), &twin)).To(Succeed())
	w.Eventually(func() error { return w.get(away("provider-1"), w.twin(), "settings", &corev1.ConfigMap{}) }).
		Should(Succeed())

	w.Expect(away("provider-1").Delete(w.ctx, build.Namespace(w.twin()).Obj())).To(Succeed())
	w.Eventually(func(g Gomega) {
		var pod corev1.Pod
		g.Expect(w.get(w.home, w.ns, bare.Name, &pod)).To(Succeed())
		g.Expect(pod.Status.Phase).To(Equal(corev1.PodFailed))
		g.Expect(pod.Status.Reason).To(Equal("RemoteNamespaceDeleted"))
	}, outage).Should(Succeed())
	w.Eventually(func(g Gomega) {
		var now corev1.Namespace
		g.Expect(w.get(away("provider-1"), "", w.twin(), &now)).To(Succeed())
		g.Expect(now.UID).NotTo(Equal(twin.UID))
		g.Expect(w.get(away("provider-1"), w.twin(), "settings", &corev1.ConfigMap{})).To(Succeed())
		g.Expect(w.get(away("provider-1"), w.twin(), "web", &corev1.Service{})).To(Succeed())
		g.Expect(w.get(away("provider-1"), w.twin(), v1beta1.TwinRole, &rbacv1.RoleBinding{})).To(Succeed())
	}, outage).Should(Succeed())
	for _, pod := range w.running(2) { // the Deployment's; nobody replaces a bare pod
		w.Expect(before.Has(pod.UID)).To(BeFalse(), "%s was not replaced", pod.Name)
	}
	w.Expect(w.phase()).To(Equal(v1beta1.PhaseReady))
}

// N14: whoever takes the agent's rights in a twin away is found out when they are missed, and not only when the twin is
// looked at again.
func TestRightsInATwinComeBackWhenTheyAreMissed(t *testing.T) {
	w := newWorld(t, "deprived")
	w.offload("--pod-offloading-strategy", "Remote", "--selector", "liqo.io/provider=provider-1")
	settings, copied := configMap(w.ns, "settings", "0"), corev1.ConfigMap{}
	w.create(settings)
	w.Eventually(func() error { return w.get(away("provider-1"), w.twin(), settings.Name, &copied) }).Should(Succeed())
	var rights rbacv1.RoleBinding
	w.Expect(w.get(away("provider-1"), w.twin(), v1beta1.TwinRole, &rights)).To(Succeed())

	w.Expect(away("provider-1").Delete(w.ctx, &rights)).To(Succeed())
	changes := 0
	w.Eventually(func(g Gomega) {
		changes++ // the first may come before the API server's authorizer hears of what was deleted
		settings.Data["key"] = strconv.Itoa(changes)
		g.Expect(w.home.Update(w.ctx, settings)).To(Succeed())
		g.Expect(w.get(away("provider-1"), w.twin(), v1beta1.TwinRole, &rbacv1.RoleBinding{})).To(Succeed())
	}, namespacemap.DefaultResync*2/3).Should(Succeed())
	w.Eventually(func(g Gomega) {
		g.Expect(w.get(away("provider-1"), w.twin(), settings.Name, &copied)).To(Succeed())
		g.Expect(copied.Data).To(Equal(settings.Data))
	}).Should(Succeed())
}

// kubectl runs the playground's at home.
func (w *world) kubectl(args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.ctx, filepath.Join(playground.Bin(), "playground"),
		append([]string{"--kubeconfig", playground.Consumer().Kubeconfig, "-n", w.ns}, args...)...)
	cmd.Args[0] = "kubectl" // by this name it is kubectl
	out, err := cmd.CombinedOutput()
	w.Expect(err).NotTo(HaveOccurred(), string(out))
	return string(out)
}

func TestKubectlShowsAndAwaitsAnOffloading(t *testing.T) {
	w := newWorld(t, "columns")
	w.create(build.Offloading(w.ns).Obj())
	w.Expect(w.kubectl("wait", "--for=condition=Ready", "nsoff/offloading", "--timeout=60s")).
		To(ContainSubstring("condition met"))
	fields := func(text string) [][]string {
		var lines [][]string
		for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
			lines = append(lines, strings.Fields(line))
		}
		return lines
	}
	for _, name := range []string{"nso", "nsof", "nsoff", "nsoffloading", "namespaceoffloadings"} {
		lines := fields(w.kubectl("get", name))
		w.Expect(lines).To(HaveLen(2), name)
		w.Expect(lines[0]).To(Equal([]string{
			"NAME", "NAMESPACEMAPPINGSTRATEGY", "PODOFFLOADINGSTRATEGY", "OFFLOADINGPHASE", "AGE",
		}))
		w.Expect(lines[1][:4]).To(Equal([]string{"offloading", "DefaultName", "LocalAndRemote", "Ready"}))
	}
	wide := fields(w.kubectl("get", "nsoff", "-o", "wide"))
	w.Expect(wide[0]).To(ContainElement("REMOTENAMESPACENAME"))
	w.Expect(wide[1]).To(ContainElement(w.twin()))
	tenant := "--namespace=" + v1beta1.TenantNamespace("provider-1")
	w.Expect(fields(w.kubectl("get", "nsmap", tenant))[0]).To(Equal([]string{"NAME", "AGE"}))
	nodes := fields(w.kubectl("get", "vnode", tenant, "-o", "wide"))
	w.Expect(nodes[0]).To(Equal([]string{"NAME", "CLUSTERID", "CREATE", "NODE", "AGE", "NODE", "VIRTUALKUBELET"}))
	w.Expect(nodes[1][:3]).To(Equal([]string{"provider-1", "provider-1", "true"}))
	w.Expect(w.kubectl("get", "liqo")).To(ContainSubstring("offloading"), "the category")
}
