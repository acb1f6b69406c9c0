package namespacemap

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	metadatafake "k8s.io/client-go/metadata/fake"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/reflection/remote"
)

// queued returns what handle puts into a queue, sorted by its names.
func queued[T comparable](t *testing.T, name func(T) string,
	handle func(workqueue.TypedRateLimitingInterface[T])) []string {
	t.Helper()
	q := workqueue.NewTypedRateLimitingQueue(backoff[T]())
	defer q.ShutDown()
	handle(q)
	return drained(q, name)
}

// drained takes out what is in a queue.
func drained[T comparable](q workqueue.TypedRateLimitingInterface[T], name func(T) string) []string {
	var names []string
	for q.Len() > 0 {
		item, _ := q.Get()
		names = append(names, name(item))
		q.Done(item)
	}
	slices.Sort(names)
	return names
}

func homeOfKey(k TwinKey) string { return k.Home }

func TestTheAgentHearsOnlyOfItsOwnMap(t *testing.T) {
	agent := &Twins{Origin: origin, ClusterID: "b"}
	elsewhere := build.Map("b").Want("bank", "bank-a").Obj()
	elsewhere.Namespace = "liqo-tenant-z"
	tests := map[string]struct {
		before, after *v1beta1.NamespaceMap
		want          []string
	}{
		"a key more": {
			before: build.Map("b").Want("shop", "shop-a").Obj(),
			after:  build.Map("b").Want("shop", "shop-a").Want("bank", "bank-a").Obj(), want: []string{"bank"},
		},
		"another provider's": {before: build.Map("c").Obj(), after: build.Map("c").Want("bank", "bank-a").Obj()},
		"in another place":   {before: elsewhere, after: elsewhere},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := queued(t, homeOfKey, func(q workqueue.TypedRateLimitingInterface[TwinKey]) {
				agent.mapEvents().Update(t.Context(), event.TypedUpdateEvent[*v1beta1.NamespaceMap]{
					ObjectOld: tc.before, ObjectNew: tc.after,
				}, q)
			})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
	for what, handle := range map[string]func(workqueue.TypedRateLimitingInterface[TwinKey]){
		"at its start": func(q workqueue.TypedRateLimitingInterface[TwinKey]) {
			agent.mapEvents().Create(t.Context(), event.TypedCreateEvent[*v1beta1.NamespaceMap]{
				Object: build.Map("b").Want("shop", "shop-a").Obj()}, q)
		},
		"when the map goes": func(q workqueue.TypedRateLimitingInterface[TwinKey]) {
			agent.mapEvents().Delete(t.Context(), event.TypedDeleteEvent[*v1beta1.NamespaceMap]{
				Object: build.Map("b").Want("shop", "shop-a").Obj()}, q)
		},
	} {
		if diff := cmp.Diff([]string{"shop"}, queued(t, homeOfKey, handle)); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", what, diff)
		}
	}
}

func TestANewMapBringsTheAgentBackToAllItHasOnTheProvider(t *testing.T) {
	agent := &Twins{Origin: origin, ClusterID: "b"}
	index := agent.informer(metadatafake.NewSimpleMetadataClient(metadatafake.NewTestScheme())).GetIndexer()
	agent.homes = func() []string { return index.ListIndexFuncValues(byHome) }
	second := twinOf("uid-1").Obj()
	second.Name = "boutique"
	tenant := build.Namespace("liqo-tenant-a").Obj()
	for _, namespace := range []*corev1.Namespace{twinOf("uid-1").Obj(), second, tenant} {
		if err := index.Add(namespace); err != nil {
			t.Fatal(err)
		}
	}
	created := func(m *v1beta1.NamespaceMap) []string {
		return queued(t, homeOfKey, func(q workqueue.TypedRateLimitingInterface[TwinKey]) {
			agent.mapEvents().Create(t.Context(), event.TypedCreateEvent[*v1beta1.NamespaceMap]{Object: m}, q)
		})
	}
	if diff := cmp.Diff([]string{"bank", "shop"}, created(build.Map("b").Want("bank", "bank-a").Obj())); diff != "" {
		t.Errorf("its own map (-want,+got):\n%s", diff)
	}
	if got := created(build.Map("c").Obj()); len(got) > 0 {
		t.Errorf("another provider's map: %v", got)
	}
}

func TestWhatFailedIsTriedWhenTheProviderAnswersAgain(t *testing.T) {
	var answers func()
	retries := remote.NewRetries(backoff[TwinKey]())
	retries.When(TwinKey{Home: "shop"})
	got := queued(t, homeOfKey, func(q workqueue.TypedRateLimitingInterface[TwinKey]) {
		agent := &Twins{OnRecovery: func(f func()) { answers = f }}
		if err := agent.recovery(retries).Start(t.Context(), q); err != nil {
			t.Fatal(err)
		}
		if q.Len() > 0 {
			t.Error("it is tried before the provider answers")
		}
		answers()
	})
	if diff := cmp.Diff([]string{"shop"}, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestTheAgentHearsOfNewIncarnationsAtHome(t *testing.T) {
	namespace := func(uid string) *metav1.PartialObjectMetadata {
		n := namespaceMeta("shop")
		n.UID = build.Namespace("shop").UID(uid).Obj().UID
		return n
	}
	update := func(before, after string) []string {
		return queued(t, homeOfKey, func(q workqueue.TypedRateLimitingInterface[TwinKey]) {
			homeEvents().Update(t.Context(), event.TypedUpdateEvent[*metav1.PartialObjectMetadata]{
				ObjectOld: namespace(before), ObjectNew: namespace(after),
			}, q)
		})
	}
	if got := update("1", "1"); len(got) > 0 {
		t.Errorf("the same namespace: %v", got)
	}
	if diff := cmp.Diff([]string{"shop"}, update("1", "2")); diff != "" {
		t.Errorf("another one (-want,+got):\n%s", diff)
	}
	created := queued(t, homeOfKey, func(q workqueue.TypedRateLimitingInterface[TwinKey]) {
		created := event.TypedCreateEvent[*metav1.PartialObjectMetadata]{Object: namespace("1")}
		homeEvents().Create(t.Context(), created, q)
	})
	if diff := cmp.Diff([]string{"shop"}, created); diff != "" {
		t.Errorf("a new one (-want,+got):\n%s", diff)
	}
}

func TestHomeOf(t *testing.T) {
	tests := map[string]struct {
		object any
		want   string
	}{
		"a twin": {twinOf("uid-1").Obj(), "shop"},
		"a twin whose deletion was missed": {cache.DeletedFinalStateUnknown{Key: "shop-a",
			Obj: twinOf("uid-1").Obj()}, "shop"},
		"the tenant namespace, which is no twin": {
			build.Namespace("liqo-tenant-a").Label(v1beta1.LabelRemoteClusterID, origin).Obj(), "",
		},
		"something else": {"shop", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := homeOf(tc.object); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestMarked(t *testing.T) {
	agent := &Twins{Origin: origin, ClusterID: "b"}
	index := agent.informer(metadatafake.NewSimpleMetadataClient(metadatafake.NewTestScheme())).GetIndexer()
	for _, namespace := range []*corev1.Namespace{twinOf("uid-1").Obj(), build.Namespace("liqo-tenant-a").Obj()} {
		if err := index.Add(namespace); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"shop-a"}, marked(index, "shop")); diff != "" {
		t.Errorf("shop (-want,+got):\n%s", diff)
	}
	if got := marked(index, "bank"); len(got) > 0 {
		t.Errorf("bank: %v", got)
	}
}

func TestANewMapIsNewToEverybody(t *testing.T) {
	h := newHome(t, build.Offloading("shop").Obj(), build.Offloading("bank").Obj())
	nameOf := func(r reconcile.Request) string { return r.Namespace }
	got := queued(t, nameOf, func(q requestQueue) {
		h.offloadings.mapEvents().Create(t.Context(),
			event.CreateEvent{Object: build.Map("b").Has("lost", "lost-a", "").Obj()}, q)
	})
	if diff := cmp.Diff([]string{"bank", "lost", "shop"}, got); diff != "" {
		t.Errorf("created (-want,+got):\n%s", diff)
	}
	got = queued(t, nameOf, func(q requestQueue) {
		h.offloadings.mapEvents().Update(t.Context(), event.UpdateEvent{
			ObjectOld: build.Map("b").Want("shop", "shop-a").Obj(),
			ObjectNew: build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj(),
		}, q)
	})
	if diff := cmp.Diff([]string{"shop"}, got); diff != "" {
		t.Errorf("changed (-want,+got):\n%s", diff)
	}
}

func TestPredicates(t *testing.T) {
	virtual := func(generation int64, message string) *v1beta1.VirtualNode {
		v := build.VirtualNode("b-1", "b")
		v.Generation = generation
		v.Status.Conditions = []v1beta1.VirtualNodeCondition{{Type: v1beta1.NodeCondition, Message: message}}
		return v
	}
	leaving := virtual(1, "")
	leaving.DeletionTimestamp = &metav1.Time{Time: morning}
	going := build.Namespace("shop").Obj()
	going.DeletionTimestamp = &metav1.Time{Time: morning}
	tests := map[string]struct {
		before, after client.Object
		want          bool
	}{
		"a virtual node's status":   {virtual(1, ""), virtual(1, "busy"), false},
		"a virtual node's labels":   {virtual(1, ""), virtual(2, ""), true},
		"a virtual node is deleted": {virtual(1, ""), leaving, true},
		"a namespace's annotation": {build.Namespace("shop").Obj(),
			build.Namespace("shop").Annotation("a", "b").Obj(), false},
		"a namespace's label": {build.Namespace("shop").Label("a", "b").Obj(),
			build.Namespace("shop").Obj(), true},
		"a namespace is deleted": {build.Namespace("shop").Obj(), going, true},
		"a namespace of another lifetime": {build.Namespace("shop").UID("1").Obj(),
			build.Namespace("shop").UID("2").Obj(), true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			accept := namespaceChanged()
			if _, ok := tc.before.(*v1beta1.VirtualNode); ok {
				accept = candidateChanged()
			}
			if got := accept.Update(event.UpdateEvent{ObjectOld: tc.before, ObjectNew: tc.after}); got != tc.want {
				t.Errorf("passed: %v, want %v", got, tc.want)
			}
		})
	}
}

func TestBackoffIsCappedAndHasNoCommonBucket(t *testing.T) {
	limiter := backoff[string]()
	if first := limiter.When("shop"); first != minBackoff {
		t.Errorf("first retry after %v", first)
	}
	var last time.Duration
	for range 50 {
		last = limiter.When("shop")
	}
	if last != maxBackoff {
		t.Errorf("50th retry after %v", last)
	}
	for i := range 1000 { // a bucket of 10 a second would be empty after the first hundred
		if wait := limiter.When(string(rune('a' + i))); wait != minBackoff {
			t.Fatalf("item %d waits for %v because of the others", i, wait)
		}
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	a := newAgent(t, wantShop())
	a.Metrics = metrics
	a.mustVisit(t, "shop")
	for _, operation := range []string{"create", "bind"} {
		if got := testutil.ToFloat64(metrics.calls.WithLabelValues(operation, "ok")); got != 1 {
			t.Errorf("%s: %v", operation, got)
		}
	}
	metrics.count("delete", refused(1))
	metrics.count("delete", apierrors.NewConflict(schema.GroupResource{}, "x", nil))
	made := apierrors.NewConflict(schema.GroupResource{}, "x", nil)
	made.ErrStatus.Reason = "MadeUpByAWebhook"
	metrics.count("delete", fmt.Errorf("so: %w", made))
	for _, result := range []string{"Unreachable", "Conflict", "Other"} {
		if got := testutil.ToFloat64(metrics.calls.WithLabelValues("delete", result)); got != 1 {
			t.Errorf("%s: %v", result, got)
		}
	}
	if _, err := NewMetrics(registry); err == nil {
		t.Error("registered twice")
	}
}

func TestCacheOptions(t *testing.T) {
	options, err := CacheOptions()
	if err != nil {
		t.Fatal(err)
	}
	selectors := map[string]string{}
	for object, by := range options {
		if by.Label != nil {
			switch object.(type) {
			case *corev1.Node:
				selectors["nodes"] = by.Label.String()
			default:
				selectors["others"] = by.Label.String()
			}
		}
	}
	want := map[string]string{"nodes": "liqo.io/type=virtual-node", "others": "liqo.io/remote-cluster-id"}
	if diff := cmp.Diff(want, selectors); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}
