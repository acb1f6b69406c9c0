package reflection

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// subjects are copies by UID.
type subjects map[types.UID]corev1.ObjectReference

func (s subjects) Subject(namespace string, meant corev1.ObjectReference) (corev1.ObjectReference, bool) {
	home, ok := s[meant.UID]
	return home, ok && home.Namespace == namespace
}

// eventRig is an Events whose watch is played by the test.
type eventRig struct {
	t        *testing.T
	e        *Events
	home     client.WithWatch
	clock    *clocktesting.FakeClock
	subjects subjects
	refuse   error // what home answers instead of writing

	writes []string
	store  *eventStore
}

func newEventRig(t *testing.T) *eventRig {
	t.Helper()
	r := &eventRig{
		t: t, clock: clocktesting.NewFakeClock(eventTime.Time), subjects: subjects{"away-web": homePod()},
	}
	note := func(verb string, obj client.Object) error {
		r.writes = append(r.writes, verb)
		if obj.GetNamespace() != testHome {
			t.Errorf("%s in namespace %s", verb, obj.GetNamespace())
		}
		return r.refuse
	}
	r.home = interceptor.NewClient(fake.NewClientBuilder().WithScheme(testScheme(t)).Build(), interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := note("create", o); err != nil {
				return err
			}
			return c.Create(ctx, o, opts...)
		},
		Patch: func(
			ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption,
		) error {
			if err := note("patch", o); err != nil {
				return err
			}
			return c.Patch(ctx, o, p, opts...)
		},
	})
	r.restart()
	return r
}

// restart makes new Events that know nothing but what home tells them.
func (r *eventRig) restart() {
	r.t.Helper()
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		r.t.Fatal(err)
	}
	r.e, err = NewEvents(EventsOptions{
		Origin: "home", Destination: "provider-1", Home: r.home, Away: r.home, Clock: r.clock, Metrics: metrics,
		Subjects: []Subjects{subjects{}, r.subjects},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.e.TwinReady(testHome, testAway)
	twin := r.e.twin(testHome)
	r.store = &eventStore{events: r.e}
	if err := r.e.remember(r.t.Context(), twin); err != nil {
		r.t.Fatal(err)
	}
	twin.listens.Store(true)
}

// happens lets the watch deliver events.
func (r *eventRig) happens(events ...*corev1.Event) {
	r.t.Helper()
	for _, src := range events {
		if err := r.store.Add(src); err != nil {
			r.t.Fatal(err)
		}
	}
}

// listed lets the watch begin with events that are there.
func (r *eventRig) listed(events ...*corev1.Event) {
	r.t.Helper()
	var objs []any
	for _, src := range events {
		objs = append(objs, src)
	}
	if err := r.store.Replace(objs, "1"); err != nil {
		r.t.Fatal(err)
	}
}

// settle tells what can be told now, and returns what was written.
func (r *eventRig) settle() string {
	r.t.Helper()
	r.writes = nil
	for _, l := range r.e.lanes {
		r.drain(l)
	}
	return strings.Join(r.writes, " ")
}

func (r *eventRig) drain(l *lane) {
	for l.queue.Len() > 0 {
		key, _ := l.queue.Get()
		r.e.pass(r.t.Context(), l, key)
		l.queue.Done(key)
	}
}

// later is settle after a while, when something is due.
func (r *eventRig) later(after time.Duration) string {
	r.t.Helper()
	// The queue's own goroutine must wait for the clock before that moves.
	if err := wait.PollUntilContextTimeout(r.t.Context(), time.Millisecond, 30*time.Second, true,
		func(context.Context) (bool, error) {
			r.clock.Step(after)
			return r.e.lanes[laneNow].queue.Len()+r.e.lanes[lanePast].queue.Len() > 0, nil
		}); err != nil {
		r.t.Fatal("nothing is due")
	}
	return r.settle()
}

// told returns the messages and counts of the events at home.
func (r *eventRig) told() map[string]int32 {
	r.t.Helper()
	var list corev1.EventList
	if err := r.home.List(r.t.Context(), &list); err != nil {
		r.t.Fatal(err)
	}
	out := map[string]int32{}
	for i := range list.Items {
		out[list.Items[i].Message] += list.Items[i].Count
	}
	return out
}

// occurring returns the event as it is when it has happened so often.
func occurring(name string, count int32) *corev1.Event {
	src := remoteEvent(name)
	src.Count, src.ResourceVersion = count, fmt.Sprint(100+count)
	src.Message = name
	return src
}

func TestAnEventIsToldOnceAndCountedOn(t *testing.T) {
	r := newEventRig(t)
	r.happens(occurring("pulled", 1))
	if got := r.settle(); got != "create" {
		t.Errorf("told by %q", got)
	}
	r.happens(occurring("pulled", 1)) // a relist says it again
	r.listed(occurring("pulled", 1))
	if got := r.settle(); got != "" {
		t.Errorf("said again, it was written: %q", got)
	}
	r.happens(occurring("pulled", 2), occurring("pulled", 3))
	if got := r.settle(); got != "patch" {
		t.Errorf("two more times were told by %q", got)
	}
	if diff := cmp.Diff(map[string]int32{"provider-1: pulled": 3}, r.told()); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestARestartRepeatsNothingAndMissesNothing(t *testing.T) {
	r := newEventRig(t)
	r.happens(occurring("pulled", 1), occurring("started", 4))
	r.settle()
	r.restart()
	r.listed(occurring("pulled", 1), occurring("started", 4))
	if got := r.settle(); got != "" {
		t.Errorf("after a restart: %q", got)
	}
	r.restart()
	r.listed(occurring("pulled", 1), occurring("started", 5), occurring("killed", 1))
	if got := r.settle(); got != "create patch" && got != "patch create" {
		t.Errorf("what happened in the meantime was told by %q", got)
	}
	want := map[string]int32{"provider-1: pulled": 1, "provider-1: started": 5, "provider-1: killed": 1}
	if diff := cmp.Diff(want, r.told()); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestACrashBetweenWritingAndRememberingIsNoMatter(t *testing.T) {
	r := newEventRig(t)
	r.happens(occurring("pulled", 1))
	r.settle()
	r.e.twin(testHome).told.Clear()
	r.happens(occurring("pulled", 1))
	if got := r.settle(); got != "create patch" {
		t.Errorf("told by %q", got)
	}
	if diff := cmp.Diff(map[string]int32{"provider-1: pulled": 1}, r.told()); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

func TestAnEventThatHomeForgotIsToldAnewWhenItHappensAgain(t *testing.T) {
	r := newEventRig(t)
	r.happens(occurring("pulled", 1))
	r.settle()
	if err := r.home.DeleteAllOf(t.Context(), &corev1.Event{}, client.InNamespace(testHome)); err != nil {
		t.Fatal(err)
	}
	r.happens(occurring("pulled", 2))
	if got := r.settle(); got != "patch create" {
		t.Errorf("told by %q", got)
	}
	if diff := cmp.Diff(map[string]int32{"provider-1: pulled": 2}, r.told()); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

// TestManyOldEventsDoNotStandInTheWay: a twin has 13,000 of them when its watch begins.
func TestManyOldEventsDoNotStandInTheWay(t *testing.T) {
	r := newEventRig(t)
	var old []*corev1.Event
	for i := range 13_000 {
		src := occurring(fmt.Sprintf("old-%d", i), 1)
		src.InvolvedObject.UID = types.UID(fmt.Sprint("away-", i))
		r.subjects[src.InvolvedObject.UID] = homePod()
		src.LastTimestamp = metav1.NewTime(eventTime.Add(time.Duration(i) * time.Second))
		old = append(old, src)
	}
	r.listed(old...)
	r.happens(occurring("new", 1))
	r.writes = nil
	r.drain(r.e.lanes[laneNow])
	if diff := cmp.Diff(map[string]int32{"provider-1: new": 1}, r.told()); diff != "" {
		t.Errorf("first (-want,+got)\n%s", diff)
	}
	if got := r.e.lanes[lanePast].queue.Len(); got != maxPast {
		t.Errorf("%d old events are waiting", got)
	}
	r.drain(r.e.lanes[lanePast])
	if got := r.told(); got["provider-1: old-12999"] != 1 || got["provider-1: old-0"] != 0 {
		t.Errorf("of the old events not the latest were told: %v", got)
	}
}

func TestOneObjectDoesNotHideWhatHappenedToOthers(t *testing.T) {
	r := newEventRig(t)
	all := []*corev1.Event{occurring("ours", 1)}
	for i := range 2 * maxPast {
		src := occurring(fmt.Sprintf("foreign-%d", i), 1)
		src.InvolvedObject.UID = "somebody's"
		src.LastTimestamp = metav1.NewTime(eventTime.Add(time.Minute))
		all = append(all, src)
	}
	r.listed(all...)
	if got := r.e.lanes[lanePast].queue.Len(); got != maxPastObject+1 {
		t.Errorf("%d events are waiting", got)
	}
	if got := r.settle(); got != "create" {
		t.Errorf("told by %q", got)
	}
}

func TestEventsOfOthersAreNotTold(t *testing.T) {
	r := newEventRig(t)
	foreign := occurring("foreign", 1)
	foreign.InvolvedObject.UID = "somebody's"
	elsewhere := occurring("elsewhere", 1)
	elsewhere.InvolvedObject.Namespace = "kube-system"
	r.happens(foreign, elsewhere)
	r.settle()
	for range subjectAttempts {
		if got := r.later(eventLongestWait); got != "" {
			t.Fatalf("told by %q", got)
		}
	}
	if got := len(r.e.twin(testHome).pending); got != 0 {
		t.Errorf("%d are still waiting", got)
	}
	r.listed(foreign, elsewhere)
	if got := r.e.lanes[lanePast].queue.Len(); got != 0 {
		t.Errorf("a relist has %d of them looked at again", got)
	}
}

func TestAnEventMayBeHereBeforeItsObject(t *testing.T) {
	r := newEventRig(t)
	early := occurring("scheduled", 1)
	early.InvolvedObject.UID = "away-new"
	r.happens(early)
	if got := r.settle(); got != "" {
		t.Errorf("told by %q", got)
	}
	home := homePod()
	home.Name = "new"
	r.subjects["away-new"] = home
	if got := r.later(eventFirstRetry); got != "create" {
		t.Errorf("told by %q", got)
	}
}

func TestAnEventMayComeWhenItsObjectHasGone(t *testing.T) {
	r := newEventRig(t)
	r.happens(occurring("started", 1))
	r.settle()
	delete(r.subjects, "away-web")
	r.happens(occurring("killing", 1))
	if got := r.settle(); got != "create" {
		t.Errorf("told by %q", got)
	}
}

func TestOneObjectDoesNotFloodHome(t *testing.T) {
	r := newEventRig(t)
	quiet := homePod()
	quiet.Name, quiet.UID = "quiet", "home-quiet"
	r.subjects["away-quiet"] = quiet
	for i := range 500 {
		r.happens(occurring(fmt.Sprintf("flood-%d", i), 1))
	}
	other := occurring("quiet", 1)
	other.InvolvedObject.UID = "away-quiet"
	r.happens(other)
	r.settle()
	if got := r.told(); len(got) != objectBurst+1 || got["provider-1: quiet"] != 1 {
		t.Errorf("%d events were told: %v", len(got), got)
	}
	r.later(objectPause)
	if got := len(r.told()); got < objectBurst+2 || got > objectBurst+4 {
		t.Errorf("%d events were told after a pause", got)
	}
}

func TestAllObjectsTogetherDoNotFloodHome(t *testing.T) {
	r := newEventRig(t)
	for i := range 900 {
		src := occurring(fmt.Sprintf("flood-%d", i), 1)
		src.InvolvedObject.UID = types.UID(fmt.Sprint("away-", i))
		about := homePod()
		about.UID = types.UID(fmt.Sprint("home-", i))
		r.subjects[src.InvolvedObject.UID] = about
		r.happens(src)
	}
	r.settle()
	if got := len(r.told()); got != eventsBurst {
		t.Errorf("%d events were told at once", got)
	}
	r.later(time.Second)
	if got := len(r.told()); got < eventsBurst+eventsPerSecond {
		t.Errorf("%d events were told a second later", got)
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	r := newEventRig(t)
	for i := range 3 * maxPending {
		r.happens(occurring(fmt.Sprintf("flood-%d", i), 1))
	}
	if got := len(r.e.twin(testHome).pending); got != maxPending {
		t.Errorf("%d events are waiting", got)
	}
}

func TestAHomeThatDoesNotTakeAnEventIsAskedAgain(t *testing.T) {
	gone := apierrors.NewForbidden(corev1.Resource("events"), "x", errors.New("terminating"))
	gone.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	told := map[string]int32{"provider-1: pulled": 1}
	for name, c := range map[string]struct {
		refusal error
		want    map[string]int32
	}{
		"no answer":     {errors.New("connection refused"), told},
		"too busy":      {apierrors.NewTooManyRequests("later", 1), told},
		"not allowed":   {apierrors.NewForbidden(corev1.Resource("events"), "x", nil), told},
		"no event":      {apierrors.NewBadRequest("no"), map[string]int32{}},
		"the namespace": {gone, map[string]int32{}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newEventRig(t)
			r.refuse = c.refusal
			r.happens(occurring("pulled", 1))
			if got := r.settle(); got != "create" {
				t.Errorf("told by %q", got)
			}
			r.refuse = nil
			if waits := len(r.e.twin(testHome).pending) > 0; waits != (len(c.want) > 0) {
				t.Fatalf("it waits: %v", waits)
			} else if waits {
				r.later(eventFirstRetry)
			}
			if diff := cmp.Diff(c.want, r.told()); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

func TestEventsOfATwinThatWentAreDropped(t *testing.T) {
	r := newEventRig(t)
	r.happens(occurring("pulled", 1))
	r.e.TwinLeaving(testHome)
	if got := r.settle(); got != "create" {
		t.Errorf("while the twin leaves: %q", got)
	}
	r.happens(occurring("killing", 1))
	r.e.TwinGone(testHome)
	if got := r.settle(); got != "" {
		t.Errorf("when the twin has gone: %q", got)
	}
}

func TestEventsNeedToKnowBothClusters(t *testing.T) {
	if _, err := NewEvents(EventsOptions{Origin: "home"}); err == nil {
		t.Error("no error")
	}
}

func TestAnEventThatArrivesAtTheEndDoesNotKeepItFromComing(t *testing.T) {
	e := newEventRig(t).e
	ctx, cancel := context.WithCancel(t.Context())
	e.running.Go(func() {
		<-ctx.Done()
		for until := time.Now().Add(200 * time.Millisecond); time.Now().Before(until); {
			e.listening(testAway)
		}
	})
	over := make(chan struct{})
	go func() {
		_ = e.Start(ctx)
		close(over)
	}()
	cancel()
	if !ended(over) {
		t.Error("Start holds what those need whom it waits for")
	}
}
