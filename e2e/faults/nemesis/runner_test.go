package nemesis

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

// tale writes down what happens, with the seconds since the beginning.
type tale struct {
	clock *clocktesting.FakeClock
	mu    sync.Mutex
	lines []string
}

func (t *tale) tell(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, t.clock.Now().Format("05")+" "+what)
}

func (t *tale) Begins(s Step) { t.tell("begins " + s.Name()) }
func (t *tale) Healed(s Step) { t.tell("healed " + s.Name()) }
func (t *tale) Done(r *Result) {
	if r.Passed() {
		t.tell("passed " + r.Step)
	} else {
		t.tell("failed " + r.Step)
	}
}

// fault is one that says when it is brought about and put right.
func (t *tale) fault(name string, hold time.Duration, err error) Fault {
	return Fault{Name: name, Hold: hold, Bound: 5 * time.Second, Inject: func(context.Context, *Scene) (Heal, error) {
		t.tell("inject " + name)
		return func(context.Context) error {
			t.tell("heal " + name)
			return nil
		}, err
	}}
}

// runs carries the plan out under a clock that jumps to what is waited for, and returns the tale. What home and
// providers disagree about is asked for with the seconds since the beginning.
func runs(t *testing.T, plan []Step, wrong func(second int) []Complaint, story *tale) []Result {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	begin := story.clock.Now()
	r := &Runner{
		Scene: Scene{Say: func(string, ...any) {}}, Clock: story.clock, Tell: story, Patience: 5 * time.Second,
		Look: func(context.Context) ([]Complaint, error) {
			return wrong(int(story.clock.Since(begin).Seconds())), nil
		},
	}
	done := make(chan []Result)
	go func() { done <- r.Run(ctx, plan) }()
	for {
		select {
		case results := <-done:
			cancel()
			return results
		default:
			if story.clock.HasWaiters() {
				story.clock.Step(time.Second)
			}
		}
	}
}

func newTale() *tale { return &tale{clock: clocktesting.NewFakeClock(time.Unix(0, 0))} }

func TestEachFaultOfAPairIsPutRightWhenItsTimeIsOver(t *testing.T) {
	story := newTale()
	plan := []Step{
		{Faults: []Fault{story.fault("a", 4*time.Second, nil), story.fault("b", 4*time.Second, nil)}},
		{Faults: []Fault{story.fault("c", 4*time.Second, nil), story.fault("d", 2*time.Second, nil)}},
	}
	results := runs(t, plan, func(int) []Complaint { return nil }, story)
	want := []string{
		"00 begins a+b", "00 inject a", "00 inject b", "04 heal a", "04 heal b", "04 healed a+b", "10 passed a+b",
		"10 begins c+d", "10 inject c", "10 inject d", "12 heal d", "14 heal c", "14 healed c+d", "20 passed c+d",
	}
	if diff := cmp.Diff(want, story.lines); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if results[0].Hold != 4*time.Second || results[0].Converged != 0 {
		t.Errorf("held for %s, converged after %s", results[0].Hold, results[0].Converged)
	}
}

func TestWhatHasBegunIsPutRightThoughItFailed(t *testing.T) {
	story := newTale()
	plan := []Step{
		{Faults: []Fault{story.fault("a", time.Second, errors.New("no")), story.fault("b", time.Second, nil)}},
		{Faults: []Fault{story.fault("c", 0, nil)}},
	}
	results := runs(t, plan, func(int) []Complaint { return nil }, story)
	want := []string{
		"00 begins a+b", "00 inject a", "00 heal a", "00 healed a+b", "06 failed a+b",
		"06 begins c", "06 inject c", "06 heal c", "06 healed c", "12 passed c",
	}
	if diff := cmp.Diff(want, story.lines); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if results[0].Problem != "inject a: no" || results[1].Problem != "" {
		t.Errorf("problems are %q and %q", results[0].Problem, results[1].Problem)
	}
}

func TestHowLongItTakesToAgreeIsMeasured(t *testing.T) {
	for what, test := range map[string]struct {
		until     int // the second from which on all is well
		agreed    bool
		converged time.Duration
		left      []string
		passed    bool
	}{
		"in time":          {until: 4, agreed: true, converged: 3 * time.Second, passed: true},
		"too late":         {until: 8, agreed: true, converged: 7 * time.Second, left: []string{"pod: differs"}},
		"not in this life": {until: 100, converged: 10 * time.Second, left: []string{"pod: differs"}},
	} {
		t.Run(what, func(t *testing.T) {
			story := newTale()
			wrong := func(second int) []Complaint {
				if second < test.until {
					return []Complaint{{"pod", "differs"}}
				}
				return nil
			}
			got := runs(t, []Step{{Faults: []Fault{story.fault("a", 0, nil)}}}, wrong, story)[0]
			if got.Agreed != test.agreed || got.Converged != test.converged || got.Passed() != test.passed {
				t.Errorf("agreed %t after %s, passed %t", got.Agreed, got.Converged, got.Passed())
			}
			if diff := cmp.Diff(test.left, got.Left); diff != "" {
				t.Errorf("left (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestARunThatIsStoppedPutsRightWhatIsBroken(t *testing.T) {
	story := newTale()
	ctx, cancel := context.WithCancel(t.Context())
	plan := []Step{{Faults: []Fault{story.fault("a", time.Hour, nil)}}, {Faults: []Fault{story.fault("b", 0, nil)}}}
	plan[0].Faults[0].Inject = func(context.Context, *Scene) (Heal, error) {
		cancel()
		return func(ctx context.Context) error {
			story.tell("heal a")
			return ctx.Err()
		}, nil
	}
	r := &Runner{Clock: story.clock, Tell: story, Look: func(context.Context) ([]Complaint, error) { return nil, nil }}
	results := r.Run(ctx, plan)
	if !slices.Contains(story.lines, "00 heal a") || len(results) != 1 || results[0].Problem != "context canceled" {
		t.Errorf("results are %+v, and what happened is %v", results, story.lines)
	}
}

func TestAPromiseThatAFaultSawBrokenFailsItsStep(t *testing.T) {
	story := newTale()
	f := Fault{Name: "a", Bound: time.Second, Inject: func(_ context.Context, s *Scene) (Heal, error) {
		s.Break("node %s was not ready", "b")
		s.Break("node %s was not ready", "b")
		return nil, nil
	}}
	got := runs(t, []Step{{Faults: []Fault{f}}}, func(int) []Complaint { return nil }, story)[0]
	if diff := cmp.Diff([]string{"node b was not ready"}, got.Violations); diff != "" || got.Passed() {
		t.Errorf("passed %t, violations (-want,+got):\n%s", got.Passed(), diff)
	}
}

func TestWhatIsRepeatedEndsWithItsHeal(t *testing.T) {
	calls := make(chan struct{}, 100)
	heal, err := Repeat(t.Context(), func() time.Duration { return time.Millisecond }, func(context.Context) error {
		calls <- struct{}{}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		<-calls
	}
	if err := heal(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(calls) // another call would panic
}
