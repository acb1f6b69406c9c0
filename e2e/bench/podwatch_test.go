package main

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

func TestAPodWatchCountsWhatRuns(t *testing.T) {
	w, start := newPodWatch(), time.Unix(1000, 0)
	pod := func(name string, phase corev1.PodPhase) *corev1.Pod { return build.Pod(name).Phase(phase).Obj() }
	for i, step := range []struct {
		what             string
		do               func(time.Time)
		present, running int
	}{
		{"a pod comes", func(at time.Time) { w.see(pod("a", corev1.PodPending), at) }, 1, 0},
		{"it runs", func(at time.Time) { w.see(pod("a", corev1.PodRunning), at) }, 1, 1},
		{"it still does", func(at time.Time) { w.see(pod("a", corev1.PodRunning), at) }, 1, 1},
		{"one comes that runs", func(at time.Time) { w.see(pod("b", corev1.PodRunning), at) }, 2, 2},
		{"which fails", func(at time.Time) { w.see(pod("b", corev1.PodFailed), at) }, 2, 1},
		{"the first goes", func(at time.Time) { w.miss(pod("a", corev1.PodRunning), at) }, 1, 0},
		{"the other was gone before anybody looked", func(at time.Time) {
			w.miss(cache.DeletedFinalStateUnknown{Key: "default/b", Obj: pod("b", corev1.PodFailed)}, at)
		}, 0, 0},
		{"what is no pod is nothing", func(at time.Time) { w.see("pod", at) }, 0, 0},
	} {
		step.do(start.Add(time.Duration(i) * time.Second))
		if present, running := w.state(); present != step.present || running != step.running {
			t.Errorf("%s: %d are there, %d run, want %d and %d",
				step.what, present, running, step.present, step.running)
		}
	}
	want := map[string]time.Time{"a": start.Add(time.Second), "b": start.Add(3 * time.Second)}
	if diff := cmp.Diff(want, w.moments(false)); diff != "" {
		t.Errorf("ran (-want,+got):\n%s", diff)
	}
	want = map[string]time.Time{"a": start.Add(5 * time.Second), "b": start.Add(6 * time.Second)}
	if diff := cmp.Diff(want, w.moments(true)); diff != "" {
		t.Errorf("gone (-want,+got):\n%s", diff)
	}
}

func TestWhoWaitsForPodsIsWoken(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	w, done := newPodWatch(), make(chan error)
	go func() { done <- w.wait(ctx, 2) }()
	for _, name := range []string{"a", "b"} {
		w.see(build.Pod(name).Phase(corev1.PodRunning).Obj(), time.Unix(1, 0))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if err := w.wait(ended, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("a pod that never comes is waited for with %v", err)
	}
}

func TestOnlyTheEssenceOfPodsIsKept(t *testing.T) {
	pod := build.Pod("a").Label("app", "web").Phase(corev1.PodRunning).Obj()
	pod.ResourceVersion = "7"
	kept, err := essence(pod)
	if err != nil {
		t.Fatal(err)
	}
	want := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: "a", ResourceVersion: "7"},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if diff := cmp.Diff(any(want), kept); diff != "" {
		t.Errorf("kept (-want,+got):\n%s", diff)
	}
	if other, err := essence("tombstone"); other != "tombstone" || err != nil {
		t.Errorf("what is no pod becomes %v, %v", other, err)
	}
}

func TestAPodTakesFromTheUsersRequestOn(t *testing.T) {
	start := time.Unix(1000, 0)
	a := asked{namespace: "shop", verb: "create", at: map[string]time.Time{}}
	take := func(cluster, user, namespace, pod string, after time.Duration, code int32) {
		e := request(user, "create", "pods", namespace)
		e.ObjectRef.Name, e.ResponseStatus.Code = pod, code
		e.RequestReceivedTimestamp = metav1.NewMicroTime(start.Add(after))
		c, _ := calledBy(cluster, e)
		a.take(c, e)
	}
	take(env.Consumer, "admin", "shop", "a", 0, 201)
	take(env.Consumer, "admin", "shop", "b", time.Second, 201)
	take(env.Consumer, "admin", "shop", "lost", time.Second, 201)
	take(env.Consumer, "admin", "shop", "refused", 0, 409)
	take(env.Consumer, "admin", "other", "c", 0, 201)
	take("provider-1", agentAway, "shop", "a", time.Minute, 201)
	done := map[string]time.Time{
		"a": start.Add(3 * time.Second), "b": start.Add(2 * time.Second), "c": start, "refused": start,
	}
	got := a.took(done)
	slices.Sort(got)
	if diff := cmp.Diff([]time.Duration{time.Second, 3 * time.Second}, got); diff != "" {
		t.Errorf("took (-want,+got):\n%s", diff)
	}
	if asking, all := a.lasted(done); asking != 1 || all != 3 {
		t.Errorf("asking lasted %v s, all %v s, want 1 and 3", asking, all)
	}
}
