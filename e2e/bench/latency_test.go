package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authnv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/e2e/env"
)

// at is so many milliseconds after the beginning.
func at(ms int) time.Time {
	return time.Unix(1_900_000_000, 0).Add(time.Duration(ms) * time.Millisecond)
}

func TestEachChangeIsMatchedWithTheWriteThatFollowedIt(t *testing.T) {
	for name, test := range map[string]struct {
		changes, writes []moment
		want            []time.Duration
		missing         int
	}{
		"one change, one write": {
			changes: []moment{{"a", at(0)}}, writes: []moment{{"a", at(7)}},
			want: []time.Duration{7 * time.Millisecond},
		},
		"the write of one change comes after the next change": {
			changes: []moment{{"a", at(0)}, {"a", at(10)}}, writes: []moment{{"a", at(12)}, {"a", at(25)}},
			want: []time.Duration{12 * time.Millisecond, 15 * time.Millisecond},
		},
		"out of order in the log": {
			changes: []moment{{"a", at(10)}, {"a", at(0)}}, writes: []moment{{"a", at(25)}, {"a", at(12)}},
			want: []time.Duration{12 * time.Millisecond, 15 * time.Millisecond},
		},
		"two changes became one write": {
			changes: []moment{{"a", at(0)}, {"a", at(10)}}, writes: []moment{{"a", at(15)}},
			want: []time.Duration{15 * time.Millisecond, 5 * time.Millisecond},
		},
		"a write too many": {
			changes: []moment{{"a", at(0)}}, writes: []moment{{"a", at(5)}, {"a", at(9)}},
			want: []time.Duration{5 * time.Millisecond},
		},
		"nothing follows": {
			changes: []moment{{"a", at(0)}, {"b", at(1)}}, writes: []moment{{"b", at(4)}},
			want: []time.Duration{3 * time.Millisecond}, missing: 1,
		},
		"a write of something else": {
			changes: []moment{{"a", at(0)}}, writes: []moment{{"b", at(4)}}, missing: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			took, missing := match(test.changes, test.writes)
			if diff := cmp.Diff(test.want, took); diff != "" || missing != test.missing {
				t.Errorf("%d are missing, want %d; took (-want,+got):\n%s", missing, test.missing, diff)
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	hundred := make([]time.Duration, 0, 100)
	for n := 100; n > 0; n-- {
		hundred = append(hundred, time.Duration(n))
	}
	for name, test := range map[string]struct {
		of      []time.Duration
		percent int
		want    time.Duration
	}{
		"of none":                  {nil, 50, 0},
		"of one":                   {[]time.Duration{7}, 99, 7},
		"the middle of three":      {[]time.Duration{9, 1, 5}, 50, 5},
		"99 of 100":                {hundred, 99, 99},
		"50 of 100":                {hundred, 50, 50},
		"the most":                 {hundred, 100, 100},
		"one outlier counts in 10": {[]time.Duration{1, 1, 1, 1, 1, 1, 1, 1, 1, 90}, 99, 90},
	} {
		t.Run(name, func(t *testing.T) {
			if got := percentile(test.of, test.percent); got != test.want {
				t.Errorf("got %d, want %d", got, test.want)
			}
		})
	}
}

func TestMomentsAreThoseOfTheNamespaceThatWereAnsweredWell(t *testing.T) {
	event := func(user, verb, resource, namespace, name string, code int32) auditv1.Event {
		return auditv1.Event{
			Stage: auditv1.StageResponseComplete, Verb: verb, User: authnv1.UserInfo{Username: user},
			ObjectRef:                &auditv1.ObjectReference{Resource: resource, Namespace: namespace, Name: name},
			ResponseStatus:           &metav1.Status{Code: code},
			RequestReceivedTimestamp: metav1.NewMicroTime(at(3)),
		}
	}
	const ours = "system:serviceaccount:liqo-tenant-consumer:liqo-consumer"
	status := event(ours, "patch", "services", "rates", "status", 200)
	status.ObjectRef.Subresource = "status"
	panicked := event(ours, "patch", "services", "rates", "panicked", 200)
	panicked.Stage = auditv1.StagePanic
	got := moments([]auditv1.Event{
		event(ours, "patch", "services", "rates", "a", 200),
		event(ours, "patch", "services", "rates", "b."+env.Consumer, 200),
		event(ours, "patch", "services", "rates", "refused", 409),
		event(ours, "get", "services", "rates", "read", 200),
		event(ours, "patch", "configmaps", "rates", "other kind", 200),
		event(ours, "patch", "services", "elsewhere", "other namespace", 200),
		event("admin", "patch", "services", "rates", "by hand", 200),
		status, panicked, {Stage: auditv1.StageResponseComplete, Verb: "patch"},
	}, "services", "rates", func(e auditv1.Event) (time.Time, bool) {
		return e.RequestReceivedTimestamp.Time, env.IsWrite(e) && ourUser(e)
	})
	want := []moment{{"a", at(3)}, {"b", at(3)}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(moment{})); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}
