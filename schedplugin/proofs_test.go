package schedplugin

import (
	"context"
	"errors"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/twinspace/twinspace/e2e/build"
)

func version(namespace string, rv int) *corev1.Pod {
	pod := build.Pod("web-" + strconv.Itoa(rv)).Namespace(namespace).Obj()
	pod.ResourceVersion = strconv.Itoa(rv)
	return pod
}

func TestConfirm(t *testing.T) {
	var (
		none = identity{}
		one  = identity{UID: "1", Generation: 1}
		two  = identity{UID: "1", Generation: 2}
		errs = errors.New("the API server is away")
	)
	type step struct {
		pod       *corev1.Pod
		seen      string // by the scheduler, of pods
		decided   identity
		live      identity
		liveErr   error
		want      error
		wantReads int // since the start
	}
	for name, steps := range map[string][]step{
		"a pod of an ordinary namespace": {
			{pod: version("shop", 5), seen: "5", wantReads: 1},
		},
		"one read serves all pods that were seen before it": {
			{pod: version("shop", 5), seen: "9", wantReads: 1},
			{pod: version("shop", 6), seen: "9", wantReads: 1},
			{pod: version("shop", 9), seen: "30", wantReads: 1},
			{pod: version("shop", 10), seen: "30", wantReads: 2},
			{pod: version("shop", 30), seen: "31", wantReads: 2},
		},
		"versions are numbers, not words": {
			{pod: version("shop", 90), seen: "90", wantReads: 1},
			{pod: version("shop", 100), seen: "100", wantReads: 2},
		},
		"another namespace needs a read of its own": {
			{pod: version("shop", 5), seen: "9", wantReads: 1},
			{pod: version("mall", 5), seen: "9", wantReads: 2},
		},
		"the pod itself has been seen, whatever the cache says": {
			{pod: version("shop", 5), seen: "3", wantReads: 1},
			{pod: version("shop", 5), seen: "3", wantReads: 1},
			{pod: version("shop", 6), seen: "", wantReads: 2},
		},
		"a NamespaceOffloading that the scheduler has not heard of": {
			{pod: version("shop", 5), seen: "9", decided: none, live: one, want: errChanged, wantReads: 1},
			{pod: version("shop", 5), seen: "9", decided: none, live: one, want: errChanged, wantReads: 2},
			{pod: version("shop", 5), seen: "9", decided: one, live: one, wantReads: 2},
		},
		"an edit that the scheduler has not heard of": {
			{pod: version("shop", 5), seen: "5", decided: one, live: one, wantReads: 1},
			{pod: version("shop", 7), seen: "7", decided: one, live: two, want: errChanged, wantReads: 2},
			{pod: version("shop", 7), seen: "7", decided: two, live: two, wantReads: 2},
		},
		"a deletion that the scheduler has not heard of": {
			{pod: version("shop", 5), seen: "5", decided: one, live: none, want: errChanged, wantReads: 1},
		},
		"an edit that came after the proof, and that the scheduler has heard of": {
			{pod: version("shop", 5), seen: "9", decided: one, live: one, wantReads: 1},
			{pod: version("shop", 6), seen: "9", decided: two, live: two, wantReads: 2},
		},
		"no answer proves nothing": {
			{pod: version("shop", 5), seen: "9", liveErr: errs, want: errs, wantReads: 1},
			{pod: version("shop", 5), seen: "9", wantReads: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var now step
			reads := 0
			clock := clocktesting.NewFakeClock(time.Now())
			p := newProofs(
				func(context.Context, string) (identity, error) { reads++; return now.live, now.liveErr },
				func() string { return now.seen }, clock,
			)
			for i, s := range steps {
				now = s
				clock.Step(pace)
				if err := p.confirm(t.Context(), s.pod, s.decided); !errors.Is(err, s.want) {
					t.Errorf("step %d: got %v, want %v", i, err, s.want)
				}
				if reads != s.wantReads {
					t.Errorf("step %d: %d live reads so far, want %d", i, reads, s.wantReads)
				}
			}
		})
	}
}

func TestPodsThatComeDuringAReadShareTheNext(t *testing.T) {
	const pods = 100
	var reads atomic.Int32
	var seen atomic.Int64
	reading, answer := make(chan struct{}, pods), make(chan struct{})
	p := newProofs(
		func(context.Context, string) (identity, error) {
			reads.Add(1)
			reading <- struct{}{}
			<-answer
			return identity{}, nil
		},
		func() string { return strconv.FormatInt(seen.Load(), 10) }, clock.RealClock{},
	)
	var all sync.WaitGroup
	confirm := func(rv int) {
		all.Go(func() {
			if err := p.confirm(t.Context(), version("shop", rv), identity{}); err != nil {
				t.Errorf("pod %d: %v", rv, err)
			}
		})
	}
	seen.Store(1)
	confirm(1)
	<-reading
	seen.Store(pods)
	for rv := 2; rv <= pods; rv++ {
		confirm(rv)
	}
	close(answer)
	all.Wait()
	if got := reads.Load(); got != 2 {
		t.Errorf("%d live reads for %d pods, want 2", got, pods)
	}
}

// awaited returns once somebody waits for the clock.
func awaited(t *testing.T, clock *clocktesting.FakeClock) {
	t.Helper()
	for start := time.Now(); !clock.HasWaiters(); runtime.Gosched() {
		if time.Since(start) > 10*time.Second {
			t.Fatal("nobody waits for the clock")
		}
	}
}

func TestPodsThatComeOneByOneShareReads(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Now())
	var reads atomic.Int32
	var seen atomic.Int64
	p := newProofs(
		func(context.Context, string) (identity, error) { reads.Add(1); return identity{}, nil },
		func() string { return strconv.FormatInt(seen.Load(), 10) }, clock,
	)
	confirm := func(ctx context.Context, namespace string, rv int) <-chan error {
		done := make(chan error, 1)
		seen.Store(int64(rv))
		go func() { done <- p.confirm(ctx, version(namespace, rv), identity{}) }()
		return done
	}
	if err := <-confirm(t.Context(), "shop", 1); err != nil || reads.Load() != 1 {
		t.Fatalf("the first pod does not wait: %v, %d reads", err, reads.Load())
	}
	second := confirm(t.Context(), "shop", 2)
	awaited(t, clock)
	third := confirm(t.Context(), "shop", 3)
	if err := <-confirm(t.Context(), "mall", 4); err != nil || reads.Load() != 2 {
		t.Fatalf("a pod of another namespace does not wait: %v, %d reads", err, reads.Load())
	}
	clock.Step(pace)
	if err := errors.Join(<-second, <-third); err != nil || reads.Load() != 3 {
		t.Fatalf("pods share a read: %v, %d reads", err, reads.Load())
	}
	if err := <-confirm(t.Context(), "mall", 5); err != nil || reads.Load() != 4 {
		t.Errorf("a pod that comes late enough does not wait: %v, %d reads", err, reads.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	last := confirm(ctx, "mall", 6)
	awaited(t, clock)
	cancel()
	if err := <-last; !errors.Is(err, context.Canceled) || reads.Load() != 4 {
		t.Errorf("the scheduler ends: %v, %d reads", err, reads.Load())
	}
}

func TestAForgottenNamespaceIsReadAgain(t *testing.T) {
	reads := 0
	p := newProofs(
		func(context.Context, string) (identity, error) { reads++; return identity{}, nil },
		func() string { return "9" }, clock.RealClock{},
	)
	for range 2 {
		if err := p.confirm(t.Context(), version("shop", 5), identity{}); err != nil {
			t.Fatal(err)
		}
		p.forget("shop")
	}
	if reads != 2 {
		t.Errorf("%d live reads, want one per life of the namespace", reads)
	}
}
