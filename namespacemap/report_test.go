package namespacemap

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func problem(resource, name, reason, message string) v1beta1.ReflectionProblem {
	return v1beta1.ReflectionProblem{Resource: resource, Name: name, Reason: reason, Message: message}
}

// many returns n problems of one kind.
func many(n int, message string) []v1beta1.ReflectionProblem {
	var out []v1beta1.ReflectionProblem
	for i := range n {
		out = append(out, problem("configmaps", fmt.Sprintf("settings-%03d", i), v1beta1.ProblemRefused, message))
	}
	return out
}

func TestReportOf(t *testing.T) {
	tests := map[string]struct {
		problems []v1beta1.ReflectionProblem
		limit    int
		want     *v1beta1.ReflectionReport
	}{
		"all is well": {limit: 4096},
		"one problem": {
			problems: many(1, "too large"), limit: 4096,
			want: &v1beta1.ReflectionReport{Problems: many(1, "too large")},
		},
		"more than a report lists are counted": {
			problems: many(20, "too large"), limit: 4096,
			want: &v1beta1.ReflectionReport{Problems: many(16, "too large"), More: 4},
		},
		"more than there is room for are counted": {
			problems: many(3, strings.Repeat("w", 200)), limit: 400,
			want: &v1beta1.ReflectionReport{Problems: many(1, strings.Repeat("w", 200)), More: 2},
		},
		"a long message is cut": {
			problems: many(1, strings.Repeat("w", 2000)), limit: 4096,
			want: &v1beta1.ReflectionReport{Problems: many(1, strings.Repeat("w", maxMessage))},
		},
		"a problem without words takes little": {
			problems: many(1, ""), limit: 150,
			want: &v1beta1.ReflectionReport{Problems: many(1, "")},
		},
		"where there is no room for any, they are counted": {
			problems: []v1beta1.ReflectionProblem{
				problem("configmaps", strings.Repeat("n", 253), v1beta1.ProblemRefused, "too large"),
			},
			limit: crowdedMessage,
			want:  &v1beta1.ReflectionReport{More: 1},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, reportOf("shop", tc.problems, tc.limit)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

// The largest map must fit into the store with a report of every namespace: MaxNamespaces counts on it.
func TestNoReportTakesMoreThanItsLimit(t *testing.T) {
	home := strings.Repeat("h", longestName)
	for _, limit := range []int{crowdedMessage, maxMessage, 1024, 4096} {
		for words := 0; words < 700; words += 23 {
			report := reportOf(home, many(40, strings.Repeat(`<"w`, words/3)), limit)
			data, err := json.Marshal(map[string]any{home: report})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(data); got > limit {
				t.Errorf("with messages of %d bytes, a report of %d bytes, limit %d", words, got, limit)
			}
		}
	}
}

func TestAFullMapHasRoomForItsReports(t *testing.T) {
	for _, namespaces := range []int{1, 300, 301, 790, 791, 1700, 1701, MaxNamespaces} {
		m := build.Map("b")
		for i := range namespaces {
			m.Want(fmt.Sprint("ns-", i), "x").Has(fmt.Sprint("ns-", i), "x", v1beta1.MappingAccepted)
		}
		each := namespaceSize + reportLimit(m.Obj())
		if namespaces <= 790 { // no need to count on it that only a twin without a message has a report
			each += messageLimit(m.Obj())
		}
		if total := namespaces * each; total > storeLimit-storeMargin {
			t.Errorf("%d namespaces may take %d bytes, there are %d", namespaces, total, storeLimit-storeMargin)
		}
	}
}

func TestReflectionConditions(t *testing.T) {
	changed := problem("services", "web", v1beta1.ProblemConflict, "kubectl-edit keeps changing it")
	taken := problem("configmaps", "settings", v1beta1.ProblemNameTaken, "an object of that name is not ours")
	large := problem("configmaps", "big", v1beta1.ProblemRefused, "it is too large")
	unknown := problem("widgets.example.com", "", v1beta1.ProblemMissingKind, "the cluster does not know the kind")
	tests := map[string]struct {
		report v1beta1.ReflectionReport
		want   []v1beta1.ClusterCondition
	}{
		"somebody else changes a copy": {
			report: v1beta1.ReflectionReport{Problems: []v1beta1.ReflectionProblem{changed}},
			want: []v1beta1.ClusterCondition{{Type: "Conflict", Status: "True", Reason: "Conflict",
				Message: "services/web: kubectl-edit keeps changing it"}},
		},
		"a name is taken": {
			report: v1beta1.ReflectionReport{Problems: []v1beta1.ReflectionProblem{taken}},
			want: []v1beta1.ClusterCondition{{Type: "Conflict", Status: "True", Reason: "NameTaken",
				Message: "configmaps/settings: an object of that name is not ours"}},
		},
		"a kind that the cluster does not know": {
			report: v1beta1.ReflectionReport{Problems: []v1beta1.ReflectionProblem{unknown}},
			want: []v1beta1.ClusterCondition{{Type: "NotReflected", Status: "True", Reason: "MissingKind",
				Message: "widgets.example.com: the cluster does not know the kind"}},
		},
		"all at once, and more": {
			report: v1beta1.ReflectionReport{
				Problems: []v1beta1.ReflectionProblem{large, taken, changed, unknown}, More: 3,
			},
			want: []v1beta1.ClusterCondition{
				{Type: "Conflict", Status: "True", Reason: "Conflict", Message: "configmaps/settings: an object of " +
					"that name is not ours; services/web: kubectl-edit keeps changing it"},
				{Type: "NotReflected", Status: "True", Reason: "MissingKind", Message: "configmaps/big: it is too " +
					"large; widgets.example.com: the cluster does not know the kind; " +
					"3 more objects, of which their FailedReflection events tell"},
			},
		},
		"conflicts, and more": {
			report: v1beta1.ReflectionReport{Problems: []v1beta1.ReflectionProblem{changed}, More: 1},
			want: []v1beta1.ClusterCondition{{Type: "Conflict", Status: "True", Reason: "Conflict",
				Message: "services/web: kubectl-edit keeps changing it; " +
					"1 more objects, of which their FailedReflection events tell"}},
		},
		"only a number": {
			report: v1beta1.ReflectionReport{More: 7},
			want: []v1beta1.ClusterCondition{{Type: "NotReflected", Status: "True", Reason: "Refused",
				Message: "7 more objects, of which their FailedReflection events tell"}},
		},
		"more words than a condition has room for": {
			report: v1beta1.ReflectionReport{Problems: []v1beta1.ReflectionProblem{
				problem("configmaps", "big", v1beta1.ProblemRefused, strings.Repeat("w", 2000)),
			}},
			want: []v1beta1.ClusterCondition{{Type: "NotReflected", Status: "True", Reason: "Refused",
				Message: "configmaps/big: " + strings.Repeat("w", maxConditionMessage-len("configmaps/big: "))}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, reflectionConditions(&tc.report)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestConditionsAboutReflectionAreOfTwinsThatAreThere(t *testing.T) {
	report := &v1beta1.ReflectionReport{Problems: many(1, "too large")}
	tests := map[string]struct {
		facts clusterFacts
		want  []string
	}{
		"a twin": {
			clusterFacts{Selected: true, Want: "shop-a", Entry: accepted("shop-a"), Report: report},
			[]string{"OffloadingRequired", "Ready", "NotReflected"},
		},
		"all is well": {
			clusterFacts{Selected: true, Want: "shop-a", Entry: accepted("shop-a")},
			[]string{"OffloadingRequired", "Ready"},
		},
		"a twin that waits for pods to leave": {
			clusterFacts{Desired: "shop-a", Entry: accepted("shop-a"), Kept: 2, Report: report},
			[]string{"OffloadingRequired", "Ready", "NotReflected"},
		},
		"a twin on its way out": {
			clusterFacts{Report: report, Entry: &v1beta1.TwinStatus{
				RemoteNamespace: "shop-a", Phase: v1beta1.MappingTerminating,
			}},
			[]string{"OffloadingRequired", "Ready"},
		},
		"a twin that is not there": {
			clusterFacts{Selected: true, Want: "shop-a", Report: report}, []string{"OffloadingRequired", "Ready"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, condition := range conditionsOf(tc.facts) {
				got = append(got, condition.Type)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

// The phases say whether there are twins, and nothing else.
func TestPhasesDoNotSpeakOfReflection(t *testing.T) {
	conditions := conditionsOf(clusterFacts{
		Selected: true, Want: "shop-a", Entry: accepted("shop-a"),
		Report: &v1beta1.ReflectionReport{Problems: many(1, "too large")},
	})
	got := phaseOf(false, map[string][]v1beta1.ClusterCondition{"b": conditions})
	if got != v1beta1.PhaseReady {
		t.Errorf("phase %s", got)
	}
}

func TestWhatAReportSaysReachesTheOffloading(t *testing.T) {
	ready := build.Map("b").Want("shop", "shop-a").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj()
	ready.Status.Reflection = map[string]v1beta1.ReflectionReport{
		"shop": {Problems: []v1beta1.ReflectionProblem{
			problem("services", "web", v1beta1.ProblemConflict, "somebody"),
		}},
		"bank": {More: 1},
	}
	h := newHome(t, build.Namespace("shop").UID("uid-1").Obj(), build.Offloading("shop").Obj(),
		build.VirtualNode("b-1", "b"), ready)
	h.mustOffload(t, "shop")
	conditions := h.offloading(t, "shop").Status.RemoteNamespacesConditions["b"]
	conflict := find(conditions, v1beta1.ConditionConflict)
	if conflict == nil || conflict.Message != "services/web: somebody" || conflict.LastTransitionTime.IsZero() {
		t.Errorf("conditions %+v", conditions)
	}
	if find(conditions, v1beta1.ConditionNotReflected) != nil {
		t.Error("another namespace's report is taken for its own")
	}
	h.forget()
	h.mustOffload(t, "shop")
	if len(h.writes) > 0 {
		t.Errorf("the same was written again: %v", h.writes)
	}
	well := mapOf(t, h, "b")
	well.Status.Reflection = nil
	if err := h.Status().Update(t.Context(), well); err != nil {
		t.Fatal(err)
	}
	h.mustOffload(t, "shop")
	if got := h.offloading(t, "shop").Status.RemoteNamespacesConditions["b"]; len(got) != 2 {
		t.Errorf("conditions %+v", got)
	}
}
