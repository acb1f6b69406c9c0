package suite

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// condition returns status/reason of a cluster's condition.
func condition(off *v1beta1.NamespaceOffloading, cluster, kind string) string {
	for _, c := range off.Status.RemoteNamespacesConditions[cluster] {
		if c.Type == kind {
			return string(c.Status) + "/" + c.Reason
		}
	}
	return "absent"
}

// N1.
func TestAnOffloadingWithDefaultsIsReadyOnEveryProvider(t *testing.T) {
	w := newWorld(t, "defaults")
	w.create(build.Offloading(w.ns).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))

	off := w.offloading()
	w.Expect(off.Finalizers).To(ConsistOf(v1beta1.FinalizerOffloading))
	w.Expect(off.Status.RemoteNamespaceName).To(Equal(w.twin()))
	w.Expect(off.Status.ObservedGeneration).To(Equal(off.Generation))
	w.Expect(meta.IsStatusConditionTrue(off.Status.Conditions, v1beta1.ConditionReady)).To(BeTrue())
	for _, p := range providers() {
		w.Expect(condition(off, p, v1beta1.ConditionOffloadingRequired)).To(Equal("True/ClusterSelected"))
		w.Expect(condition(off, p, v1beta1.ConditionReady)).To(Equal("True/NamespaceCreated"))
		var twin corev1.Namespace
		w.Expect(w.get(away(p), "", w.twin(), &twin)).To(Succeed())
		w.Expect(twin.Labels).To(HaveKeyWithValue(v1beta1.LabelRemoteClusterID, "consumer"))
		w.Expect(twin.Annotations).To(HaveKeyWithValue(v1beta1.AnnotationTwinHomeName, w.ns))
	}
	var ns corev1.Namespace
	w.Expect(w.get(w.home, "", w.ns, &ns)).To(Succeed())
	w.Expect(ns.Labels).To(HaveKeyWithValue(v1beta1.LabelSchedulingEnabled, "true"))
}

// N3, N4, N5: what the CRD refuses, in the words that the user sees.
func TestWhatAnOffloadingMayNotBeIsRefusedWithASentence(t *testing.T) {
	w := newWorld(t, "refusals")
	for name, test := range map[string]struct {
		off  *v1beta1.NamespaceOffloading
		want string
	}{
		"another name": {
			off: func() *v1beta1.NamespaceOffloading {
				off := build.Offloading(w.ns).Obj()
				off.Name = "mine"
				return off
			}(),
			want: "metadata.name: Invalid value: must be 'offloading'",
		},
		"SelectedName without a name": {
			off:  build.Offloading(w.ns).Mapping(v1beta1.SelectedName).Obj(),
			want: "spec.remoteNamespaceName: Required value: must be set when namespaceMappingStrategy is SelectedName",
		},
		"SelectedName with a bad name": {
			off:  build.Offloading(w.ns).RemoteName("Foo_Bar").Obj(),
			want: "must be a DNS-1123 label",
		},
		"SelectedName with a reserved name": {
			off:  build.Offloading(w.ns).RemoteName("kube-system").Obj(),
			want: "reserved namespace name",
		},
		"a name without SelectedName": {
			off:  build.Offloading(w.ns).RemoteName("elsewhere").Mapping(v1beta1.DefaultName).Obj(),
			want: "may only be set when namespaceMappingStrategy is SelectedName",
		},
		"an unknown strategy": {
			off:  build.Offloading(w.ns).Strategy("remote").Obj(),
			want: `Unsupported value: "remote"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := w.home.Create(w.ctx, test.off)
			NewWithT(t).Expect(err).To(MatchError(ContainSubstring(test.want)))
			NewWithT(t).Expect(apierrors.IsInvalid(err)).To(BeTrue(), "422, not %v", err)
		})
	}
}

// N5.
func TestTheNameOfTheTwinsCannotBeChanged(t *testing.T) {
	w := newWorld(t, "immutable")
	w.create(build.Offloading(w.ns).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
	before := w.offloading()

	for name, change := range map[string]func(*v1beta1.NamespaceOffloadingSpec){
		"another strategy": func(s *v1beta1.NamespaceOffloadingSpec) {
			s.NamespaceMappingStrategy = v1beta1.EnforceSameName
		},
		"a name of one's own": func(s *v1beta1.NamespaceOffloadingSpec) {
			name := "elsewhere"
			s.NamespaceMappingStrategy, s.RemoteNamespaceName = v1beta1.SelectedName, &name
		},
	} {
		off := before.DeepCopy()
		change(&off.Spec)
		err := w.home.Update(w.ctx, off)
		w.Expect(err).To(MatchError(ContainSubstring("immutable")), name)
	}
	w.Expect(w.offloading().ResourceVersion).To(Equal(before.ResourceVersion), "nothing changed")
	for _, p := range providers() {
		w.Expect(w.get(away(p), "", w.twin(), &corev1.Namespace{})).To(Succeed())
	}
}

// N8.
func TestAVirtualNodeThatAppearsLaterGetsItsTwinByItself(t *testing.T) {
	w := newWorld(t, "patient")
	w.offload("--selector", "tier=gold")
	w.Expect(w.phase()).To(Equal(v1beta1.PhaseNoClusterSelected))
	w.Expect(condition(w.offloading(), "provider-1", v1beta1.ConditionOffloadingRequired)).
		To(Or(Equal("absent"), Equal("False/ClusterNotSelected")))

	gold := build.VirtualNode("provider-1-gold", "provider-1", "tier", "gold")
	w.create(gold)
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
	w.Expect(condition(w.offloading(), "provider-1", v1beta1.ConditionReady)).To(Equal("True/NamespaceCreated"))
	w.Expect(w.get(away("provider-2"), "", w.twin(), &corev1.Namespace{})).
		To(MatchError(apierrors.IsNotFound, "not found"))
	var node corev1.Node
	w.Eventually(func() error { return w.get(w.home, "", gold.Name, &node) }).Should(Succeed())

	w.deleted(gold)
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseNoClusterSelected))
	w.twinGone("provider-1")
	w.Expect(w.get(w.home, "", gold.Name, &node)).To(MatchError(apierrors.IsNotFound, "not found"))
	w.Expect(w.get(w.home, "", "provider-1", &node)).To(Succeed(), "the provider's other node stays")
}

// N9.
func TestASelectorPicksClustersAndItsEditDropsOnlyWhatItNoLongerPicks(t *testing.T) {
	w := newWorld(t, "selective")
	w.offload("--selector", "liqo.io/provider=provider-2")
	w.Expect(w.get(away("provider-2"), "", w.twin(), &corev1.Namespace{})).To(Succeed())
	w.Expect(w.desired("provider-1")).NotTo(HaveKey(w.ns))

	w.offload("--selector", "liqo.io/provider in (provider-1,provider-2)")
	var twin corev1.Namespace
	w.Expect(w.get(away("provider-2"), "", w.twin(), &twin)).To(Succeed())
	w.offload("--selector", "liqo.io/provider=provider-2")
	w.twinGone("provider-1")
	var same corev1.Namespace
	w.Expect(w.get(away("provider-2"), "", w.twin(), &same)).To(Succeed())
	w.Expect(same.UID).To(Equal(twin.UID))
}

// N13.
func TestAForeignNamespaceOfTheTwinsNameIsNeverTouched(t *testing.T) {
	w := newWorld(t, "taken")
	foreign := build.Namespace(w.twin()).Label("owner", "somebody").Obj()
	w.Expect(away("provider-1").Create(w.ctx, foreign)).To(Succeed())
	mine := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "mine", Namespace: foreign.Name}}
	w.Expect(away("provider-1").Create(w.ctx, mine)).To(Succeed())

	untouched := func() {
		t.Helper()
		var now corev1.Namespace
		w.Expect(w.get(away("provider-1"), "", foreign.Name, &now)).To(Succeed())
		w.Expect(now.UID).To(Equal(foreign.UID))
		w.Expect(now.ResourceVersion).To(Equal(foreign.ResourceVersion))
		var bindings rbacv1.RoleBindingList
		w.Expect(away("provider-1").List(w.ctx, &bindings, client.InNamespace(foreign.Name))).To(Succeed())
		w.Expect(bindings.Items).To(BeEmpty())
	}

	w.create(build.Offloading(w.ns).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseSomeFailed))
	for provider, want := range map[string]string{
		"provider-1": "False/CreationLoopBackOff", "provider-2": "True/NamespaceCreated", // one may be faster
	} {
		w.Eventually(func() string {
			return condition(w.offloading(), provider, v1beta1.ConditionReady)
		}).Should(Equal(want))
	}
	untouched()

	w.deleted(build.Offloading(w.ns).Obj())
	untouched()

	w.create(build.Offloading(w.ns).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseSomeFailed))
	w.Expect(away("provider-1").Delete(w.ctx, foreign)).To(Succeed())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady), "removed by its owner, the twin appears by itself")
}

// N17.
func TestAnOffloadingThatIsDeletedSaysWhatItWaitsFor(t *testing.T) {
	w := newWorld(t, "stuck")
	w.create(build.Offloading(w.ns).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
	holder := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name: "holder", Namespace: w.twin(), Finalizers: []string{"example.com/hold"},
	}}
	w.Expect(away("provider-1").Create(w.ctx, holder)).To(Succeed())

	w.Expect(w.home.Delete(w.ctx, build.Offloading(w.ns).Obj())).To(Succeed())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseTerminating))
	w.Eventually(func(g Gomega) {
		var ns corev1.Namespace
		g.Expect(w.get(w.home, "", w.ns, &ns)).To(Succeed())
		g.Expect(ns.Labels).NotTo(HaveKey(v1beta1.LabelSchedulingEnabled), "the label goes first")
		off := w.offloading()
		g.Expect(condition(off, "provider-1", v1beta1.ConditionReady)).To(Equal("False/Terminating"))
		ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
		g.Expect(ready).NotTo(BeNil())
		g.Expect(ready.Message).To(ContainSubstring("provider-1"))
		g.Expect(ready.Message).To(ContainSubstring("example.com/hold"), "names what holds it")
	}).Should(Succeed())
	w.twinGone("provider-2")

	release := client.MergeFrom(holder.DeepCopy())
	holder.Finalizers = nil
	w.Expect(away("provider-1").Patch(w.ctx, holder, release)).To(Succeed())
	w.Eventually(func() error { return w.get(w.home, w.ns, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{}) }).
		Should(MatchError(apierrors.IsNotFound, "not found"))
	w.twinGone("provider-1")
}

// N18.
func TestANamespaceThatIsDeletedWhileOffloadedTakesEverythingWithIt(t *testing.T) {
	w := newWorld(t, "doomed")
	w.create(build.Offloading(w.ns).Strategy(v1beta1.Remote).Obj())
	w.shop(4)
	w.create(build.Pod("bare").Namespace(w.ns).Obj())
	w.running(5)
	w.deleted(build.Namespace(w.ns).Obj())
	for _, p := range providers() {
		w.twinGone(p)
		w.Eventually(func() map[string]string { return w.desired(p) }).ShouldNot(HaveKey(w.ns))
		w.Eventually(func(g Gomega) {
			var m v1beta1.NamespaceMap
			g.Expect(w.get(w.home, v1beta1.TenantNamespace(p), p, &m)).To(Succeed())
			g.Expect(m.Status.CurrentMapping).NotTo(HaveKey(w.ns))
		}).Should(Succeed())
	}
}
