package provider

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

// atNoon is by home's clock; the provider's is an hour ahead.
var (
	atNoon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	atOne  = atNoon.Add(time.Hour)
)

// came is a home pod whose remote pod came at noon.
func came(phase corev1.PodPhase, conditions ...corev1.PodCondition) *corev1.Pod {
	pod := build.Pod("web").Phase(phase).Obj()
	pod.Status.Conditions = append(slices.Clone(conditions), corev1.PodCondition{
		Type: translate.Offloaded, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(atNoon),
	})
	return pod
}

// tried is a remote pod that the provider's scheduler said something about, so long after it came.
func tried(status corev1.ConditionStatus, reason string, later time.Duration) *corev1.Pod {
	pod := build.Pod("web").Obj()
	pod.CreationTimestamp = metav1.NewTime(atOne)
	pod.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: status, Reason: reason, LastTransitionTime: metav1.NewTime(atOne.Add(later)),
	}}
	return pod
}

func gaveUp(later time.Duration) *corev1.Pod {
	return tried(corev1.ConditionFalse, corev1.PodReasonUnschedulable, later)
}

func TestSinceWhenAPodFoundNoNode(t *testing.T) {
	told := came(corev1.PodPending)
	told.Status.Conditions[0].Status = corev1.ConditionFalse
	undated := gaveUp(time.Minute)
	undated.CreationTimestamp = metav1.Time{}
	const no = -1
	for name, test := range map[string]struct {
		home, away *corev1.Pod
		want       time.Duration // after noon
	}{
		"the scheduler gave up at once": {
			came(corev1.PodPending), gaveUp(0), 0,
		},
		"the scheduler gave up a minute later": {
			came(corev1.PodPending), gaveUp(time.Minute), time.Minute,
		},
		"the provider says that it gave up before the pod came": {
			came(corev1.PodPending), gaveUp(-time.Hour), 0,
		},
		"the provider does not say when the pod came": {came(corev1.PodPending), undated, 0},
		"it found a node": {came(corev1.PodPending), tried(corev1.ConditionTrue, "", 0), no},
		"it is held by a gate": {
			came(corev1.PodPending), tried(corev1.ConditionFalse, corev1.PodReasonSchedulingGated, 0), no,
		},
		"nobody looked at it":         {came(corev1.PodPending), build.Pod("web").Obj(), no},
		"it runs, says home":          {came(corev1.PodRunning), gaveUp(0), no},
		"home was not told of it yet": {told, gaveUp(0), no},
		"home says nothing":           {build.Pod("web").Phase("Pending").Obj(), gaveUp(0), no},
	} {
		t.Run(name, func(t *testing.T) {
			since, waits := unplaced(test.home, test.away)
			got := since.Sub(atNoon)
			if !waits {
				got = no
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestWhoCanBeReleased(t *testing.T) {
	bound := corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}
	of := func(kind string, conditions ...corev1.PodCondition) *corev1.Pod {
		pod := build.Pod("web").Controller(kind, "web", "1").Obj()
		pod.Status.Conditions = conditions
		return pod
	}
	single := of("ReplicaSet", bound)
	single.OwnerReferences[0].Controller = nil
	leaving := of("ReplicaSet", bound)
	leaving.DeletionTimestamp = &metav1.Time{Time: atNoon}
	for name, test := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"one of a ReplicaSet":                       {of("ReplicaSet", bound), true},
		"one of a Job":                              {of("Job", bound), true},
		"one of a controller that nobody knows":     {of("Widget", bound), true},
		"one of a DaemonSet, which would come back": {of("DaemonSet", bound), false},
		"one with an owner that is no controller":   {single, false},
		"one that is leaving":                       {leaving, false},
		"one that was created with the Node's name": {of("ReplicaSet"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := releasable(test.pod); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// The words of a provider may be long; the API server takes no longer event.
func TestAReleaseIsToldOnceAndInTime(t *testing.T) {
	recorder := events.NewFakeRecorder(10)
	p := NewPods(PodsOptions{Recorder: recorder, Destination: "milan", ReleaseAfter: 5 * time.Minute})
	home := build.Pod("web").Namespace("shop").UID("1").Controller("Job", "sums", "2").Obj()
	home.Status.Message = strings.Repeat("é", maxNote)
	w := &work{key: key{Namespace: "shop", Name: "web"}, facts: facts{home: home}}
	for range 2 {
		p.announceRelease(w, ReasonReleased, noMoreOf(metav1.GetControllerOf(home), atNoon))
	}
	got := <-recorder.Events
	if len(recorder.Events) > 0 {
		t.Errorf("told again: %s", <-recorder.Events)
	}
	want := "Warning ReleasedUnschedulable released after 5m0s at provider milan, to be placed elsewhere; " +
		"no pod of Job sums is sent there before 2026-11-21T12:00:00Z: é"
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "é...") {
		t.Errorf("got %q", got)
	}
	if note := strings.TrimPrefix(got, "Warning ReleasedUnschedulable "); len(note) > maxNote {
		t.Errorf("%d bytes", len(note))
	}
}

func naming(text string) *corev1.Node {
	node := build.Node("vn-1")
	node.Annotations = map[string]string{v1beta1.AnnotationUnfit: text}
	return node
}

// What a Node says of controllers, from the first that found no node to the time when it is sent pods again.
func TestWhatANodeSaysOfControllers(t *testing.T) {
	c := clocktesting.NewFakeClock(atNoon)
	p := NewPods(PodsOptions{Clock: c})
	kicks := 0
	p.OnUnfit(func() { kicks++ })
	tell := func(uid types.UID) string {
		until, said := p.unfits.tell("vn-1", uid, c.Now(), 10*time.Minute)
		if !said {
			return "not yet"
		}
		return "until " + until.Format("15:04")
	}
	node := func(live *corev1.Node) string {
		text, next, err := p.Unfit("vn-1", live)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s for %s", text, next)
	}
	for _, step := range []struct {
		name string
		do   func() string
		want string
	}{
		{"nothing is known", func() string { return node(nil) }, " for 0s"},
		{"the first one", func() string { return tell("a") }, "not yet"},
		{"the same, before the Node says so", func() string { return tell("a") }, "not yet"},
		{"the Node does not exist yet", func() string { return node(nil) }, `{"a":"2026-11-21T12:10:00Z"} for 10m0s`},
		{"the Node is to say it", func() string { return node(naming("")) }, `{"a":"2026-11-21T12:10:00Z"} for 10m0s`},
		{"it does not yet", func() string { return tell("a") }, "not yet"},
		{
			"it does", func() string { return node(naming(`{"a":"2026-11-21T12:10:00Z"}`)) },
			`{"a":"2026-11-21T12:10:00Z"} for 10m0s`,
		},
		{"now the pod may go", func() string { return tell("a") }, "until 12:10"},
		{"another Node says nothing of it", func() string {
			text, next, err := p.Unfit("vn-2", nil)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%s for %s", text, next)
		}, " for 0s"},
		{
			"a second one, four minutes later", func() string { c.Step(4 * time.Minute); return tell("b") }, "not yet",
		},
		{"the first one needs no write", func() string { return tell("a") }, "until 12:10"},
		{
			"both", func() string { return node(naming(`{"a":"2026-11-21T12:10:00Z"}`)) },
			`{"a":"2026-11-21T12:10:00Z","b":"2026-11-21T12:14:00Z"} for 6m0s`,
		},
		{
			"both are said", func() string {
				return node(naming(`{"a":"2026-11-21T12:10:00Z","b":"2026-11-21T12:14:00Z"}`))
			},
			`{"a":"2026-11-21T12:10:00Z","b":"2026-11-21T12:14:00Z"} for 6m0s`,
		},
		{
			"little is left of the first", func() string { c.Step(2 * time.Minute); return tell("a") }, "not yet",
		},
		{
			"it is said for longer", func() string {
				return node(naming(`{"a":"2026-11-21T12:10:00Z","b":"2026-11-21T12:14:00Z"}`))
			},
			`{"a":"2026-11-21T12:16:00Z","b":"2026-11-21T12:14:00Z"} for 8m0s`,
		},
		{
			"somebody takes the second away", func() string { return node(naming(`{"a":"2026-11-21T12:16:00Z"}`)) },
			`{"a":"2026-11-21T12:16:00Z"} for 10m0s`,
		},
		{
			"somebody changes the first", func() string { return node(naming(`{"a":"2026-11-21T12:08:00Z"}`)) },
			`{"a":"2026-11-21T12:08:00Z"} for 2m0s`,
		},
		{
			"it has passed", func() string {
				c.Step(2 * time.Minute)
				return node(naming(`{"a":"2026-11-21T12:08:00Z"}`))
			},
			"{} for 0s",
		},
		{"the last write", func() string { return node(naming("{}")) }, " for 0s"},
		{"somebody's nonsense", func() string { return node(naming("sometimes")) }, "{} for 0s"},
	} {
		if got := step.do(); got != step.want {
			t.Fatalf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
	if kicks != 5 { // whenever it was "not yet"
		t.Errorf("the Node was looked at %d times", kicks)
	}
}

// An agent that starts anew goes by what the Node says.
func TestANodesWordSurvivesTheAgent(t *testing.T) {
	p := NewPods(PodsOptions{Clock: clocktesting.NewFakeClock(atNoon)})
	said := `{"a":"2026-11-21T12:10:00Z"}`
	if text, next, err := p.Unfit("vn-1", naming(said)); text != said || next != 10*time.Minute || err != nil {
		t.Errorf("it says %s for %s, %v", text, next, err)
	}
	if _, said := p.unfits.tell("vn-1", "a", atNoon, 10*time.Minute); !said {
		t.Error("what the Node says is to be said again")
	}
}

func TestANodeNamesOnlySoMany(t *testing.T) {
	p := NewPods(PodsOptions{Clock: clocktesting.NewFakeClock(atNoon)})
	for i := range maxUnfit + 20 {
		p.unfits.tell("vn-1", types.UID(fmt.Sprintf("uid-%03d", i)), atNoon, time.Duration(i+1)*time.Minute)
	}
	text, next, err := p.Unfit("vn-1", nil)
	if err != nil || next != 21*time.Minute || strings.Contains(text, "uid-019") || !strings.Contains(text, "uid-020") {
		t.Errorf("the first of %s passes in %s, want those left out that are the first to pass", text, next)
	}
	if names := strings.Count(text, ":00Z"); names != maxUnfit {
		t.Errorf("it names %d, want %d", names, maxUnfit)
	}
	again, _, err := p.Unfit("vn-1", naming(text))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(text, again); diff != "" {
		t.Errorf("it says something else when it is asked again (-want,+got):\n%s", diff)
	}
}

// A provider that grows when pods wait has to see them.
func TestAVirtualNodeMayDeclareItsLargestFreeNode(t *testing.T) {
	for name, test := range map[string]struct {
		declared map[string]string
		want     string
	}{
		"nothing is declared":   {nil, `{"cpu":"2"}`},
		"something else is":     {map[string]string{"example.com/team": "blue"}, `{"cpu":"2"}`},
		"that it does not say":  {map[string]string{v1beta1.AnnotationLargestFree: "{}"}, "{}"},
		"that it is larger":     {map[string]string{v1beta1.AnnotationLargestFree: `{"cpu":"64"}`}, `{"cpu":"64"}`},
		"whom it does not take": {map[string]string{v1beta1.AnnotationUnfit: "{}"}, `{"cpu":"2"}`},
	} {
		t.Run(name, func(t *testing.T) {
			vn := build.VirtualNode("vn-1", provider)
			vn.Spec.Annotations = test.declared
			unfit := `{"a":"2026-11-21T12:10:00Z"}`
			got := form{vn: vn, free: `{"cpu":"2"}`, unfit: unfit}.annotations()
			if got[v1beta1.AnnotationLargestFree] != test.want || got[v1beta1.AnnotationUnfit] != unfit {
				t.Errorf("got %v", got)
			}
		})
	}
}
