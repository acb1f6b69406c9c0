package namespacemap

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/twinspace/twinspace/api/v1beta1"
)

const (
	// gather is how long a change of what stands in the way waits for others: what goes wrong with one object often
	// goes wrong with many.
	gather = 2 * time.Second
	// retryUnknown is when a report is looked at again that an earlier agent left, and that nobody can confirm yet.
	retryUnknown = 30 * time.Second
	// aboutPolicies is the key of work that concerns no namespace.
	aboutPolicies = ""
)

// Reflection is what [Reports] asks about reflection.
type Reflection interface {
	// Problems returns the objects of a home namespace that cannot be reflected as they should be, sorted.
	Problems(home string) []v1beta1.ReflectionProblem
	// Settled says that everything in a home namespace was looked at since the start, so that there are no more
	// problems than those that Problems returns.
	Settled(home string) bool
	// Policies returns which objects of which kinds are reflected: resource -> policy.
	Policies() map[string]string
}

// Reports says at home, in the provider's NamespaceMap, what stands in the way of reflection. It runs in the agent. It
// writes once per real change; what an agent before it has said stays until it is known better.
type Reports struct {
	// Home reads NamespaceMaps from caches.
	Home client.Client
	// ClusterID is the provider's.
	ClusterID  string
	Reflection Reflection

	views   mapView
	commits groupCommit

	mu    sync.Mutex
	queue twinQueue // of the running controller
}

// Changed says that the problems of a home namespace may have changed. It does not block.
func (r *Reports) Changed(home string) { r.enqueue(home) }

// PoliciesChanged says that other kinds may be reflected than before. It does not block.
func (r *Reports) PoliciesChanged() { r.enqueue(aboutPolicies) }

func (r *Reports) enqueue(home string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.queue != nil { // or else everything is looked at when it is there
		r.queue.AddAfter(TwinKey{Home: home}, gather)
	}
}

// Reconcile brings what the map says of one namespace up to date.
func (r *Reports) Reconcile(ctx context.Context, key TwinKey) (reconcile.Result, error) {
	name := client.ObjectKey{Namespace: v1beta1.TenantNamespace(r.ClusterID), Name: r.ClusterID}
	m, err := r.views.get(ctx, r.Home, name)
	switch {
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, nil // a new one brings us back
	case err != nil:
		return reconcile.Result{}, err
	case key.Home == aboutPolicies:
		return reconcile.Result{}, r.policies(ctx, m)
	}
	have := reportIn(m, key.Home)
	want, again := r.wanted(m, key.Home, have)
	if sameReport(have, want) {
		return reconcile.Result{RequeueAfter: again}, nil
	}
	now, err := r.commits.setReport(ctx, r.Home, name, key.Home, want)
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r.views.wrote(now)
	return reconcile.Result{RequeueAfter: again}, nil
}

// wanted returns what the map shall say of a namespace, and when to look again if nobody can tell yet.
func (r *Reports) wanted(m *v1beta1.NamespaceMap, home string, have *v1beta1.ReflectionReport,
) (*v1beta1.ReflectionReport, time.Duration) {
	entry := entryOf(m, home)
	if entry == nil || entry.Phase != v1beta1.MappingAccepted {
		return nil, 0
	}
	settled := r.Reflection.Settled(home) // asked first: what it speaks of is in the answer to the next question
	problems := r.Reflection.Problems(home)
	if settled || have == nil {
		return reportOf(home, problems, reportLimit(m)), 0
	}
	want := reportOf(home, union(problems, have.Problems), reportLimit(m))
	if want == nil {
		want = &v1beta1.ReflectionReport{}
	}
	want.More = max(want.More, have.More)
	return want, retryUnknown
}

// union returns the problems of both, each object's once, as the first says it, sorted.
func union(first, second []v1beta1.ReflectionProblem) []v1beta1.ReflectionProblem {
	all := slices.Clone(first)
	for _, problem := range second {
		same := func(p v1beta1.ReflectionProblem) bool { return subject(p) == subject(problem) }
		if !slices.ContainsFunc(first, same) {
			all = append(all, problem)
		}
	}
	slices.SortFunc(all, func(a, b v1beta1.ReflectionProblem) int {
		return cmp.Or(strings.Compare(a.Resource, b.Resource), strings.Compare(a.Name, b.Name))
	})
	return all
}

// policies publishes what is reflected.
func (r *Reports) policies(ctx context.Context, m *v1beta1.NamespaceMap) error {
	want, have := r.Reflection.Policies(), m.Status.ReflectionPolicies
	if maps.Equal(want, have) {
		return nil
	}
	changes := map[string]any{}
	for resource := range have {
		changes[resource] = nil
	}
	for resource, policy := range want {
		changes[resource] = policy
	}
	data, err := json.Marshal(map[string]any{"status": map[string]any{"reflectionPolicies": changes}})
	if err != nil {
		return fmt.Errorf("encode policies of reflection: %w", err)
	}
	now := &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name}}
	err = r.Home.Status().Patch(ctx, now, client.RawPatch(types.MergePatchType, data))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("patch policies of reflection in namespace map %s: %w", m.Name, err)
	}
	if err == nil {
		r.views.wrote(now)
	}
	return nil
}

// setReport writes one key of a map's reflection; nil removes it. It returns the map as it is now.
func (g *groupCommit) setReport(ctx context.Context, c client.Client, m client.ObjectKey, home string,
	report *v1beta1.ReflectionReport,
) (*v1beta1.NamespaceMap, error) {
	var value any
	if report != nil {
		// What is empty is written as null, or the merge would keep what was there.
		parts := map[string]any{"problems": nil, "more": nil}
		if len(report.Problems) > 0 {
			parts["problems"] = report.Problems
		}
		if report.More > 0 {
			parts["more"] = report.More
		}
		value = parts
	}
	return g.write(ctx, c, place{m, reportHalf}, home, value)
}

// SetupWithManager runs the reconciler in a manager, on its leader.
func (r *Reports) SetupWithManager(mgr manager.Manager) error {
	options := queueOptions[TwinKey](twinWorkers)
	options.Reconciler = r
	c, err := controller.NewTyped("reports-"+r.ClusterID, mgr, options)
	if err != nil {
		return fmt.Errorf("set up reports: %w", err)
	}
	changes := source.TypedFunc[TwinKey](func(_ context.Context, q twinQueue) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.queue = q
		return nil
	})
	stored := source.TypedKind(mgr.GetCache(), &v1beta1.NamespaceMap{}, r.mapEvents())
	for _, s := range []source.TypedSource[TwinKey]{changes, stored} {
		if err := c.Watch(s); err != nil {
			return fmt.Errorf("watch for reports: %w", err)
		}
	}
	return nil
}

// mapEvents enqueues what may be said wrongly in a map that is new, or that somebody else has changed.
func (r *Reports) mapEvents() handler.TypedEventHandler[*v1beta1.NamespaceMap, TwinKey] {
	mine := func(m *v1beta1.NamespaceMap) bool {
		return m.Name == r.ClusterID && m.Namespace == v1beta1.TenantNamespace(r.ClusterID)
	}
	return handler.TypedFuncs[*v1beta1.NamespaceMap, TwinKey]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1beta1.NamespaceMap], q twinQueue) {
			if !mine(e.Object) {
				return
			}
			q.AddAfter(TwinKey{Home: aboutPolicies}, gather) // custom resources are looked for first
			homes := sets.KeySet(e.Object.Status.CurrentMapping).Union(sets.KeySet(e.Object.Status.Reflection))
			for home := range homes {
				q.Add(TwinKey{Home: home})
			}
		},
		UpdateFunc: func(_ context.Context, e event.TypedUpdateEvent[*v1beta1.NamespaceMap], q twinQueue) {
			if !mine(e.ObjectNew) {
				return
			}
			for _, home := range misreported(e.ObjectOld, e.ObjectNew) {
				q.Add(TwinKey{Home: home})
			}
		},
	}
}

// misreported returns the keys of what may be said wrongly after a change of the map.
func misreported(before, after *v1beta1.NamespaceMap) []string {
	homes := sets.New(changedReports(before, after)...).Insert(changedKeys(before, after)...)
	if len(after.Status.Reflection) > 0 && reportLimit(before) != reportLimit(after) {
		homes = homes.Union(sets.KeySet(after.Status.Reflection))
	}
	if !maps.Equal(before.Status.ReflectionPolicies, after.Status.ReflectionPolicies) {
		homes.Insert(aboutPolicies)
	}
	return sets.List(homes)
}
