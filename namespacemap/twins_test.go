package namespacemap

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// heard is a listener that remembers.
type heard []string

func (h *heard) TwinReady(home, away string) { *h = append(*h, "ready "+home+" "+away) }
func (h *heard) TwinLeaving(home string)     { *h = append(*h, "leaving "+home) }
func (h *heard) TwinGone(home string)        { *h = append(*h, "gone "+home) }

// agent is the agent of provider b with both its API servers.
type agent struct {
	*Twins
	home, away *server
	heard      heard
}

func newAgent(t *testing.T, home []client.Object, away ...client.Object) *agent {
	t.Helper()
	a := &agent{home: newServer(t, home...), away: newServer(t, away...)}
	a.Twins = &Twins{
		Home: a.home, Live: a.home, Away: a.away, Origin: origin, ClusterID: "b", Listeners: []Listener{&a.heard},
	}
	return a
}

func (a *agent) visit(t *testing.T, home string) (reconcile.Result, error) {
	t.Helper()
	return a.Reconcile(t.Context(), TwinKey{Home: home})
}

func (a *agent) mustVisit(t *testing.T, home string) reconcile.Result {
	t.Helper()
	result, err := a.visit(t, home)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// entry returns what the map says about shop.
func (a *agent) entry(t *testing.T) *v1beta1.TwinStatus {
	t.Helper()
	return entryOf(mapOf(t, a.home, "b"), "shop")
}

// wantShop is the home side on which shop shall have a twin shop-a.
func wantShop(more ...client.Object) []client.Object {
	return append([]client.Object{
		build.Namespace("shop").UID("uid-1").Obj(), build.Map("b").Want("shop", "shop-a").Obj(),
	}, more...)
}

// twinOf returns the twin shop-a of namespace shop of the given incarnation.
func twinOf(uid string) *build.NamespaceBuilder {
	return build.Namespace("shop-a").UID("twin-of-"+uid).Label(v1beta1.LabelRemoteClusterID, origin).
		Annotation(v1beta1.AnnotationTwinOrigin, origin).Annotation(v1beta1.AnnotationTwinHomeName, "shop").
		Annotation(v1beta1.AnnotationTwinHomeUID, uid).Annotation(v1beta1.AnnotationTwinMap, "liqo-tenant-b/b")
}

func TestATwinIsMadeWithAllItsMarksInTheFirstWrite(t *testing.T) {
	a := newAgent(t, wantShop())
	var first client.Object
	a.away.before = func(_ string, object client.Object) error {
		if first == nil {
			first = object.DeepCopyObject().(client.Object)
		}
		return nil
	}
	result := a.mustVisit(t, "shop")
	if result.RequeueAfter < DefaultResync || result.RequeueAfter > 2*DefaultResync {
		t.Errorf("looks again after %v", result.RequeueAfter)
	}
	wantLabels := map[string]string{
		"liqo.io/remote-cluster-id":                  "a",
		"pod-security.kubernetes.io/enforce":         "baseline",
		"pod-security.kubernetes.io/enforce-version": "v1.35",
		"pod-security.kubernetes.io/warn":            "restricted",
		"pod-security.kubernetes.io/warn-version":    "v1.35",
		"pod-security.kubernetes.io/audit":           "restricted",
		"pod-security.kubernetes.io/audit-version":   "v1.35",
	}
	if diff := cmp.Diff(wantLabels, first.GetLabels()); diff != "" {
		t.Errorf("labels (-want,+got):\n%s", diff)
	}
	wantAnnotations := map[string]string{
		"liqo.io/remote-namespace":              "a",
		"liqo.io/managed-by-namespace-map":      "liqo-tenant-b/b",
		"liqo.io/original-name":                 "shop",
		"offloading.liqo.io/home-namespace-uid": "uid-1",
	}
	if diff := cmp.Diff(wantAnnotations, first.GetAnnotations()); diff != "" {
		t.Errorf("annotations (-want,+got):\n%s", diff)
	}
	binding := get(t, a.away, "shop-a", "liqo-twin", &rbacv1.RoleBinding{})
	wantBinding := &rbacv1.RoleBinding{
		RoleRef:  rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "liqo-twin"},
		Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "liqo-tenant-a", Name: "liqo-consumer"}},
	}
	if !sameRights(wantBinding, binding) {
		t.Errorf("binding %+v", binding)
	}
	if diff := cmp.Diff(accepted("shop-a"), a.entry(t)); diff != "" {
		t.Errorf("entry (-want,+got):\n%s", diff)
	}
	if diff := cmp.Diff(heard{"ready shop shop-a"}, a.heard); diff != "" {
		t.Errorf("heard (-want,+got):\n%s", diff)
	}

	a.away.forget()
	a.home.forget()
	a.mustVisit(t, "shop")
	if len(a.away.writes)+len(a.home.writes) > 0 {
		t.Errorf("it wrote again: away %v, home %v", a.away.writes, a.home.writes)
	}
}

func TestARestartedAgentHearsOfItsTwins(t *testing.T) {
	a := newAgent(t, []client.Object{
		build.Namespace("shop").UID("uid-1").Obj(),
		build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj(),
	}, twinOf("uid-1").Obj(), (&Twins{Origin: origin}).binding("shop-a"))
	a.mustVisit(t, "shop")
	if diff := cmp.Diff(heard{"ready shop shop-a"}, a.heard); diff != "" {
		t.Errorf("heard (-want,+got):\n%s", diff)
	}
	if len(a.away.writes)+len(a.home.writes) > 0 {
		t.Errorf("writes: away %v, home %v", a.away.writes, a.home.writes)
	}
}

func TestRestrictedTwins(t *testing.T) {
	a := newAgent(t, wantShop())
	a.PodSecurity = "restricted"
	a.mustVisit(t, "shop")
	if got := get(t, a.away, "", "shop-a",
		&corev1.Namespace{}).Labels[podSecurityPrefix+"enforce"]; got != "restricted" {
		t.Errorf("level %q", got)
	}
}

func TestForeignNamespacesAreNeverTouched(t *testing.T) {
	tests := map[string]*build.NamespaceBuilder{
		"nobody's":                  build.Namespace("shop-a"),
		"another consumer's":        twinOf("uid-1").Label(v1beta1.LabelRemoteClusterID, "z"),
		"labelled ours, not marked": build.Namespace("shop-a").Label(v1beta1.LabelRemoteClusterID, origin),
		"marked ours, not labelled": twinOf("uid-1").Label(v1beta1.LabelRemoteClusterID, ""),
		"of another home namespace": twinOf("uid-1").Annotation(v1beta1.AnnotationTwinHomeName, "bank"),
		"made for another id of the provider": twinOf("uid-1").Annotation(v1beta1.AnnotationTwinMap,
			"liqo-tenant-c/c"),
		"of another origin by marks": twinOf("uid-1").Annotation(v1beta1.AnnotationTwinOrigin, "z"),
	}
	for name, foreign := range tests {
		for _, created := range []string{"long ago", "between our read and our create"} {
			t.Run(name+", "+created, func(t *testing.T) {
				a := newAgent(t, wantShop())
				put := func() {
					if err := a.away.Create(t.Context(), foreign.Obj()); err != nil {
						t.Fatal(err)
					}
				}
				if created == "long ago" {
					put()
				} else {
					a.away.before = func(string, client.Object) error {
						a.away.before = nil
						put()
						return nil
					}
				}
				var stranger *foreignError
				if _, err := a.visit(t, "shop"); !errors.As(err, &stranger) {
					t.Errorf("error %v, want that it is not ours", err)
				}
				there := get(t, a.away, "", "shop-a", &corev1.Namespace{})
				if there.ResourceVersion != "1" {
					t.Errorf("it was written to: version %s", there.ResourceVersion)
				}
				missing(t, a.away, "shop-a", "liqo-twin", &rbacv1.RoleBinding{})
				entry := a.entry(t)
				if entry.Phase != v1beta1.MappingCreationLoopBackOff || entry.Reason != "CreationLoopBackOff" ||
					!strings.Contains(entry.Message, "namespace shop-a exists on cluster b and is not ours") {
					t.Errorf("entry %+v", entry)
				}
				// A pod that somebody put there may be deleted.
				if diff := cmp.Diff(heard{"gone shop"}, a.heard); diff != "" {
					t.Errorf("heard (-want,+got):\n%s", diff)
				}

				// The retry writes nothing, and when its owner removes it we take the name.
				a.home.forget()
				if _, err := a.visit(t, "shop"); err == nil || len(a.home.writes) > 0 {
					t.Errorf("error %v, writes %v", err, a.home.writes)
				}
				if err := a.away.Delete(t.Context(), there); err != nil {
					t.Fatal(err)
				}
				a.mustVisit(t, "shop")
				if diff := cmp.Diff(accepted("shop-a"), a.entry(t)); diff != "" {
					t.Errorf("after it was removed (-want,+got):\n%s", diff)
				}
			})
		}
	}
}

func TestTheRoleBindingOfATwin(t *testing.T) {
	tests := map[string]struct {
		change    func(*rbacv1.RoleBinding)
		wantRole  string
		wantError bool
	}{
		"deleted by hand": {wantRole: "liqo-twin"},
		"with other subjects": {
			change:   func(b *rbacv1.RoleBinding) { b.Subjects = nil },
			wantRole: "liqo-twin",
		},
		"to another role, but ours": {
			change:   func(b *rbacv1.RoleBinding) { b.RoleRef.Name = "view" },
			wantRole: "liqo-twin",
		},
		"to another role, and somebody's": {
			change:   func(b *rbacv1.RoleBinding) { b.RoleRef.Name, b.Labels = "view", nil },
			wantRole: "view", wantError: true,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			objects := []client.Object{twinOf("uid-1").Obj()}
			if tc.change != nil {
				binding := (&Twins{Origin: origin}).binding("shop-a")
				tc.change(binding)
				objects = append(objects, binding)
			}
			a := newAgent(t, wantShop(), objects...)
			_, err := a.visit(t, "shop")
			if (err != nil) != tc.wantError {
				t.Errorf("error %v", err)
			}
			if got := get(t, a.away, "shop-a", "liqo-twin", &rbacv1.RoleBinding{}).RoleRef.Name; got != tc.wantRole {
				t.Errorf("role %q, want %q", got, tc.wantRole)
			}
			if ready := slices.Contains(a.heard, "ready shop shop-a"); ready == tc.wantError {
				t.Errorf("heard %v", a.heard)
			}
		})
	}
}

func TestATwinDeletedByHandIsRebuilt(t *testing.T) {
	a := newAgent(t, wantShop())
	a.mustVisit(t, "shop")
	if err := a.away.Delete(t.Context(), twinOf("uid-1").Obj()); err != nil {
		t.Fatal(err)
	}
	a.mustVisit(t, "shop")
	get(t, a.away, "", "shop-a", &corev1.Namespace{})
	want := heard{"ready shop shop-a", "gone shop", "ready shop shop-a"}
	if diff := cmp.Diff(want, a.heard); diff != "" {
		t.Errorf("heard (-want,+got):\n%s", diff)
	}
}

func TestATwinBeingDeletedByOthersIsWaitedFor(t *testing.T) {
	twin := twinOf("uid-1").Obj()
	twin.Finalizers = []string{"example.com/hold"}
	a := newAgent(t, wantShop(), twin)
	a.mustVisit(t, "shop")
	if err := a.away.Delete(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	a.away.forget()
	result := a.mustVisit(t, "shop")
	wantAbout(t, retryTerminating, result)
	if len(a.away.writes) > 0 {
		t.Errorf("writes %v", a.away.writes)
	}
	if entry := a.entry(t); entry.Phase != v1beta1.MappingTerminating {
		t.Errorf("entry %+v", entry)
	}
	if a.heard[len(a.heard)-1] != "leaving shop" {
		t.Errorf("heard %v", a.heard)
	}
}

func TestATwinOfAnEarlierNamespaceGoesFirst(t *testing.T) {
	a := newAgent(t, wantShop(), twinOf("uid-0").Obj())
	a.mustVisit(t, "shop")
	missing(t, a.away, "", "shop-a", &corev1.Namespace{})
	if entry := a.entry(t); entry.Phase != v1beta1.MappingTerminating ||
		!strings.Contains(entry.Message, "earlier namespace") {
		t.Errorf("entry %+v", entry)
	}
	a.mustVisit(t, "shop")
	twin := get(t, a.away, "", "shop-a", &corev1.Namespace{})
	if got := twin.Annotations[v1beta1.AnnotationTwinHomeUID]; got != "uid-1" {
		t.Errorf("twin of %s", got)
	}
	if diff := cmp.Diff(heard{"leaving shop", "ready shop shop-a"}, a.heard); diff != "" {
		t.Errorf("heard (-want,+got):\n%s", diff)
	}
}

func TestAStaleCacheOfHomeDeletesNoTwin(t *testing.T) {
	a := newAgent(t, wantShop(), twinOf("uid-2").Obj())
	a.Live = newServer(t, build.Namespace("shop").UID("uid-2").Obj()) // the cache still shows uid-1
	result := a.mustVisit(t, "shop")
	get(t, a.away, "", "shop-a", &corev1.Namespace{})
	if len(a.away.writes) > 0 || result.RequeueAfter == 0 {
		t.Errorf("writes %v, result %+v", a.away.writes, result)
	}
}

func TestNoTwinWithoutAHomeNamespace(t *testing.T) {
	a := newAgent(t, []client.Object{build.Map("b").Want("shop", "shop-a").Obj()})
	a.mustVisit(t, "shop")
	if len(a.away.writes) > 0 {
		t.Errorf("writes %v", a.away.writes)
	}
	if entry := a.entry(t); !strings.Contains(entry.Message, "namespace shop does not exist at home") {
		t.Errorf("entry %+v", entry)
	}
}

func TestAMapDeletedByHandTakesNoTwin(t *testing.T) {
	a := newAgent(t, nil, twinOf("uid-1").Obj())
	a.strays = func(string) []string { return []string{"shop-a"} }
	a.mustVisit(t, "shop")
	get(t, a.away, "", "shop-a", &corev1.Namespace{})
}

func TestNamesThatNoProviderTakes(t *testing.T) {
	tests := map[string]struct{ twin, wantReason string }{
		"too long": {strings.Repeat("x", 64), "NameTooLong"},
		"reserved": {"kube-shop", "CreationLoopBackOff"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, []client.Object{build.Namespace("shop").Obj(), build.Map("b").Want("shop", tc.twin).Obj()})
			a.mustVisit(t, "shop")
			if entry := a.entry(t); entry.Reason != tc.wantReason || entry.Phase != v1beta1.MappingCreationLoopBackOff {
				t.Errorf("entry %+v", entry)
			}
			if len(a.away.writes) > 0 {
				t.Errorf("writes %v", a.away.writes)
			}
		})
	}
}

func TestAnEntryWrittenByHandIsCorrected(t *testing.T) {
	tests := map[string]struct {
		m    *build.MapBuilder
		want *v1beta1.TwinStatus
	}{
		"about nothing, not wanted": {m: build.Map("b").Has("shop", "", "")},
		"about nothing, wanted": {m: build.Map("b").Want("shop", "shop-a").Has("shop", "", ""),
			want: accepted("shop-a")},
		"about what cannot be": {m: build.Map("b").Has("shop", "../x", v1beta1.MappingAccepted)},
		"failed for no reason": {
			m:    build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingCreationLoopBackOff),
			want: accepted("shop-a"),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a := newAgent(t, []client.Object{build.Namespace("shop").UID("uid-1").Obj(), tc.m.Obj()})
			a.mustVisit(t, "shop")
			if diff := cmp.Diff(tc.want, a.entry(t)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}
