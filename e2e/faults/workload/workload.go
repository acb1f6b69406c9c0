package workload

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/history"
)

// Noter is told of what users do, before they do it; a [history.Recording] is one.
type Noter interface {
	Note(history.Note)
}

// Options say what to do, and to whom.
type Options struct {
	// Seed decides everything.
	Seed uint64
	// Home is the client of a user, see [User].
	Home client.Client
	// Providers are the names of the clusters whose virtual nodes namespaces select.
	Providers []string
	// Notes is told of every step; nil is nobody.
	Notes Noter
	// Limits bound the load; the zero value means [Moderate].
	Limits Limits
	// Pace is how long it takes from one step to the next; 0 is a third of a second.
	Pace time.Duration
	// Clock is waited by; nil is the real one.
	Clock clock.Clock
}

// Limits bound what there is at any time.
type Limits struct {
	// Namespaces is how many there are, Pods how many pods they ask for together.
	Namespaces, Pods int
}

// Moderate is what two cores can do beside three clusters.
func Moderate() Limits { return Limits{Namespaces: 10, Pods: 60} }

const (
	defaultPace = time.Second / 3
	// backlog is how many steps may wait before no more are thought of: when nothing can be done, nobody goes on asking
	// for ever.
	backlog = 300
)

// Workload does the steps of a [Plan].
type Workload struct {
	opts Options

	mu      sync.Mutex // guards all of the following
	plan    *Plan
	resting bool
	queues  []queue
	waiting int
	changed chan struct{} // is closed, and made anew, when anything above changes
}

// queue holds the steps of one namespace that are not done; the first is under way.
type queue struct {
	steps []Step
	// trouble is why the first is not done yet.
	trouble error
}

// New returns a workload that has not begun.
func New(opts Options) *Workload {
	if opts.Limits == (Limits{}) {
		opts.Limits = Moderate()
	}
	if opts.Pace == 0 {
		opts.Pace = defaultPace
	}
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	return &Workload{
		opts: opts, plan: NewPlan(opts.Seed, opts.Providers, opts.Limits),
		queues: make([]queue, opts.Limits.Namespaces), changed: make(chan struct{}),
	}
}

// Run works until ctx ends. What cannot be done is tried again, as long as it takes, so nothing that happens to a
// cluster ends it.
func (w *Workload) Run(ctx context.Context) {
	var users sync.WaitGroup
	defer users.Wait()
	for slot := range w.queues {
		users.Go(func() { w.serve(ctx, slot) })
	}
	pace := w.opts.Clock.NewTimer(w.opts.Pace)
	defer pace.Stop()
	for {
		w.ask()
		select {
		case <-ctx.Done():
			return
		case <-pace.C():
			pace.Reset(w.opts.Pace)
		}
	}
}

// Rest has nothing more asked for, and returns when all that was asked for has been taken by home's API server, or with
// an error that says what was not when ctx ends. It notes nothing: only the lab knows whether others rest, too. Until
// [Workload.Resume], Expect tells what must come of it.
func (w *Workload) Rest(ctx context.Context) error {
	w.change(func() { w.resting = true })
	for {
		w.mu.Lock()
		waiting, changed := w.waiting, w.changed
		w.mu.Unlock()
		if waiting == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("carry out what was asked for: %w; %v", ctx.Err(), w.Pending())
		case <-changed:
		}
	}
}

// Resume goes on where Rest has stopped: the next step is the one that would have come without it.
func (w *Workload) Resume() { w.change(func() { w.resting = false }) }

// Expect returns what must be there at rest.
func (w *Workload) Expect() Expected {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plan.world.expect()
}

// Steps returns how many steps were decided.
func (w *Workload) Steps() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plan.steps
}

// Pending returns a sentence for each namespace in which something is still to be done.
func (w *Workload) Pending() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, q := range w.queues {
		if len(q.steps) > 0 {
			out = append(out, fmt.Sprintf("%d steps wait for: %s: %v", len(q.steps)-1, q.steps[0], q.trouble))
		}
	}
	return out
}

func (w *Workload) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	close(w.changed)
	w.changed = make(chan struct{})
}

// ask decides the next step, unless nobody works or too much waits already.
func (w *Workload) ask() {
	w.change(func() {
		if w.resting || w.waiting >= backlog {
			return
		}
		step := w.plan.Next()
		q := &w.queues[step.Slot]
		q.steps = append(q.steps, step)
		w.waiting++
	})
}

// serve carries out the steps of one namespace.
func (w *Workload) serve(ctx context.Context, slot int) {
	for {
		w.mu.Lock()
		q, changed := w.queues[slot], w.changed
		w.mu.Unlock()
		if len(q.steps) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			}
			continue
		}
		if !w.carryOut(ctx, q.steps[0]) {
			return
		}
		w.change(func() {
			q := &w.queues[slot]
			q.steps, q.trouble = slices.Clone(q.steps[1:]), nil
			w.waiting--
		})
	}
}
