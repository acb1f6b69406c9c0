package provider

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

// deletingIn marks a pod as being deleted with a grace period.
func deletingIn(pod *corev1.Pod, grace int64) *corev1.Pod {
	pod = pod.DeepCopy()
	pod.DeletionTimestamp = ptr.To(metav1.NewTime(time.Unix(1000, 0)))
	pod.DeletionGracePeriodSeconds = ptr.To(grace)
	return pod
}

func TestDecide(t *testing.T) {
	pending := build.Pod("web").UID("1").Phase(corev1.PodPending).Obj()
	running := build.Pod("web").UID("1").Phase(corev1.PodRunning).Obj()
	done := build.Pod("web").UID("1").Phase(corev1.PodSucceeded).Obj()
	for name, tc := range map[string]struct {
		facts
		want action
	}{
		"nothing anywhere": {facts{twin: twinReady}, doForget},

		"new pod, twin ready":             {facts{home: pending, twin: twinReady}, doCreate},
		"new pod, twin not mentioned yet": {facts{home: pending, twin: twinUnknown}, doHold},
		"new pod, twin not read yet":      {facts{home: pending, twin: twinSyncing}, doHold},
		"new pod, twin leaving":           {facts{home: pending, twin: twinLeaving}, doHold},
		"new pod, no twin":                {facts{home: pending, twin: twinGone}, doHold},
		"pod created a moment ago": {
			facts{home: pending, twin: twinReady, existed: true, unseen: true}, doConfirm,
		},
		"pod created, then twin is leaving": {
			facts{home: pending, twin: twinLeaving, existed: true, unseen: true}, doWait,
		},
		"remote pod went":                     {facts{home: running, twin: twinReady, existed: true}, doLose},
		"remote pod not read yet":             {facts{home: running, twin: twinSyncing, existed: true}, doWait},
		"remote pod, after a restart":         {facts{home: running, twin: twinUnknown, existed: true}, doWait},
		"remote pod went with a leaving twin": {facts{home: running, twin: twinLeaving, existed: true}, doWait},
		"remote pod was seen to go, twin still leaving": {
			facts{home: running, twin: twinLeaving, existed: true, gone: true}, doLose,
		},
		"remote pod went with its twin":      {facts{home: running, twin: twinGone, existed: true}, doLose},
		"finished pod whose remote pod went": {facts{home: done, twin: twinReady, existed: true}, doWait},
		"finished pod whose twin went":       {facts{home: done, twin: twinGone, existed: true}, doWait},
		"both run": {
			facts{home: running, away: running, owner: "1", twin: twinReady, existed: true}, doMirror,
		},
		"both run, twin leaving": {
			facts{home: running, away: running, owner: "1", twin: twinLeaving, existed: true}, doMirror,
		},
		"remote pod deleted by others": {
			facts{home: running, away: deletingIn(running, 30), owner: "1", twin: twinReady}, doMirror,
		},
		"remote pod finished": {
			facts{home: running, away: done, owner: "1", twin: twinReady}, doMirror,
		},
		"both finished":                   {facts{home: done, away: done, owner: "1", twin: twinReady}, doWait},
		"home failed, remote one runs on": {facts{home: done, away: running, owner: "1", twin: twinReady}, doStop},
		"the same, and it is stopping": {
			facts{home: done, away: deletingIn(running, 30), owner: "1", twin: twinReady}, doWait,
		},
		"home deleted": {
			facts{home: deletingIn(running, 30), away: running, owner: "1", twin: twinReady}, doRemove,
		},
		"home deleted, remote one is ending": {
			facts{home: deletingIn(running, 30), away: deletingIn(running, 30), owner: "1", twin: twinReady}, doMirror,
		},
		"home deleted again, faster": {
			facts{home: deletingIn(running, 1), away: deletingIn(running, 30), owner: "1", twin: twinReady}, doRemove,
		},
		"home deleted slower than others did": {
			facts{home: deletingIn(running, 60), away: deletingIn(running, 30), owner: "1", twin: twinReady}, doMirror,
		},
		"home deleted, twin leaving": {
			facts{home: deletingIn(running, 30), away: running, owner: "1", twin: twinLeaving}, doWait,
		},
		"finished home deleted": {
			facts{home: deletingIn(done, 30), away: done, owner: "1", twin: twinReady}, doRemove,
		},
		"home deleted, remote one gone": {
			facts{home: deletingIn(running, 30), twin: twinReady, existed: true}, doFinish,
		},
		"home deleted before it was created": {facts{home: deletingIn(pending, 30), twin: twinReady}, doFinish},
		"home deleted, remote pod was seen to go, twin still leaving": {
			facts{home: deletingIn(running, 30), twin: twinLeaving, existed: true, gone: true}, doFinish,
		},
		"home deleted, twin leaving, what became of its remote pod is not known": {
			facts{home: deletingIn(running, 30), twin: twinLeaving, existed: true}, doWait,
		},
		"home deleted, twin gone": {
			facts{home: deletingIn(running, 30), twin: twinGone, existed: true}, doFinish,
		},
		"home deleted, twin not read yet": {
			facts{home: deletingIn(running, 30), twin: twinSyncing, existed: true}, doWait,
		},
		"home deleted, twin not mentioned yet": {facts{home: deletingIn(pending, 30), twin: twinUnknown}, doWait},
		"ended home, all but the object": {
			facts{home: deletingIn(done, 30), twin: twinReady, existed: true}, doFinish,
		},
		"ended home, held by a finalizer": {
			facts{home: deletingIn(done, 0), twin: twinReady, existed: true}, doWait,
		},
		"forced, held by a finalizer": {
			facts{home: deletingIn(running, 0), twin: twinReady, existed: true}, doFinish,
		},

		"home gone":               {facts{away: running, owner: "1", twin: twinReady}, doOrphan},
		"home gone, twin leaving": {facts{away: running, owner: "1", twin: twinLeaving}, doWait},
		"predecessor in the way":  {facts{home: pending, away: running, owner: "0", twin: twinReady}, doReplace},
		"predecessor ending": {
			facts{home: pending, away: deletingIn(running, 30), owner: "0", twin: twinReady}, doWait,
		},
		"predecessor, and home deleted": {
			facts{home: deletingIn(pending, 30), away: running, owner: "0", twin: twinReady}, doReplace,
		},
		"predecessor of a finished pod": {facts{home: done, away: running, owner: "0", twin: twinReady}, doReplace},
		"predecessor, twin leaving":     {facts{home: pending, away: running, owner: "0", twin: twinLeaving}, doWait},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decide(tc.facts); got != tc.want {
				t.Errorf("want %s, got %s", tc.want, got)
			}
		})
	}
}

// Every combination of facts there is, against what must never happen.
func TestDecideNever(t *testing.T) {
	var pods []*corev1.Pod
	for _, phase := range []corev1.PodPhase{corev1.PodPending, corev1.PodRunning, corev1.PodSucceeded,
		corev1.PodFailed} {
		pod := build.Pod("web").UID("1").Phase(phase).Obj()
		pods = append(pods, pod, deletingIn(pod, 30), deletingIn(pod, 0))
	}
	pods = append(pods, nil)
	for _, f := range combinations(pods) {
		do := decide(f)
		deleting := f.home != nil && f.home.DeletionTimestamp != nil
		finished := f.home != nil && translate.Finished(f.home.Status.Phase)
		for sentence, broken := range map[string]bool{
			"a pod runs twice":                           do == doCreate && (f.existed || f.away != nil),
			"a finished or deleted pod starts":           do == doCreate && (deleting || finished),
			"a pod starts where nothing is known":        do == doCreate && f.twin != twinReady,
			"home leaves before its remote pod":          do == doFinish && (f.away != nil || !deleting),
			"a pod is lost on the word of a half cache":  do == doLose && !settled(f),
			"a pod is lost that is seen":                 do == doLose && (f.away != nil || finished),
			"a leaving twin is written into":             f.twin == twinLeaving && writesAway(do),
			"a remote pod is deleted for nothing":        do == doRemove && !deleting || do == doStop && !finished,
			"a successor's status is a predecessor's":    do == doMirror && f.owner != "1",
			"a finished pod is written to":               do == doMirror && finished && !deleting,
			"a remote pod is an orphan and has its home": do == doOrphan && f.home != nil,
		} {
			if broken {
				t.Errorf("%s: %s with %s", sentence, do, describe(f))
			}
		}
	}
}

func settled(f facts) bool {
	return f.twin == twinReady || f.twin == twinGone || f.twin == twinLeaving && f.gone
}

func writesAway(do action) bool {
	switch do {
	case doCreate, doRemove, doStop, doReplace, doOrphan:
		return true
	default:
		return false
	}
}

func combinations(pods []*corev1.Pod) []facts {
	var out []facts
	for _, home := range pods {
		for _, away := range pods {
			for _, owner := range []string{"1", "0"} {
				for _, twin := range []twinPhase{twinUnknown, twinSyncing, twinReady, twinLeaving, twinGone} {
					for _, known := range [][3]bool{{}, {true}, {true, true}, {true, false, true}} {
						out = append(out, facts{
							home: home, away: away, owner: owner, twin: twin, existed: known[0], unseen: known[1],
							gone: known[2],
						})
					}
				}
			}
		}
	}
	return out
}

func describe(f facts) string {
	one := func(pod *corev1.Pod) string {
		if pod == nil {
			return "none"
		}
		return fmt.Sprintf("%s, grace %v", pod.Status.Phase, ptr.Deref(pod.DeletionGracePeriodSeconds, -1))
	}
	return fmt.Sprintf("home %s; away %s of %s; twin %s; existed %v; unseen %v",
		one(f.home), one(f.away), f.owner, f.twin, f.existed, f.unseen)
}
