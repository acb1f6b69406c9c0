package provider

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
)

// deletedAt is a pod whose deletion was asked for.
func deletedAt(at time.Time, grace int64, finalizers ...string) *corev1.Pod {
	pod := build.Pod("web").UID("1").Phase(corev1.PodFailed).Obj()
	pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = ptr.To(metav1.NewTime(at)), ptr.To(grace)
	pod.Finalizers = finalizers
	return pod
}

func TestADeletionThatTheServerDidNotFinish(t *testing.T) {
	now := time.Unix(1000, 0)
	long := now.Add(-lateWatch)
	for name, test := range map[string]struct {
		pod           *corev1.Pod
		half, stalled bool
	}{
		"no pod":                       {nil, false, false},
		"a pod that stays":             {build.Pod("web").Obj(), false, false},
		"a pod that has time to end":   {deletedAt(long, 30), false, false},
		"a pod that goes this moment":  {deletedAt(now, 0), true, false},
		"a pod that should be gone":    {deletedAt(long, 0), true, true},
		"a pod that a finalizer holds": {deletedAt(long, 0, "example.com/hold"), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			half, late := halfDeleted(test.pod), stalled(test.pod, clocktesting.NewFakePassiveClock(now))
			if half != test.half || late != test.stalled {
				t.Errorf("want half deleted %t, stalled %t, got %t, %t", test.half, test.stalled, half, late)
			}
		})
	}
}

func TestAStalledDeletionIsAskedForAgain(t *testing.T) {
	gone := deletedAt(time.Unix(0, 0), 0)
	owner := string(gone.UID)
	alive := build.Pod("web").UID("1").Phase(corev1.PodRunning).Obj()
	got := map[string]action{}
	for name, f := range map[string]facts{
		"home, at once":    {home: gone, twin: twinReady},
		"home, stalled":    {home: gone, twin: twinReady, stalledHome: true},
		"remote, at once":  {home: gone, away: gone, owner: owner, twin: twinReady},
		"remote, stalled":  {home: gone, away: gone, owner: owner, twin: twinReady, stalledAway: true},
		"of a predecessor": {home: alive, away: gone, owner: "2", twin: twinReady, stalledAway: true},
		"of one that runs": {home: alive, away: gone, owner: owner, twin: twinReady, stalledAway: true},
	} {
		got[name] = decide(f)
	}
	want := map[string]action{
		"home, at once": doWait, "home, stalled": doFinish, "remote, at once": doWait, "remote, stalled": doRemove,
		"of a predecessor": doReplace, "of one that runs": doMirror,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestAHalfDeletedPodIsLookedAtAgain(t *testing.T) {
	trouble := errors.New("no answer")
	half, whole := deletedAt(time.Unix(0, 0), 0), build.Pod("web").Obj()
	for name, test := range map[string]struct {
		f    facts
		err  error
		want bool
	}{
		"home":              {facts{home: half}, nil, true},
		"remote":            {facts{away: half}, nil, true},
		"neither":           {facts{home: whole, away: whole}, nil, false},
		"trouble has a say": {facts{home: half}, trouble, false},
	} {
		t.Run(name, func(t *testing.T) {
			var a again
			err := unstall(&work{facts: test.f}, test.err)
			if errors.As(err, &a) != test.want || test.err != nil && !errors.Is(err, test.err) {
				t.Errorf("got %v", err)
			}
		})
	}
}
