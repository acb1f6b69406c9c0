package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// Listener is told what happens, as it happens.
type Listener interface {
	// Begins is called before anything is broken.
	Begins(step Step)
	// Healed is called when everything is put right.
	Healed(step Step)
	// Done is called when the bound is over and both sides agree, or are not waited for any longer.
	Done(result *Result)
}

// Runner carries a plan out.
type Runner struct {
	// Scene returns where a step happens, without what the step itself brings.
	Scene Scene
	Clock clock.WithTicker
	// Look returns what home and providers disagree about now; what cannot be seen is an error.
	Look func(context.Context) ([]Complaint, error)
	// Tell is told.
	Tell Listener
	// Patience is how long after its bound a step is still waited for, to know how late it is.
	Patience time.Duration
}

// Result is what became of a step.
type Result struct {
	Step     string        `json:"step"`
	Provider string        `json:"provider"`
	Seed     uint64        `json:"seed"`
	Injected time.Time     `json:"injected"`
	Healed   time.Time     `json:"healed"`
	Hold     time.Duration `json:"hold"`
	Bound    time.Duration `json:"bound"`
	// Converged is how long after the healing home and providers agreed; when they did not, how long was waited.
	Converged time.Duration `json:"converged"`
	// Agreed says that they did.
	Agreed bool `json:"agreed"`
	// Left is what they did not agree about when the bound was over.
	Left []string `json:"left,omitempty"`
	// Load is how many processes wanted to run in the minute before the fault was over: bounds are for machines that
	// have time for what they run.
	Load string `json:"load,omitempty"`
	// Problem says what the lab could not do.
	Problem string `json:"problem,omitempty"`
	// Violations are promises that were broken meanwhile.
	Violations []string `json:"violations,omitempty"`
}

// Passed says that everything was within its bound.
func (r Result) Passed() bool {
	return r.Agreed && r.Converged <= r.Bound && r.Problem == "" && len(r.Violations) == 0
}

// How long the lab itself may take to bring a fault about, and to put it right.
const (
	injectWithin = 2 * time.Minute
	healWithin   = 3 * time.Minute
)

// Run carries out the steps until the context ends; what is broken then is still put right.
func (r *Runner) Run(ctx context.Context, plan []Step) []Result {
	var results []Result
	for _, step := range plan {
		if ctx.Err() != nil {
			break
		}
		result := r.step(ctx, step)
		r.Tell.Done(&result)
		results = append(results, result)
	}
	return results
}

func (r *Runner) step(ctx context.Context, step Step) Result {
	result := Result{Step: step.Name(), Provider: step.Provider, Seed: step.Seed, Bound: step.Bound()}
	scene := r.Scene
	scene.Provider, scene.Clock = step.Provider, r.Clock
	scene.Rand = rand.New(rand.NewPCG(step.Seed, 2)) //nolint:gosec // G404: nobody is kept from guessing it
	result.Injected = r.Clock.Now()
	r.Tell.Begins(step)
	var seen sync.Mutex // faults have goroutines
	scene.Break = func(format string, args ...any) {
		seen.Lock()
		defer seen.Unlock()
		if says := fmt.Sprintf(format, args...); !slices.Contains(result.Violations, says) {
			result.Violations = append(result.Violations, says)
		}
	}
	broken, err := r.inject(ctx, step, &scene)
	err = errors.Join(err, r.heal(ctx, broken, err != nil))
	result.Healed = r.Clock.Now()
	result.Hold = result.Healed.Sub(result.Injected)
	result.Load = load()
	r.Tell.Healed(step)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		result.Problem = err.Error()
	}
	r.converge(ctx, &result)
	// What the record says is judged by how everything is when the bound is over, which the next step would hide.
	_ = r.pause(ctx, result.Healed.Add(result.Bound+look).Sub(r.Clock.Now()))
	return result
}

// ailment is a fault that has been brought about.
type ailment struct {
	heal  Heal
	until time.Time
}

func (r *Runner) inject(ctx context.Context, step Step, scene *Scene) ([]ailment, error) {
	ctx, cancel := context.WithTimeout(ctx, injectWithin)
	defer cancel()
	var out []ailment
	for _, f := range step.Faults {
		heal, err := f.Inject(ctx, scene)
		out = append(out, ailment{heal, r.Clock.Now().Add(f.Hold)})
		if err != nil {
			return out, fmt.Errorf("inject %s: %w", f.Name, err)
		}
	}
	return out, nil
}

// heal puts each fault right when its time is over; at once when that makes no sense any more, and also when the run is
// over.
func (r *Runner) heal(ctx context.Context, broken []ailment, now bool) error {
	slices.SortStableFunc(broken, func(a, b ailment) int { return a.until.Compare(b.until) })
	var errs []error
	for _, a := range broken {
		if !now {
			_ = r.pause(ctx, a.until.Sub(r.Clock.Now())) // whoever ends the run ends the fault, too
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healWithin)
		if err := a.heal.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("put right: %w", err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

func (r *Runner) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-r.Clock.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look is how often home and providers are compared.
const look = time.Second

// converge waits until they agree, or until there is no point in it.
func (r *Runner) converge(ctx context.Context, result *Result) {
	since := newWatch(result.Healed)
	deadline := result.Healed.Add(result.Bound + r.Patience)
	for {
		once, cancel := context.WithTimeout(ctx, lookWithin)
		complaints, err := r.Look(once)
		cancel()
		if err != nil {
			complaints = []Complaint{{"the lab", err.Error()}}
		}
		now := r.Clock.Now()
		result.Agreed = since.look(now, complaints)
		result.Converged = since.converged()
		if now.Sub(result.Healed) >= result.Bound && result.Left == nil {
			result.Left = since.stale(now)
		}
		if result.Agreed || !now.Before(deadline) || r.pause(ctx, look) != nil {
			break
		}
	}
	if !result.Agreed {
		result.Converged = r.Clock.Since(result.Healed)
	} else if result.Converged <= result.Bound {
		result.Left = nil
	}
}

const lookWithin = 20 * time.Second

// Repeat calls what happens again and again until it is told to stop, and returns what does that. The first call is
// over when it returns.
func Repeat(ctx context.Context, every func() time.Duration, do func(context.Context) error) (Heal, error) {
	if err := do(ctx); err != nil {
		return nil, err
	}
	loop, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() {
		var errs []error
		once := func(context.Context) (bool, error) { return true, nil }
		for wait.PollUntilContextTimeout(loop, every(), time.Hour, false, once) == nil {
			if err := do(loop); err != nil && loop.Err() == nil {
				errs = append(errs, err)
			}
		}
		done <- errors.Join(errs...)
	}()
	return func(context.Context) error {
		cancel()
		return <-done
	}, nil
}

// load returns the load of the last minute, or nothing where the kernel does not say.
func load() string {
	raw, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	minute, _, _ := strings.Cut(string(raw), " ")
	return minute
}
