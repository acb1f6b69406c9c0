package namespacemap

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/namespacemap/naming"
)

func TestConditionsOf(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "rolebindings"}, "x", errors.New("no"))
	entry := func(phase v1beta1.MappingPhase, reason, message string) *v1beta1.TwinStatus {
		return &v1beta1.TwinStatus{RemoteNamespace: "shop-a", Phase: phase, Reason: reason, Message: message}
	}
	tests := map[string]struct {
		facts        clusterFacts
		wantRequired corev1.ConditionStatus
		wantStatus   corev1.ConditionStatus // empty: no Ready condition
		wantReason   string
		wantMessage  string
	}{
		"selected, the agent did not answer yet": {
			facts:        clusterFacts{Selected: true, Want: "shop-a", Desired: "shop-a"},
			wantRequired: "True", wantStatus: "False", wantReason: "Creating",
			wantMessage: "waiting for the agent to create namespace shop-a",
		},
		"selected, no map yet": {
			facts:        clusterFacts{Selected: true, Want: "shop-a", Unmapped: true},
			wantRequired: "True", wantStatus: "False", wantReason: "Creating", wantMessage: "NamespaceMap",
		},
		"ready": {
			facts:        clusterFacts{Selected: true, Want: "shop-a", Entry: entry(v1beta1.MappingAccepted, "", "")},
			wantRequired: "True", wantStatus: "True", wantReason: "NamespaceCreated", wantMessage: "shop-a is ready",
		},
		"a twin of another name is not this one": {
			facts:        clusterFacts{Selected: true, Want: "shop", Entry: entry(v1beta1.MappingAccepted, "", "")},
			wantRequired: "True", wantStatus: "False", wantReason: "Creating",
		},
		"failed in the server's words": {
			facts: clusterFacts{Selected: true, Want: "shop-a",
				Entry: entry(v1beta1.MappingCreationLoopBackOff, "PermissionDenied", "namespaces is forbidden")},
			wantRequired: "True", wantStatus: "False", wantReason: "PermissionDenied",
			wantMessage: "namespaces is forbidden",
		},
		"unreachable": {
			facts: clusterFacts{Selected: true, Want: "shop-a",
				Entry: entry(v1beta1.MappingCreationLoopBackOff, "ClusterUnreachable", "no answer")},
			wantRequired: "True", wantStatus: "False", wantReason: "ClusterUnreachable",
		},
		"a reason that is not of the wire language": {
			facts: clusterFacts{Selected: true, Want: "shop-a",
				Entry: entry(v1beta1.MappingCreationLoopBackOff, "Sunspots", "bright")},
			wantRequired: "True", wantStatus: "False", wantReason: "CreationLoopBackOff", wantMessage: "bright",
		},
		"a twin that somebody deleted": {
			facts: clusterFacts{Selected: true, Want: "shop-a",
				Entry: entry(v1beta1.MappingTerminating, "", "namespace shop-a is being deleted")},
			wantRequired: "True", wantStatus: "False", wantReason: "Terminating", wantMessage: "being deleted",
		},
		"the same cluster under another id": {
			facts: clusterFacts{Selected: true, Want: "shop-a",
				Twice: "cluster c is cluster b under another id"},
			wantRequired: "True", wantStatus: "False", wantReason: "DuplicateCluster",
			wantMessage: "cluster c is cluster b under another id",
		},
		"a name too long": {
			facts:        clusterFacts{Selected: true, Refused: &naming.TooLongError{Name: strings.Repeat("x", 70)}},
			wantRequired: "True", wantStatus: "False", wantReason: "NameTooLong",
			wantMessage: "70 characters, the limit is 63",
		},
		"a reserved name": {
			facts:        clusterFacts{Selected: true, Refused: &naming.ReservedError{Name: "kube-x"}},
			wantRequired: "True", wantStatus: "False", wantReason: "CreationLoopBackOff", wantMessage: "reserved",
		},
		"we lack a right at home": {
			facts:        clusterFacts{Selected: true, Want: "shop-a", Trouble: fmt.Errorf("bind: %w", forbidden)},
			wantRequired: "True", wantStatus: "False", wantReason: "PermissionDenied", wantMessage: "forbidden",
		},
		"home does not answer": {
			facts:        clusterFacts{Selected: true, Want: "shop-a", Trouble: errors.New("timeout")},
			wantRequired: "True", wantStatus: "False", wantReason: "Creating", wantMessage: "tried again: timeout",
		},
		"not selected, nothing there": {facts: clusterFacts{Want: "shop-a"}, wantRequired: "False"},
		"not selected any more, the key is still there": {
			facts:        clusterFacts{Desired: "shop-a"},
			wantRequired: "False", wantStatus: "False", wantReason: "Terminating", wantMessage: "shop-a",
		},
		"not selected any more, the agent did not begin": {
			facts:        clusterFacts{Entry: entry(v1beta1.MappingAccepted, "", "")},
			wantRequired: "False", wantStatus: "False", wantReason: "Terminating",
			wantMessage: "waiting for the agent to delete namespace shop-a",
		},
		"not selected any more, something holds the twin": {
			facts:        clusterFacts{Entry: entry(v1beta1.MappingTerminating, "", "pods. has 1 resource instances")},
			wantRequired: "False", wantStatus: "False", wantReason: "Terminating",
			wantMessage: "pods. has 1 resource instances",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := conditionsOf(tc.facts)
			required := find(got, v1beta1.ConditionOffloadingRequired)
			if required == nil || required.Status != tc.wantRequired || required.Message == "" {
				t.Errorf("OffloadingRequired is %+v, want %s with a message", required, tc.wantRequired)
			}
			ready := find(got, v1beta1.ConditionReady)
			if tc.wantStatus == "" {
				if ready != nil {
					t.Errorf("Ready is %+v, want none", ready)
				}
				return
			}
			if ready == nil {
				t.Fatal("no Ready condition")
			}
			if ready.Status != tc.wantStatus || ready.Reason != tc.wantReason {
				t.Errorf("Ready is %s/%s, want %s/%s", ready.Status, ready.Reason, tc.wantStatus, tc.wantReason)
			}
			if ready.Message == "" || !strings.Contains(ready.Message, tc.wantMessage) {
				t.Errorf("message %q does not say %q", ready.Message, tc.wantMessage)
			}
		})
	}
}

// cluster returns the conditions of a cluster that is required, and ready or not for a reason; without one it is not
// required.
func cluster(reason string) []v1beta1.ClusterCondition {
	if reason == "" {
		return conditionsOf(clusterFacts{})
	}
	status := corev1.ConditionFalse
	if reason == v1beta1.ReasonNamespaceCreated {
		status = corev1.ConditionTrue
	}
	return []v1beta1.ClusterCondition{
		{Type: v1beta1.ConditionOffloadingRequired, Status: corev1.ConditionTrue},
		{Type: v1beta1.ConditionReady, Status: status, Reason: reason, Message: "because of " + reason},
	}
}

func TestPhaseOf(t *testing.T) {
	const (
		ready, creating, leaving = v1beta1.ReasonNamespaceCreated, v1beta1.ReasonCreating, v1beta1.ReasonTerminating
		backoff, denied, tooLong = v1beta1.ReasonCreationLoopBackOff, v1beta1.ReasonPermissionDenied,
			v1beta1.ReasonNameTooLong
		unreachable, notRequired  = v1beta1.ReasonClusterUnreachable, ""
		terminating, none         = v1beta1.PhaseTerminating, v1beta1.PhaseNoClusterSelected
		allReady, all, some, busy = v1beta1.PhaseReady, v1beta1.PhaseAllFailed, v1beta1.PhaseSomeFailed,
			v1beta1.PhaseInProgress
	)
	tests := map[string]struct {
		deleting bool
		clusters []string
		want     v1beta1.OffloadingPhase
	}{
		"deleting wins over all":         {deleting: true, clusters: []string{ready}, want: terminating},
		"deleting with nothing left":     {deleting: true, want: terminating},
		"no cluster at all":              {want: none},
		"no cluster required":            {clusters: []string{notRequired, notRequired}, want: none},
		"the only one required is ready": {clusters: []string{ready, notRequired}, want: allReady},
		"all ready":                      {clusters: []string{ready, ready}, want: allReady},
		"all failed, each for its reason": {clusters: []string{backoff, denied, tooLong, unreachable},
			want: all},
		"one of two failed":                          {clusters: []string{ready, backoff}, want: some},
		"one failed, one is being made":              {clusters: []string{creating, denied}, want: some},
		"one failed, those not required do not help": {clusters: []string{unreachable, notRequired}, want: all},
		"one being made":                             {clusters: []string{ready, creating}, want: busy},
		"one being replaced":                         {clusters: []string{ready, leaving}, want: busy},
		"none has answered":                          {clusters: []string{creating, creating}, want: busy},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			clusters := map[string][]v1beta1.ClusterCondition{}
			for i, reason := range tc.clusters {
				clusters[string(rune('b'+i))] = cluster(reason)
			}
			if got := phaseOf(tc.deleting, clusters); got != tc.want {
				t.Errorf("phase %s, want %s", got, tc.want)
			}
		})
	}
}

func TestSentence(t *testing.T) {
	many := map[string][]v1beta1.ClusterCondition{}
	for i := range 13 {
		many[fmt.Sprintf("p%02d", i)] = cluster(v1beta1.ReasonNamespaceCreated)
	}
	tests := map[string]struct {
		phase    v1beta1.OffloadingPhase
		clusters map[string][]v1beta1.ClusterCondition
		want     string
	}{
		"ready, sorted": {
			phase: v1beta1.PhaseReady,
			clusters: map[string][]v1beta1.ClusterCondition{
				"c": cluster(v1beta1.ReasonNamespaceCreated), "b": cluster(v1beta1.ReasonNamespaceCreated),
				"d": cluster(""),
			},
			want: "twins are ready on b, c",
		},
		"what is not ready, sorted": {
			phase: v1beta1.PhaseSomeFailed,
			clusters: map[string][]v1beta1.ClusterCondition{
				"c": cluster(v1beta1.ReasonPermissionDenied), "b": cluster(v1beta1.ReasonCreating),
				"a": cluster(v1beta1.ReasonNamespaceCreated),
			},
			want: "b: because of Creating; c: because of PermissionDenied",
		},
		"ready, while a former twin leaves": {
			phase: v1beta1.PhaseReady,
			clusters: map[string][]v1beta1.ClusterCondition{
				"b": cluster(v1beta1.ReasonNamespaceCreated), "c": conditionsOf(clusterFacts{Desired: "shop-a"}),
			},
			want: "c: waiting for namespace shop-a to be given up",
		},
		"the last one is gone": {phase: v1beta1.PhaseTerminating, want: "no twin is left"},
		"hundreds are not all named": {phase: v1beta1.PhaseReady, clusters: many,
			want: "twins are ready on p00, p01, p02, p03, p04, p05, p06, p07, p08, p09, and 3 more"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, sentence(tc.phase, tc.clusters)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestWhyNone(t *testing.T) {
	tests := map[string]struct {
		selectorError error
		selector      *v1beta1.ClusterSelector
		candidates    []Candidate
		want          string
	}{
		"the selector does not parse": {selectorError: errors.New("bad operator"),
			candidates: []Candidate{{NodeName: "b"}},
			want:       "the cluster selector is not valid: bad operator"},
		"nobody to select": {want: "there is no virtual node yet: peer with a cluster by liqoctl peer"},
		"nobody matches": {selector: build.Selector("region", "east", "west"), candidates: []Candidate{
			{NodeName: "c", Labels: map[string]string{"region": "north"}}, {NodeName: "b"}},
			want: "the cluster selector (region in (east,west)) matches none of the virtual nodes; " +
				"nearest: b (no label region), c (region=north)"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, whyNone(tc.selectorError, tc.selector, tc.candidates)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestKeepTimes(t *testing.T) {
	before, now := metav1.NewTime(time.Unix(100, 0)), metav1.NewTime(time.Unix(200, 0))
	old := cluster(v1beta1.ReasonCreating)
	keepTimes(nil, old, before)

	same := cluster(v1beta1.ReasonPermissionDenied) // another reason, the same status
	keepTimes(old, same, now)
	if got := find(same, v1beta1.ConditionReady).LastTransitionTime; got != before {
		t.Errorf("an unchanged status is dated %v, want %v", got, before)
	}
	changed := cluster(v1beta1.ReasonNamespaceCreated)
	keepTimes(old, changed, now)
	if got := find(changed, v1beta1.ConditionReady).LastTransitionTime; got != now {
		t.Errorf("a changed status is dated %v, want %v", got, now)
	}
	if got := find(changed, v1beta1.ConditionOffloadingRequired).LastTransitionTime; got != before {
		t.Errorf("the unchanged neighbour is dated %v, want %v", got, before)
	}
}

func TestTruncate(t *testing.T) {
	tests := map[string]struct {
		text  string
		limit int
		want  string
	}{
		"short":                    {"abc", 3, "abc"},
		"long":                     {"abcd", 3, "abc"},
		"never half a character":   {"aé", 2, "a"},
		"a character that fits":    {"aéb", 3, "aé"},
		"nothing fits":             {"é", 1, ""},
		"nothing stays as nothing": {"", 0, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := truncate(tc.text, tc.limit); got != tc.want {
				t.Errorf("truncate(%q, %d) = %q, want %q", tc.text, tc.limit, got, tc.want)
			}
		})
	}
}
