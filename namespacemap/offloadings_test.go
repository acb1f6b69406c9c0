package namespacemap

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// reasons returns the reasons of the Ready conditions by cluster, "" for one without.
func reasons(off *v1beta1.NamespaceOffloading) map[string]string {
	got := map[string]string{}
	for id, conditions := range off.Status.RemoteNamespacesConditions {
		got[id] = ""
		if ready := find(conditions, v1beta1.ConditionReady); ready != nil {
			got[id] = ready.Reason
		}
	}
	return got
}

func TestOffloadWithDefaults(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.mustOffload(t, "shop")

	off := h.offloading(t, "shop")
	if diff := cmp.Diff([]string{v1beta1.FinalizerOffloading}, off.Finalizers); diff != "" {
		t.Errorf("finalizers (-want,+got):\n%s", diff)
	}
	if got := get(t, h, "", "shop", &corev1.Namespace{}).Labels[v1beta1.LabelSchedulingEnabled]; got != "true" {
		t.Errorf("the namespace's label is %q", got)
	}
	for _, id := range []string{"b", "c"} {
		if diff := cmp.Diff(map[string]string{"shop": "shop-a"}, mapOf(t, h, id).Spec.DesiredMapping); diff != "" {
			t.Errorf("mapping on %s (-want,+got):\n%s", id, diff)
		}
		binding := get(t, h, "shop", "liqo-tenant-"+id, &rbacv1.RoleBinding{})
		if !sameRights(binding, homeBinding("shop", id)) || binding.Labels[v1beta1.LabelRemoteClusterID] != id {
			t.Errorf("the agent of %s has %+v", id, binding)
		}
	}
	if off.Status.OffloadingPhase != v1beta1.PhaseInProgress || off.Status.RemoteNamespaceName != "shop-a" {
		t.Errorf("status %+v, want InProgress with shop-a", off.Status)
	}

	h.events()
	for _, id := range []string{"b", "c"} {
		answer(t, h, id, "shop", accepted("shop-a"))
	}
	h.mustOffload(t, "shop")
	off = h.offloading(t, "shop")
	ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
	want := &metav1.Condition{
		Type: "Ready", Status: "True", Reason: "Ready", Message: "twins are ready on b, c",
		LastTransitionTime: metav1.NewTime(morning.Local()), ObservedGeneration: off.Generation,
	}
	if diff := cmp.Diff(want, ready); diff != "" {
		t.Errorf("Ready (-want,+got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"b": "NamespaceCreated", "c": "NamespaceCreated"}, reasons(off)); diff != "" {
		t.Errorf("clusters (-want,+got):\n%s", diff)
	}
	wantEvents := []string{
		"Normal NamespaceCreated cluster b: namespace shop-a is ready",
		"Normal NamespaceCreated cluster c: namespace shop-a is ready",
	}
	if diff := cmp.Diff(wantEvents, h.events()); diff != "" {
		t.Errorf("events (-want,+got):\n%s", diff)
	}

	h.forget()
	h.clock.SetTime(morning.Add(time.Hour))
	h.mustOffload(t, "shop")
	if len(h.writes)+len(h.events()) > 0 {
		t.Errorf("nothing had changed, but it wrote %v", h.writes)
	}
}

func TestOffloadStrategies(t *testing.T) {
	tests := map[string]struct {
		off       *build.OffloadingBuilder
		label     string
		wantTwin  string
		wantLabel string
	}{
		"Remote": {off: build.Offloading("shop").Strategy(v1beta1.Remote), wantTwin: "shop-a",
			wantLabel: "true"},
		"LocalAndRemote": {off: build.Offloading("shop"), wantTwin: "shop-a", wantLabel: "true"},
		"Local takes back the label of an earlier strategy": {
			off: build.Offloading("shop").Strategy(v1beta1.Local), label: "true", wantTwin: "shop-a",
		},
		"the label means nothing with another value": {off: build.Offloading("shop"), label: "no", wantTwin: "shop-a",
			wantLabel: "true"},
		"EnforceSameName": {off: build.Offloading("shop").Mapping(v1beta1.EnforceSameName), wantTwin: "shop",
			wantLabel: "true"},
		"SelectedName": {off: build.Offloading("shop").RemoteName("boutique"), wantTwin: "boutique",
			wantLabel: "true"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, shopWorld(tc.off)...)
			if tc.label != "" {
				namespace := get(t, h, "", "shop", &corev1.Namespace{})
				namespace.Labels = map[string]string{v1beta1.LabelSchedulingEnabled: tc.label}
				if err := h.Update(t.Context(), namespace); err != nil {
					t.Fatal(err)
				}
			}
			h.mustOffload(t, "shop")
			if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != tc.wantTwin {
				t.Errorf("twin %q, want %q", got, tc.wantTwin)
			}
			if got := get(t, h, "", "shop",
				&corev1.Namespace{}).Labels[v1beta1.LabelSchedulingEnabled]; got != tc.wantLabel {
				t.Errorf("label %q, want %q", got, tc.wantLabel)
			}
			if got := h.offloading(t, "shop").Status.RemoteNamespaceName; got != tc.wantTwin {
				t.Errorf("status says %q", got)
			}
		})
	}
}

func TestLabelRemovedByHandIsRestored(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.mustOffload(t, "shop")
	namespace := get(t, h, "", "shop", &corev1.Namespace{})
	namespace.Labels = nil
	if err := h.Update(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	h.forget()
	h.mustOffload(t, "shop")
	if diff := cmp.Diff([]string{"patch shop"}, h.writes); diff != "" {
		t.Errorf("writes (-want,+got):\n%s", diff)
	}
}

func TestNoVirtualNode(t *testing.T) {
	h := newHome(t, build.Namespace("shop").Obj(), build.Offloading("shop").Obj())
	h.mustOffload(t, "shop")
	off := h.offloading(t, "shop")
	ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
	if off.Status.OffloadingPhase != v1beta1.PhaseNoClusterSelected ||
		!strings.Contains(ready.Message, "no virtual node yet") {
		t.Errorf("phase %s: %s", off.Status.OffloadingPhase, ready.Message)
	}

	// One appears, first without its map.
	if err := h.Create(t.Context(), build.VirtualNode("b-1", "b")); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	if diff := cmp.Diff(map[string]string{"b": "Creating"}, reasons(h.offloading(t, "shop"))); diff != "" {
		t.Errorf("without map (-want,+got):\n%s", diff)
	}
	if _, err := h.provider(t, "b"); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("twin %q", got)
	}
}

func TestDeselectedClusterLosesItsTwinThenItsRights(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.mustOffload(t, "shop")
	for _, id := range []string{"b", "c"} {
		answer(t, h, id, "shop", accepted("shop-a"))
	}
	h.mustOffload(t, "shop")

	off := h.offloading(t, "shop")
	off.Spec.ClusterSelector = build.Selector("region", "south")
	if err := h.Update(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	if diff := cmp.Diff(map[string]string(nil), mapOf(t, h, "b").Spec.DesiredMapping); diff != "" {
		t.Errorf("b (-want,+got):\n%s", diff)
	}
	if got := mapOf(t, h, "c").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("c lost its mapping: %q", got)
	}
	get(t, h, "shop", "liqo-tenant-b", &rbacv1.RoleBinding{}) // the agent still needs its rights
	off = h.offloading(t, "shop")
	if isRequired(off.Status.RemoteNamespacesConditions["b"]) {
		t.Error("b is still required")
	}
	if diff := cmp.Diff(map[string]string{"b": "Terminating", "c": "NamespaceCreated"}, reasons(off)); diff != "" {
		t.Errorf("clusters (-want,+got):\n%s", diff)
	}
	if off.Status.OffloadingPhase != v1beta1.PhaseReady {
		t.Errorf("phase %s: what is required is ready", off.Status.OffloadingPhase)
	}

	answer(t, h, "b", "shop", nil)
	h.mustOffload(t, "shop")
	missing(t, h, "shop", "liqo-tenant-b", &rbacv1.RoleBinding{})
	get(t, h, "shop", "liqo-tenant-c", &rbacv1.RoleBinding{})
	if diff := cmp.Diff(map[string]string{"b": "", "c": "NamespaceCreated"},
		reasons(h.offloading(t, "shop"))); diff != "" {
		t.Errorf("clusters at last (-want,+got):\n%s", diff)
	}
}

func TestTwoVirtualNodesOfOneProvider(t *testing.T) {
	selector := build.Selector("region", "north")
	h := newHome(t, shopWorld(build.Offloading("shop").Selector(selector),
		build.VirtualNode("b-2", "b", "region", "east"))...)
	h.mustOffload(t, "shop")
	answer(t, h, "b", "shop", accepted("shop-a"))
	h.mustOffload(t, "shop")
	h.forget()
	h.mustOffload(t, "shop")
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "shop-a" || len(h.writes) > 0 {
		t.Errorf("mapping %q, writes %v", got, h.writes)
	}
}

func TestInvalidSelector(t *testing.T) {
	bad := &v1beta1.ClusterSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
		MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "region", Operator: "Equals"}},
	}}}
	h := newHome(t, shopWorld(build.Offloading("shop").Selector(bad))...)
	h.mustOffload(t, "shop")
	off := h.offloading(t, "shop")
	words := off.Annotations[v1beta1.AnnotationSelectorError]
	if !strings.Contains(words, "Equals") || off.Status.OffloadingPhase != v1beta1.PhaseNoClusterSelected {
		t.Errorf("annotation %q, phase %s", words, off.Status.OffloadingPhase)
	}
	if told := h.events(); len(told) != 1 || !strings.Contains(told[0], "Warning InvalidClusterSelector "+words) {
		t.Errorf("events %v", told)
	}
	h.mustOffload(t, "shop")
	if told := h.events(); len(told) > 0 {
		t.Errorf("told again: %v", told)
	}
	if len(mapOf(t, h, "b").Spec.DesiredMapping) > 0 {
		t.Error("a cluster was selected")
	}

	off.Spec.ClusterSelector = build.Selector("region", "north")
	if err := h.Update(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	off = h.offloading(t, "shop")
	if _, there := off.Annotations[v1beta1.AnnotationSelectorError]; there ||
		off.Status.OffloadingPhase != v1beta1.PhaseInProgress {
		t.Errorf("after the repair: annotations %v, phase %s", off.Annotations, off.Status.OffloadingPhase)
	}
}

func TestNameTooLong(t *testing.T) {
	name := strings.Repeat("n", 62)
	h := newHome(t, build.Namespace(name).Obj(), build.Offloading(name).Obj(), build.VirtualNode("b-1", "b"),
		build.Map("b").Obj())
	h.mustOffload(t, name)
	off := h.offloading(t, name)
	if diff := cmp.Diff(map[string]string{"b": "NameTooLong"}, reasons(off)); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	message := find(off.Status.RemoteNamespacesConditions["b"], v1beta1.ConditionReady).Message
	if !strings.Contains(message, "64") || !strings.Contains(message, "63") {
		t.Errorf("message %q names neither length nor limit", message)
	}
	if off.Status.OffloadingPhase != v1beta1.PhaseAllFailed || off.Status.RemoteNamespaceName != "" {
		t.Errorf("status %+v", off.Status)
	}
	if len(mapOf(t, h, "b").Spec.DesiredMapping) > 0 {
		t.Error("a name that cannot be was stored")
	}
	missing(t, h, name, "liqo-tenant-b", &rbacv1.RoleBinding{})
}

func TestSomeFailed(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.mustOffload(t, "shop")
	answer(t, h, "b", "shop", accepted("shop-a"))
	answer(t, h, "c", "shop", &v1beta1.TwinStatus{RemoteNamespace: "shop-a",
		Phase: v1beta1.MappingCreationLoopBackOff, Reason: "CreationLoopBackOff",
		Message: "namespace shop-a exists and is not ours"})
	h.events()
	h.mustOffload(t, "shop")
	off := h.offloading(t, "shop")
	ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
	if ready.Reason != "SomeFailed" || ready.Message != "c: namespace shop-a exists and is not ours" {
		t.Errorf("%s: %s", ready.Reason, ready.Message)
	}
	want := []string{
		"Normal NamespaceCreated cluster b: namespace shop-a is ready",
		"Warning CreationLoopBackOff cluster c: namespace shop-a exists and is not ours",
	}
	if diff := cmp.Diff(want, h.events()); diff != "" {
		t.Errorf("events (-want,+got):\n%s", diff)
	}
}

func TestAnotherNameIsIgnored(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	request := reconcile.Request{}
	request.Namespace, request.Name = "shop", "other"
	if _, err := h.offloadings.Reconcile(t.Context(), request); err != nil || len(h.writes) > 0 {
		t.Errorf("error %v, writes %v", err, h.writes)
	}
}
