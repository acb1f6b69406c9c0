package namespacemap

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestChangedKeys(t *testing.T) {
	worse := build.Map("b").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj()
	worse.Status.CurrentMapping["shop"] = v1beta1.TwinStatus{
		RemoteNamespace: "shop-a", Phase: v1beta1.MappingAccepted, Message: "because",
	}
	tests := map[string]struct {
		before, after *v1beta1.NamespaceMap
		want          []string
	}{
		"a new map: all its namespaces, each once": {
			after: build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).
				Has("old", "old-a", v1beta1.MappingTerminating).Want("new", "new-a").Obj(),
			want: []string{"new", "old", "shop"},
		},
		"a map that went: all its namespaces": {
			before: build.Map("b").Want("shop", "shop-a").Has("old", "old-a", v1beta1.MappingAccepted).Obj(),
			want:   []string{"old", "shop"},
		},
		"nothing changed": {
			before: build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj(),
			after:  build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj(),
		},
		"one of two got its answer": {
			before: build.Map("b").Want("shop", "shop-a").Want("bank", "bank-a").Obj(),
			after: build.Map("b").Want("shop", "shop-a").Want("bank", "bank-a").Has("shop", "shop-a",
				v1beta1.MappingAccepted).Obj(),
			want: []string{"shop"},
		},
		"a key went": {
			before: build.Map("b").Want("shop", "shop-a").Want("bank", "bank-a").Obj(),
			after:  build.Map("b").Want("bank", "bank-a").Obj(), want: []string{"shop"},
		},
		"a key was changed": {
			before: build.Map("b").Want("shop", "shop-a").Obj(),
			after:  build.Map("b").Want("shop", "other").Obj(), want: []string{"shop"},
		},
		"only the message changed": {
			before: build.Map("b").Has("shop", "shop-a",
				v1beta1.MappingAccepted).Obj(), after: worse, want: []string{"shop"},
		},
		"neither": {},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := changedKeys(tc.before, tc.after)
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestKeysOfOneMapDoNotFight(t *testing.T) {
	home := newServer(t, build.Map("b").Want("bank", "bank-a").Obj())
	m := mapOf(t, home, "b")
	key := m.Namespace + "/" + m.Name
	for namespace, twin := range map[string]string{"shop": "shop-a", "bank": ""} {
		ask(t, home, "b", namespace, twin)
	}
	if diff := cmp.Diff(map[string]string{"shop": "shop-a"}, mapOf(t, home, "b").Spec.DesiredMapping); diff != "" {
		t.Errorf("map %s (-want,+got):\n%s", key, diff)
	}
}

func TestAnEntryIsReplacedAsAWhole(t *testing.T) {
	home := newServer(t, build.Map("b").Has("bank", "bank-a", v1beta1.MappingAccepted).Obj())
	answer(t, home, "b", "shop", &v1beta1.TwinStatus{
		RemoteNamespace: "shop-a", Phase: v1beta1.MappingCreationLoopBackOff, Reason: "PermissionDenied", Message: "no",
	})
	answer(t, home, "b", "shop", accepted("shop-a"))
	want := map[string]v1beta1.TwinStatus{"shop": *accepted("shop-a"), "bank": *accepted("bank-a")}
	if diff := cmp.Diff(want, mapOf(t, home, "b").Status.CurrentMapping); diff != "" {
		t.Errorf("the old reason stayed (-want,+got):\n%s", diff)
	}
	answer(t, home, "b", "shop", nil)
	delete(want, "shop")
	if diff := cmp.Diff(want, mapOf(t, home, "b").Status.CurrentMapping); diff != "" {
		t.Errorf("removal (-want,+got):\n%s", diff)
	}
}

func TestMapViewNeverFallsBehindOurOwnWrites(t *testing.T) {
	at := func(version string, m *build.MapBuilder) *v1beta1.NamespaceMap {
		obj := m.Obj()
		obj.ResourceVersion, obj.UID = version, "uid-1"
		return obj
	}
	ours := at("20", build.Map("b").Want("shop", "shop-a"))
	reborn := at("10", build.Map("b"))
	reborn.UID = "uid-2"
	tests := map[string]struct {
		cached, written *v1beta1.NamespaceMap
		want            string
	}{
		"nothing written":              {cached: at("5", build.Map("b")), want: "5"},
		"the cache is behind":          {cached: at("19", build.Map("b")), written: ours, want: "20"},
		"the cache caught up":          {cached: at("20", build.Map("b")), written: ours, want: "20"},
		"the cache is ahead":           {cached: at("100", build.Map("b")), written: ours, want: "100"},
		"the map was made anew":        {cached: reborn, written: ours, want: "10"},
		"versions are compared by age": {cached: at("9", build.Map("b")), written: ours, want: "20"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			view := &mapView{}
			if tc.written != nil {
				view.wrote(tc.written)
				view.wrote(at("2", build.Map("b"))) // an answer that was overtaken
			}
			written := view.written()[client.ObjectKeyFromObject(tc.cached)]
			if got := view.newest(tc.cached, written).ResourceVersion; got != tc.want {
				t.Errorf("version %s, want %s", got, tc.want)
			}
		})
	}
}

// overtaken is a cache that catches up right after it was read, while somebody else looks at it as well.
type overtaken struct {
	client.Client
	view        *mapView
	before, now *v1beta1.NamespaceMap
}

func (o overtaken) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	o.before.DeepCopyInto(object.(*v1beta1.NamespaceMap))
	return o.another()
}

func (o overtaken) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	list.(*v1beta1.NamespaceMapList).Items = []v1beta1.NamespaceMap{*o.before}
	return o.another()
}

func (o overtaken) another() error {
	o.view.newest(o.now, o.view.written()[client.ObjectKeyFromObject(o.now)])
	return nil
}

func TestMapViewMayBeOvertakenWhileItReads(t *testing.T) {
	at := func(version string) *v1beta1.NamespaceMap {
		m := build.Map("b").Obj()
		m.ResourceVersion = version
		return m
	}
	for name, read := range map[string]func(v *mapView, c client.Client) (*v1beta1.NamespaceMap, error){
		"one map": func(v *mapView, c client.Client) (*v1beta1.NamespaceMap, error) {
			return v.get(t.Context(), c, shopMap)
		},
		"all maps": func(v *mapView, c client.Client) (*v1beta1.NamespaceMap, error) {
			all, err := v.list(t.Context(), c)
			return all["b"], err
		},
	} {
		t.Run(name, func(t *testing.T) {
			view := &mapView{}
			view.wrote(at("20"))
			got, err := read(view, overtaken{view: view, before: at("10"), now: at("21")})
			if err != nil || got.ResourceVersion != "20" {
				t.Errorf("version %s, which is before our own write; error %v", got.ResourceVersion, err)
			}
			if left := view.written(); len(left) > 0 {
				t.Errorf("kept for ever: %v", left)
			}
		})
	}
}

func TestMapViewListsOnlyMapsInTheirPlace(t *testing.T) {
	stray := build.Map("c").Obj()
	stray.Namespace = "shop"
	home := newServer(t, build.Map("b").Obj(), stray)
	got, err := (&mapView{}).list(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got["b"] == nil {
		t.Errorf("maps of %v, want that of b only", got)
	}
}

// staleMaps is a cache that does not see what happens to maps.
type staleMaps struct {
	client.Client
	m *v1beta1.NamespaceMap
}

func (s staleMaps) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if m, ok := o.(*v1beta1.NamespaceMap); ok {
		s.m.DeepCopyInto(m)
		return nil
	}
	return s.Client.Get(ctx, key, o, opts...)
}

func TestAnAgentAnswersOnceHoweverOldItsCacheIs(t *testing.T) {
	a := newAgent(t, wantShop())
	a.Home = staleMaps{a.home, mapOf(t, a.home, "b")}
	for range 3 { // the twin's own events bring it back
		a.mustVisit(t, "shop")
	}
	if got := len(a.home.writes); got != 1 {
		t.Errorf("writes %v, want one answer", a.home.writes)
	}
}

// empty is a cache that has no namespaces yet.
type empty struct{ client.Client }

func (e empty) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, ok := o.(*metav1.PartialObjectMetadata); ok {
		return apierrors.NewNotFound(corev1.Resource("namespaces"), key.Name)
	}
	return e.Client.Get(ctx, key, o, opts...)
}

func TestANamespaceTooNewForTheCacheIsNotTakenForMissing(t *testing.T) {
	a := newAgent(t, wantShop())
	a.Home = empty{a.home}
	a.mustVisit(t, "shop")
	if diff := cmp.Diff(accepted("shop-a"), a.entry(t)); diff != "" {
		t.Errorf("entry (-want,+got):\n%s", diff)
	}
}
