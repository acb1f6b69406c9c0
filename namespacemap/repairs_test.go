package namespacemap

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestMapEditedByHandIsRepaired(t *testing.T) {
	tests := map[string]func(*v1beta1.NamespaceMap){
		"the key removed": func(m *v1beta1.NamespaceMap) {
			delete(m.Spec.DesiredMapping,
				"shop")
		},
		"the twin renamed": func(m *v1beta1.NamespaceMap) {
			m.Spec.DesiredMapping["shop"] = "kube-system"
		},
		"a namespace added that is not offloaded": func(m *v1beta1.NamespaceMap) {
			m.Spec.DesiredMapping["bank"] = "bank-a"
		},
		"a namespace added that does not exist": func(m *v1beta1.NamespaceMap) {
			m.Spec.DesiredMapping["lost"] = "lost-a"
		},
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, shopWorld(build.Offloading("shop"), build.Namespace("bank").Obj())...)
			h.mustOffload(t, "shop")
			m := mapOf(t, h, "b")
			before := m.DeepCopy()
			edit(m)
			if err := h.Update(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			for _, home := range changedKeys(before, m) {
				h.mustOffload(t, home)
			}
			if diff := cmp.Diff(map[string]string{"shop": "shop-a"}, mapOf(t, h, "b").Spec.DesiredMapping); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestLostOffloadingIsSwept(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.mustOffload(t, "shop")
	answer(t, h, "b", "shop", accepted("shop-a"))
	off := h.offloading(t, "shop")
	off.Finalizers = nil
	if err := h.Update(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	if err := h.Delete(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	for _, id := range []string{"b", "c"} {
		if len(mapOf(t, h, id).Spec.DesiredMapping) > 0 {
			t.Errorf("%s still has its key", id)
		}
	}
	if _, labelled := get(t, h, "", "shop", &corev1.Namespace{}).Labels[v1beta1.LabelSchedulingEnabled]; labelled {
		t.Error("the label stayed: pods would wait for ever")
	}
	get(t, h, "shop", "liqo-tenant-b", &rbacv1.RoleBinding{}) // until its twin is gone
	missing(t, h, "shop", "liqo-tenant-c", &rbacv1.RoleBinding{})
	answer(t, h, "b", "shop", nil)
	h.mustOffload(t, "shop")
	missing(t, h, "shop", "liqo-tenant-b", &rbacv1.RoleBinding{})
	h.forget()
	h.mustOffload(t, "shop")
	if len(h.writes) > 0 {
		t.Errorf("swept again: %v", h.writes)
	}
}

func TestSweepBelievesNoCache(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.mustOffload(t, "shop")
	cache := newServer(t, build.Namespace("shop").Obj(), build.Map("b").Want("shop", "shop-a").Obj()) // has not seen it
	h.offloadings.Home = cache
	h.mustOffload(t, "shop")
	if len(cache.writes) > 0 {
		t.Errorf("it took an offloading for lost that its cache had not seen: %v", cache.writes)
	}
}

func TestAPreparedNamespaceKeepsItsLabel(t *testing.T) {
	h := newHome(t, build.Namespace("shop").Label(v1beta1.LabelSchedulingEnabled, "true").Obj(), build.Map("b").Obj())
	h.mustOffload(t, "shop")
	if len(h.writes) > 0 {
		t.Errorf("writes %v, but there is no offloading yet", h.writes)
	}
}

func TestForeignRoleBindingAtHome(t *testing.T) {
	foreign := homeBinding("shop", "b")
	foreign.Labels = nil
	foreign.RoleRef.Name = "view"
	h := newHome(t, shopWorld(build.Offloading("shop"), foreign)...)
	err := h.offload(t, "shop")
	if err == nil {
		t.Error("no error, so no retry")
	}
	if got := mapOf(t, h, "b").Spec.DesiredMapping["shop"]; got != "" {
		t.Errorf("twin %q asked of an agent without rights at home", got)
	}
	if got := mapOf(t, h, "c").Spec.DesiredMapping["shop"]; got != "shop-a" {
		t.Errorf("the other cluster has %q", got)
	}
	message := find(h.offloading(t, "shop").Status.RemoteNamespacesConditions["b"], v1beta1.ConditionReady).Message
	if !strings.Contains(message, "liqo-tenant-b") || !strings.Contains(message, "not ours: delete it") {
		t.Errorf("message %q", message)
	}
	if got := get(t, h, "shop", "liqo-tenant-b", &rbacv1.RoleBinding{}).RoleRef.Name; got != "view" {
		t.Errorf("the foreign binding was changed to %s", got)
	}
}

func TestChangedRightsAreMadeAnew(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.mustOffload(t, "shop")
	binding := get(t, h, "shop", "liqo-tenant-b", &rbacv1.RoleBinding{})
	binding.Subjects = nil
	if err := h.Update(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	if !sameRights(get(t, h, "shop", "liqo-tenant-b", &rbacv1.RoleBinding{}), homeBinding("shop", "b")) {
		t.Error("the agent did not get its rights back")
	}
}

func TestFailuresAreVisibleAndRetried(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "y", errors.New("role missing"))
	tests := map[string]struct {
		fails      func(verb string, object client.Object) bool
		wantWords  string
		wantReason string
	}{
		"the agent's rights": {
			fails: func(verb string, o client.Object) bool {
				return verb == "create" &&
					o.GetName() == "liqo-tenant-b"
			},
			wantWords: "b: create role binding liqo-tenant-b in shop", wantReason: "PermissionDenied",
		},
		"the key of the map": {
			fails:     func(verb string, o client.Object) bool { return verb == "patch" && o.GetName() == "b" },
			wantWords: "b: patch key shop of namespace map b", wantReason: "PermissionDenied",
		},
		"the label": {
			fails:     func(verb string, o client.Object) bool { return verb == "patch" && o.GetName() == "shop" },
			wantWords: "label namespace shop", wantReason: "Creating",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHome(t, shopWorld(build.Offloading("shop"))...)
			h.before = func(verb string, object client.Object) error {
				if tc.fails(verb, object) {
					return forbidden
				}
				return nil
			}
			if err := h.offload(t, "shop"); !errors.Is(err, forbidden) {
				t.Errorf("error %v", err)
			}
			off := h.offloading(t, "shop")
			ready := meta.FindStatusCondition(off.Status.Conditions, v1beta1.ConditionReady)
			if !strings.Contains(ready.Message, tc.wantWords) || !strings.Contains(ready.Message, "role missing") {
				t.Errorf("message %q does not say %q", ready.Message, tc.wantWords)
			}
			if got := reasons(off)["b"]; got != tc.wantReason {
				t.Errorf("reason %s, want %s", got, tc.wantReason)
			}
			h.before = nil
			h.rest()
			h.mustOffload(t, "shop")
			ready = meta.FindStatusCondition(h.offloading(t, "shop").Status.Conditions, v1beta1.ConditionReady)
			if strings.Contains(ready.Message, "role missing") {
				t.Errorf("message %q stayed", ready.Message)
			}
		})
	}
}

func TestNothingBeginsWithoutTheFinalizer(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.before = func(verb string, object client.Object) error {
		if verb == "patch" && object.GetName() == v1beta1.OffloadingName {
			return errors.New("down")
		}
		return nil
	}
	if err := h.offload(t, "shop"); err == nil {
		t.Error("no error")
	}
	if diff := cmp.Diff([]string{"patch-status offloading"}, h.writes); diff != "" {
		t.Errorf("it may only say so (-want,+got):\n%s", diff)
	}
	ready := meta.FindStatusCondition(h.offloading(t, "shop").Status.Conditions, v1beta1.ConditionReady)
	if ready == nil || !strings.Contains(ready.Message, "mark offloading of shop: down") {
		t.Errorf("condition %+v", ready)
	}
}

func TestFailuresOnTheWayOutAreVisible(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "x"}, "y", errors.New("role missing"))
	tests := map[string]struct {
		fails func(verb string, object client.Object) bool
		left  *v1beta1.TwinStatus
		want  string
	}{
		"the key of the map": {
			fails: func(verb string, o client.Object) bool { return verb == "patch" && o.GetName() == "b" },
			left:  accepted("shop-a"), want: "b: patch key shop of namespace map b",
		},
		"the label": {
			fails: func(verb string, o client.Object) bool { return verb == "patch" && o.GetName() == "shop" },
			left:  accepted("shop-a"), want: "label namespace shop",
		},
		"the agent's rights, when its twin is gone": {
			fails: func(verb string, o client.Object) bool {
				return verb == "delete" && o.GetName() == "liqo-tenant-b"
			},
			want: "delete role binding liqo-tenant-b in shop",
		},
		"the finalizer, when all is gone": {
			fails: func(verb string, o client.Object) bool { return verb == "patch" && o.GetName() == "offloading" },
			want:  "release offloading of shop",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			h := offloadedShop(t)
			h.deleteOffloading(t, "shop")
			answer(t, h, "b", "shop", tc.left)
			answer(t, h, "c", "shop", nil)
			h.before = func(verb string, object client.Object) error {
				if tc.fails(verb, object) {
					return forbidden
				}
				return nil
			}
			for range 2 { // the keys go first, and with them the last that is waited for
				if err := h.offload(t, "shop"); !errors.Is(err, forbidden) && tc.left != nil {
					t.Errorf("error %v", err)
				}
			}
			ready := meta.FindStatusCondition(h.offloading(t, "shop").Status.Conditions, v1beta1.ConditionReady)
			if !strings.Contains(ready.Message, tc.want) || !strings.Contains(ready.Message, "role missing") {
				t.Errorf("message %q does not say %q", ready.Message, tc.want)
			}
			h.forget()
			if err := h.offload(t, "shop"); !errors.Is(err, forbidden) {
				t.Errorf("error %v, so no retry", err)
			}
			if len(h.writes) > 0 {
				t.Errorf("each retry writes %v", h.writes)
			}
		})
	}
}

func TestALostRaceIsNoError(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.before = func(verb string, object client.Object) error {
		if verb == "patch-status" {
			return apierrors.NewConflict(schema.GroupResource{Resource: "namespaceoffloadings"}, object.GetName(),
				errors.New("newer"))
		}
		return nil
	}
	result, err := h.offloadings.Reconcile(t.Context(), offloadingOf("shop"))
	if err != nil || result.RequeueAfter != retryConflict {
		t.Errorf("got %+v, %v", result, err)
	}
}
