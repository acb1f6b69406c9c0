package namespacemap

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// engine is a reflection whose state the test decides.
type engine struct {
	problems []v1beta1.ReflectionProblem
	settling bool
	policies map[string]string
}

func (e *engine) Problems(string) []v1beta1.ReflectionProblem { return e.problems }
func (e *engine) Settled(string) bool                         { return !e.settling }
func (e *engine) Policies() map[string]string                 { return e.policies }

// reporting is an agent that reports to its API server.
type reporting struct {
	*server
	*engine
	reports *Reports
}

func newReporting(t *testing.T, objects ...client.Object) *reporting {
	t.Helper()
	r := &reporting{server: newServer(t, objects...), engine: &engine{}}
	r.reports = &Reports{Home: r.server, ClusterID: "b", Reflection: r.engine}
	return r
}

// look looks at a namespace once, which may not fail, and returns what the map says then.
func (r *reporting) look(t *testing.T, home string) (*v1beta1.ReflectionReport, reconcile.Result) {
	t.Helper()
	result, err := r.reports.Reconcile(t.Context(), TwinKey{Home: home})
	if err != nil {
		t.Fatal(err)
	}
	return reportIn(mapOf(t, r, "b"), home), result
}

// withShop is the map of a provider that has shop's twin.
func withShop() *v1beta1.NamespaceMap {
	return build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj()
}

func reported(m *v1beta1.NamespaceMap, home string, report v1beta1.ReflectionReport) *v1beta1.NamespaceMap {
	m = m.DeepCopy()
	if m.Status.Reflection == nil {
		m.Status.Reflection = map[string]v1beta1.ReflectionReport{}
	}
	m.Status.Reflection[home] = report
	return m
}

func TestAReportIsWrittenOnceForEachChange(t *testing.T) {
	r := newReporting(t, withShop())
	for _, step := range []struct {
		what     string
		problems []v1beta1.ReflectionProblem
		want     *v1beta1.ReflectionReport
		writes   int
	}{
		{"all is well", nil, nil, 0},
		{"a problem", many(1, "too large"), &v1beta1.ReflectionReport{Problems: many(1, "too large")}, 1},
		{"the same problem", many(1, "too large"), &v1beta1.ReflectionReport{Problems: many(1, "too large")}, 0},
		{"more than can be listed", many(18, ""), &v1beta1.ReflectionReport{Problems: many(16, ""), More: 2}, 1},
		{"fewer", many(2, ""), &v1beta1.ReflectionReport{Problems: many(2, "")}, 1},
		{"all is well again", nil, nil, 1},
	} {
		r.problems = step.problems
		r.forget()
		got, _ := r.look(t, "shop")
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", step.what, diff)
		}
		if len(r.writes) != step.writes {
			t.Errorf("%s: writes %v, want %d", step.what, r.writes, step.writes)
		}
	}
	if diff := cmp.Diff(withShop().Status, mapOf(t, r, "b").Status); diff != "" {
		t.Errorf("what others say was touched (-want,+got):\n%s", diff)
	}
}

func TestWhatAnEarlierAgentSaidStaysUntilItIsKnownBetter(t *testing.T) {
	old, first := problem("configmaps", "old", "Refused", "then"), problem("services", "web", "Conflict", "now")
	r := newReporting(t, reported(withShop(), "shop",
		v1beta1.ReflectionReport{Problems: []v1beta1.ReflectionProblem{old}, More: 2}))
	r.settling = true
	got, result := r.look(t, "shop")
	if len(r.writes) > 0 || result.RequeueAfter != retryUnknown {
		t.Errorf("it is not known yet: writes %v, again after %v: %+v", r.writes, result.RequeueAfter, got)
	}
	r.problems = []v1beta1.ReflectionProblem{first}
	got, _ = r.look(t, "shop")
	want := &v1beta1.ReflectionReport{Problems: []v1beta1.ReflectionProblem{old, first}, More: 2}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the first that is known (-want,+got):\n%s", diff)
	}
	first.Message = "still"
	r.problems = []v1beta1.ReflectionProblem{first}
	got, _ = r.look(t, "shop")
	want.Problems[1].Message = "still"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the same object's problem twice (-want,+got):\n%s", diff)
	}
	r.settling = false
	got, result = r.look(t, "shop")
	want = &v1beta1.ReflectionReport{Problems: []v1beta1.ReflectionProblem{first}}
	if diff := cmp.Diff(want, got); diff != "" || result.RequeueAfter != 0 {
		t.Errorf("all is known; again after %v (-want,+got):\n%s", result.RequeueAfter, diff)
	}
}

func TestOfATwinThatIsNotThereNothingIsReported(t *testing.T) {
	old := v1beta1.ReflectionReport{Problems: many(1, "then")}
	for name, m := range map[string]*build.MapBuilder{
		"it leaves":         build.Map("b").Has("shop", "shop-a", v1beta1.MappingTerminating),
		"it cannot be made": build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", "CreationLoopBackOff"),
		"it is gone":        build.Map("b"),
	} {
		t.Run(name, func(t *testing.T) {
			r := newReporting(t, reported(m.Obj(), "shop", old))
			r.problems, r.settling = many(2, "late"), true
			if got, _ := r.look(t, "shop"); got != nil {
				t.Errorf("report %+v", got)
			}
		})
	}
}

func TestAReportIsShorterInACrowdedMap(t *testing.T) {
	m := withShop()
	for i := range crowd {
		m.Spec.DesiredMapping[many(crowd, "")[i].Name+"-ns"] = "x"
		if i > 800 {
			break
		}
	}
	r := newReporting(t, m)
	r.problems = many(16, "words of a reasonable length")
	got, _ := r.look(t, "shop")
	if len(got.Problems) >= 16 || len(got.Problems) == 0 || int(got.More) != 16-len(got.Problems) {
		t.Errorf("report %+v", got)
	}
}

func TestPoliciesArePublishedOnce(t *testing.T) {
	r := newReporting(t, withShop())
	for _, step := range []struct {
		policies map[string]string
		writes   int
	}{
		{map[string]string{"secrets": "Referenced", "configmaps": "DenyList"}, 1},
		{map[string]string{"secrets": "Referenced", "configmaps": "DenyList"}, 0},
		{map[string]string{"secrets": "None"}, 1},
	} {
		r.forget()
		r.policies = step.policies
		r.look(t, aboutPolicies)
		if diff := cmp.Diff(step.policies, mapOf(t, r, "b").Status.ReflectionPolicies); diff != "" {
			t.Errorf("(-want,+got):\n%s", diff)
		}
		if len(r.writes) != step.writes {
			t.Errorf("writes %v, want %d", r.writes, step.writes)
		}
	}
}

func TestReportsThatCannotBeWrittenAreTriedAgain(t *testing.T) {
	r := newReporting(t, withShop())
	r.problems, r.policies = many(1, ""), map[string]string{"secrets": "None"}
	r.before = func(string, client.Object) error { return errors.New("not now") }
	for _, home := range []string{"shop", aboutPolicies} {
		if _, err := r.reports.Reconcile(t.Context(), TwinKey{Home: home}); err == nil {
			t.Errorf("%q: no error", home)
		}
	}
	gone := newReporting(t)
	gone.problems = many(1, "")
	if _, err := gone.reports.Reconcile(t.Context(), TwinKey{Home: "shop"}); err != nil || len(gone.writes) > 0 {
		t.Errorf("without a map: %v, writes %v", err, gone.writes)
	}
}

func TestWhatAMapSaysWronglyIsLookedAtAgain(t *testing.T) {
	small := v1beta1.ReflectionReport{More: 1}
	crowded := reported(withShop(), "shop", small)
	for i := range 300 {
		crowded.Spec.DesiredMapping[many(300, "")[i].Name] = "x"
	}
	published := withShop()
	published.Status.ReflectionPolicies = map[string]string{"secrets": "None"}
	tests := map[string]struct {
		before, after *v1beta1.NamespaceMap
		want          []string
	}{
		"somebody edited a report": {
			reported(withShop(), "shop", v1beta1.ReflectionReport{}), reported(withShop(), "shop", small),
			[]string{"shop"},
		},
		"somebody removed a report": {reported(withShop(), "shop", small), withShop(), []string{"shop"}},
		"a twin was accepted": {
			build.Map("b").Want("shop", "shop-a").Obj(), withShop(), []string{"shop"},
		},
		"somebody edited what is reflected": {published, withShop(), []string{aboutPolicies}},
		"nothing changed":                   {withShop(), withShop(), nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := queued(t, homeOfKey, func(q workqueue.TypedRateLimitingInterface[TwinKey]) {
				newReporting(t).reports.mapEvents().Update(t.Context(), event.TypedUpdateEvent[*v1beta1.NamespaceMap]{
					ObjectOld: tc.before, ObjectNew: tc.after,
				}, q)
			})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
	if got := misreported(reported(withShop(), "shop", small), crowded); len(got) != 301 || got[300] != "shop" {
		t.Errorf("a map became crowded: %v", got)
	}
}

func TestAtItsStartAnAgentLooksAtAllReportsOfItsOwnMap(t *testing.T) {
	var later TwinKey
	created := func(m *v1beta1.NamespaceMap, policies bool) []string {
		return queued(t, homeOfKey, func(q workqueue.TypedRateLimitingInterface[TwinKey]) {
			newReporting(t).reports.mapEvents().Create(t.Context(),
				event.TypedCreateEvent[*v1beta1.NamespaceMap]{Object: m}, q)
			for range q.Len() { // what comes at once, to be put back
				key, _ := q.Get()
				q.Done(key)
				defer q.Add(key)
			}
			if policies {
				later, _ = q.Get()
				q.Done(later)
			}
		})
	}
	own := reported(withShop(), "gone", v1beta1.ReflectionReport{More: 1})
	if diff := cmp.Diff([]string{"gone", "shop"}, created(own, true)); diff != "" || later.Home != aboutPolicies {
		t.Errorf("its own map, and %q later (-want,+got):\n%s", later.Home, diff)
	}
	other := build.Map("c").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj()
	if got := created(other, false); len(got) > 0 {
		t.Errorf("another provider's map: %v", got)
	}
}

// What goes wrong with one object often goes wrong with many.
func TestChangesGatherBeforeTheyAreLookedAt(t *testing.T) {
	r := newReporting(t)
	r.reports.Changed("too early") // nobody works yet; everything is looked at when somebody does
	q := workqueue.NewTypedRateLimitingQueue(backoff[TwinKey]())
	defer q.ShutDown()
	r.reports.queue = q
	began := time.Now()
	for range 3 {
		r.reports.Changed("shop")
		r.reports.PoliciesChanged()
	}
	got := map[string]bool{}
	for range 2 {
		key, _ := q.Get()
		q.Done(key)
		got[key.Home] = true
	}
	if took := time.Since(began); took < gather {
		t.Errorf("looked at after %v", took)
	}
	if diff := cmp.Diff(map[string]bool{"shop": true, aboutPolicies: true}, got); diff != "" || q.Len() > 0 {
		t.Errorf("%d more; (-want,+got):\n%s", q.Len(), diff)
	}
}
