package provider

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

// patience is how long a provider had for a pod that came at noon.
const patience = 5 * time.Minute

// releasing is a pod that found no node from noon on, as its agent sees it, and two servers that may know better.
type releasing struct {
	*Pods
	home, away *fake.Clientset
	clock      *clocktesting.FakeClock
	work       *work
	evictions  []*policyv1.Eviction
	registry   *prometheus.Registry
}

func newReleasing(answer error) *releasing {
	home := came(corev1.PodPending, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
	home.UID, home.ResourceVersion, home.Spec.NodeName = "home", "17", "vn-1"
	home.OwnerReferences = build.Pod("web").Controller("ReplicaSet", "web", "rs-1").Obj().OwnerReferences
	away := translate.Target{Origin: "home", Destination: provider, Node: "vn-1", Namespace: "shop-a"}.Pod(home)
	away.UID, away.CreationTimestamp, away.Status = "away", metav1.NewTime(atOne), gaveUp(0).Status
	r := &releasing{
		home: fake.NewClientset(home), away: fake.NewClientset(away), registry: prometheus.NewRegistry(),
		clock: clocktesting.NewFakeClock(atNoon.Add(patience)),
	}
	r.home.PrependReactor("create", "pods/eviction", func(a clienttesting.Action) (bool, runtime.Object, error) {
		eviction := a.(clienttesting.CreateAction).GetObject().(*policyv1.Eviction)
		r.evictions = append(r.evictions, eviction)
		return true, nil, answer
	})
	r.Pods = NewPods(PodsOptions{
		Home: r.home, Away: r.away, Origin: "home", Destination: provider, Recorder: events.NewFakeRecorder(10),
		Clock: r.clock, ReleaseAfter: patience, Metrics: NewMetrics(r.registry),
	})
	r.work = &work{
		key:   key{Namespace: home.Namespace, Name: home.Name},
		facts: facts{home: home, away: away, owner: "home", twin: twinReady}, space: twin{away: "shop-a"},
	}
	return r
}

// The watch of the provider, and what the agent remembers of home, may be late.
func TestWhatIsMadeSureOfBeforeARelease(t *testing.T) {
	live := func(change func(*corev1.Pod)) func(*testing.T, *releasing) {
		return func(t *testing.T, r *releasing) {
			t.Helper()
			pod := r.work.away.DeepCopy()
			change(pod)
			err := r.away.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), pod, "shop-a")
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, test := range map[string]struct {
		but   func(*testing.T, *releasing)
		want  int // evictions
		again time.Duration
	}{
		"all is as it seems": {want: 1},
		"it is not time yet": {
			but:   func(_ *testing.T, r *releasing) { r.clock.SetTime(atNoon.Add(patience - time.Second)) },
			again: time.Second,
		},
		"releasing is off":    {but: func(_ *testing.T, r *releasing) { r.opts.ReleaseAfter = 0 }},
		"the twin is leaving": {but: func(_ *testing.T, r *releasing) { r.work.twin = twinLeaving }},
		"it found a node":     {but: live(func(p *corev1.Pod) { p.Spec.NodeName = "worker" }), again: lateWatch},
		"it is another pod":   {but: live(func(p *corev1.Pod) { p.UID = "another" }), again: lateWatch},
		"it is being deleted": {
			but:   live(func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: atNoon} }),
			again: lateWatch,
		},
		"it is gone": {
			but: func(t *testing.T, r *releasing) {
				t.Helper()
				err := r.away.CoreV1().Pods("shop-a").Delete(t.Context(), "web", metav1.DeleteOptions{})
				if err != nil {
					t.Fatal(err)
				}
			},
			again: lateWatch,
		},
		"the Node does not say yet that no more are to come": {
			but: func(_ *testing.T, r *releasing) { r.opts.UnfitFor = time.Minute }, again: unfitPoll,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReleasing(nil)
			if test.but != nil {
				test.but(t, r)
			}
			err := r.release(t.Context(), r.work)
			var a again
			if errors.As(err, &a); a.after != test.again || len(r.evictions) != test.want {
				t.Errorf("%d evictions, then %v; want %d, then %s", len(r.evictions), err, test.want, test.again)
			}
		})
	}
}

// Reading a remote pod is a call of the provider like any other: it must not take the workers that are left to home.
func TestAReleaseWaitsForItsTurn(t *testing.T) {
	r := newReleasing(nil)
	for i := range r.lanes.slots {
		r.lanes.enter(named(strconv.Itoa(i)), laneAway)
	}
	if err := r.release(t.Context(), r.work); !errors.Is(err, errParked) || len(r.away.Actions()) != 0 {
		t.Errorf("want no call before its turn, got %v after %v", err, r.away.Actions())
	}
}

func TestOnlyThePodThatWasLookedAtIsEvicted(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for name, test := range map[string]struct {
		answer   error
		after    time.Duration
		fails    bool
		released float64
	}{
		"it goes":            {released: 1},
		"it is gone already": {answer: apierrors.NewNotFound(pods, "web")},
		"it changed":         {answer: apierrors.NewConflict(pods, "web", nil), after: time.Second},
		"a budget refuses":   {answer: apierrors.NewTooManyRequests("the budget", 10), fails: true},
		"nobody may do it":   {answer: apierrors.NewForbidden(pods, "web", errors.New("no")), fails: true},
		"there is no answer": {answer: errors.New("cut"), fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReleasing(test.answer)
			err := r.release(t.Context(), r.work)
			var a again
			if asked := errors.As(err, &a); a.after != test.after || (err != nil && !asked) != test.fails {
				t.Errorf("error %v", err)
			}
			if len(r.evictions) != 1 {
				t.Fatalf("%d evictions", len(r.evictions))
			}
			only := r.evictions[0].DeleteOptions.Preconditions
			if only == nil || *only.UID != "home" || *only.ResourceVersion != "17" {
				t.Errorf("preconditions %+v", only)
			}
			if got := testutil.ToFloat64(r.opts.Metrics.releases); got != test.released {
				t.Errorf("%v releases are counted", got)
			}
		})
	}
}

// The policy may change between a pod's binding and its remote pod.
func TestAPodThatPolicyCameToForbidIsReleased(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "web", errors.New("not offloaded"))
	for name, test := range map[string]struct {
		but    func(*releasing)
		answer error
		want   int // evictions
		fails  bool
	}{
		"all is as it seems":                      {want: 1},
		"its namespace is not offloaded any more": {answer: forbidden, want: 1, fails: true},
		"it is not time yet": {
			but: func(r *releasing) { r.clock.SetTime(atNoon.Add(patience - time.Second)) },
		},
		"releasing is off":     {but: func(r *releasing) { r.opts.ReleaseAfter = 0 }},
		"nobody makes it anew": {but: func(r *releasing) { r.work.home.OwnerReferences = nil }},
		"it was created with the Node's name": {but: func(r *releasing) {
			r.work.home.Status.Conditions = slices.DeleteFunc(r.work.home.Status.Conditions,
				func(c corev1.PodCondition) bool { return c.Type == corev1.PodScheduled })
		}},
		"it is permitted again": {but: func(r *releasing) {
			r.opts.Admit = func(context.Context, *corev1.Pod) (string, error) { return "", nil }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReleasing(test.answer)
			const refusal = "strategy Local keeps the pods of this namespace at home"
			r.opts.Admit = func(context.Context, *corev1.Pod) (string, error) { return refusal, nil }
			w := r.work
			w.away, w.owner = nil, ""
			w.home.Status.Conditions = slices.DeleteFunc(w.home.Status.Conditions,
				func(c corev1.PodCondition) bool { return c.Type == translate.Offloaded })
			r.clock.SetTime(atNoon)
			w.home.Status = r.view().Waiting(w.home, ReasonBackOff, refusal)
			r.clock.SetTime(atNoon.Add(patience))
			if test.but != nil {
				test.but(r)
			}
			err := r.create(t.Context(), w)
			if len(r.evictions) != test.want {
				t.Errorf("%d evictions, then %v; want %d", len(r.evictions), err, test.want)
			}
			if failed := w.home.Status.Phase == corev1.PodFailed; failed != test.fails {
				t.Errorf("failed: %t, %v", failed, err)
			}
			if got := testutil.ToFloat64(r.opts.Metrics.releases); got != float64(test.want) {
				t.Errorf("%v releases are counted", got)
			}
			if test.want > 0 {
				told := <-r.opts.Recorder.(*events.FakeRecorder).Events
				want := "released after 5m0s at provider " + provider + ", to be placed elsewhere: " + refusal
				if !strings.Contains(told, ReasonReleasedRefused+" "+want) {
					t.Errorf("told %q", told)
				}
			}
		})
	}
}
