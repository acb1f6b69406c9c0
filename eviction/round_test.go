package eviction

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Pods that nobody may evict cost little: their own nodes are read, and only every minute or so.
func TestWhatStaysIsLookedAtNowAndThen(t *testing.T) {
	for name, tc := range map[string]struct {
		pods   []corev1.Pod
		reason string
	}{
		"without a controller": {[]corev1.Pod{podOf("", "", "a", "b-1")}, ReasonNoController},
		"of another scheduler": {[]corev1.Pod{with(webPod("a", "b-1"), scheduledAs("theirs"))}, ReasonForeignScheduler},
		"of both kinds": {
			[]corev1.Pod{podOf("", "", "a", "b-1"), with(webPod("b", "c-1"), scheduledAs("theirs"))},
			ReasonForeignScheduler,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := newReconciler(t, shop(evicting(v1beta1.Local), tc.pods...)...)
			look(t, r)
			s.forget()
			result := look(t, r)
			if diff := cmp.Diff([]string{"pods"}, s.lists); diff != "" {
				t.Errorf("listed (-want,+got):\n%s", diff)
			}
			off, c := said(t, s)
			if c.Reason != tc.reason || ptr.Deref(off.Status.ViolatingPods, -1) != int32(len(tc.pods)) {
				t.Errorf("status %+v", off.Status)
			}
			if result.RequeueAfter < whenHopeless || result.RequeueAfter > 2*whenHopeless {
				t.Errorf("looks again after %v", result.RequeueAfter)
			}
			if len(s.evicted)+s.patches > 0 {
				t.Errorf("evicted %v, %d patches", s.evicted, s.patches)
			}
		})
	}
}

// Somebody who may go is looked after as soon as ever, whoever else stays.
func TestWhatStaysDoesNotHoldUpOthers(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), podOf("", "", "bare", "b-1"),
		with(webPod("theirs", "b-1"), scheduledAs("theirs")), podOf("ReplicaSet", "api", "api", "b-1"))...)
	s.refuse = func(what string) error {
		if what == "evict api" {
			return tooMany("The disruption budget api needs 1 healthy pods and has 1 currently")
		}
		return nil
	}
	look(t, r)
	if result := look(t, r); result.RequeueAfter > 2*afterNone {
		t.Errorf("looks again after %v", result.RequeueAfter)
	}
	if _, c := said(t, s); c.Reason != ReasonDisruptionBudget {
		t.Errorf("condition %s: %s", c.Reason, c.Message)
	}
}

// The minute between two looks does not make who came back too often forgotten.
func TestWhatCameBackIsNotEvictedAgainAfterAPause(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("web-0", "b-1"))...)
	for i := range 6 {
		look(t, r)
		again := webPod(fmt.Sprintf("web-%d", i+1), "b-1")
		if err := s.Create(t.Context(), &again); client.IgnoreAlreadyExists(err) != nil {
			t.Fatal(err)
		}
	}
	if _, c := said(t, s); c.Reason != ReasonNodeNamed {
		t.Fatalf("condition %s: %s", c.Reason, c.Message)
	}
	look(t, r)
	now := morning
	for range 5 {
		s.forget()
		pause := look(t, r).RequeueAfter
		if pause < whenHopeless {
			t.Errorf("looks again after %v", pause)
		}
		if diff := cmp.Diff([]string{"pods"}, s.lists); diff != "" || len(s.evicted) > 0 {
			t.Errorf("evicted %v, listed (-want,+got):\n%s", s.evicted, diff)
		}
		now = now.Add(pause)
		r.Clock.(*clocktesting.FakePassiveClock).SetTime(now)
	}
}

// Nodes are read one by one only as long as that is less than all of them.
func TestManyNodesAreListed(t *testing.T) {
	var objects []client.Object
	var found []violation
	for i := range fewNodes + 1 {
		pod := webPod(fmt.Sprint("web-", i), fmt.Sprint("home-", i))
		found = append(found, violation{pod: &pod})
	}
	r, s := newReconciler(t, append(objects, shop(evicting(v1beta1.Local))...)...)
	few, err := r.nodesOf(t.Context(), found[:fewNodes])
	if err != nil || len(few) != 2 || len(s.lists) > 0 { // home-1 and home-2 are there, the others gone
		t.Errorf("%d nodes, lists %v, %v", len(few), s.lists, err)
	}
	all, err := r.nodesOf(t.Context(), found)
	if err != nil || len(all) != len(cluster()) || len(s.lists) != 1 {
		t.Errorf("%d nodes, lists %v, %v", len(all), s.lists, err)
	}
	r.Live = s // what cannot be read is no node that is gone
	asleep := errors.New("the server is asleep")
	s.refuse = func(string) error { return asleep }
	if _, err := r.nodesOf(t.Context(), found); !errors.Is(err, asleep) {
		t.Errorf("error %v", err)
	}
}

func TestOtherNamesForOurSchedulers(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), with(webPod("a", "b-1"), scheduledAs("fair-scheduler")))...)
	r.Schedulers = []string{"fair-scheduler"}
	look(t, r)
	if diff := cmp.Diff([]string{"a"}, s.evicted); diff != "" {
		t.Errorf("evicted (-want,+got):\n%s", diff)
	}
}

// An API server that takes its time takes it from all namespaces: who is left has its turn in another round.
func TestSlowEvictionsEndTheRound(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), podOf("ReplicaSet", "1", "a", "b-1"),
		podOf("ReplicaSet", "2", "b", "b-1"), podOf("ReplicaSet", "3", "c", "b-1"))...)
	clock := r.Clock.(*clocktesting.FakePassiveClock)
	s.refuse = func(what string) error {
		if what == "evict a" || what == "evict b" {
			clock.SetTime(clock.Now().Add(3 * time.Second))
		}
		return nil
	}
	result := look(t, r)
	if diff := cmp.Diff([]string{"a", "b"}, s.evicted); diff != "" {
		t.Errorf("evicted (-want,+got):\n%s", diff)
	}
	want := "3 pods are where the policy does not permit it (strategy Local keeps the pods of this namespace at " +
		"home); leaving: a, b; waiting for their turn: c (evictions take long at the moment)"
	if _, c := said(t, s); c.Message != want {
		t.Errorf("condition %s", c.Message)
	}
	if result.RequeueAfter != afterProgress {
		t.Errorf("looks again after %v", result.RequeueAfter)
	}
}
