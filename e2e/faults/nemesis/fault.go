// Package nemesis breaks a playground on purpose and in order: every fault is one item of data with its bound, a seed
// decides which come when, what was broken is always put right again, and how long everything then took to be as it
// should is measured.
//
// It does not judge what happened meanwhile: that is decided from the record, by package history.
package nemesis

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/history"
)

// Part is what a fault breaks. Two faults that break the same part are one fault, or none.
type Part string

// The parts.
const (
	Link           Part = "link"            // between our components and a provider
	HomeLink       Part = "home link"       // between our components and home
	HomeServer     Part = "home server"     // API server and etcd
	ProviderServer Part = "provider server" // API server and etcd
	AgentProcess   Part = "agent"
	ManagerProcess Part = "controller-manager"
	SchedulerPart  Part = "scheduler"
	HomeObjects    Part = "home objects"
	AwayObjects    Part = "provider objects"
	Credential     Part = "credential"
	Everything     Part = "everything" // goes with no other fault
)

// Fault is one way to break the system.
type Fault struct {
	Name string
	// Does says in one sentence what happens.
	Does string
	// Breaks is what is broken, Needs what must work for the fault to be brought about or put right.
	Breaks Part
	Needs  []Part
	// Hold is how long it lasts. What happens at once and is not put right by anybody lasts no time.
	Hold time.Duration
	// Bound is how long after its end home and providers may disagree.
	Bound time.Duration
	// Source says where the bound is from.
	Source string
	// Excuses are invariants that nobody can keep while it lasts.
	Excuses []history.Invariant
	// Long keeps a fault out of a short selection.
	Long bool
	// Inject brings it about.
	Inject Inject
}

// Inject brings a fault about and returns what puts it right. What has begun is put right even when err is not nil.
type Inject func(ctx context.Context, s *Scene) (Heal, error)

// Heal puts a fault right. Nil is nothing to do.
type Heal func(ctx context.Context) error

func (h Heal) do(ctx context.Context) error {
	if h == nil {
		return nil
	}
	return h(ctx)
}

// Scene is where a fault happens.
type Scene struct {
	Env *env.Env
	// Provider is the one that the fault is about, where it is about one.
	Provider string
	// Rand decides what the fault leaves open. It depends on the run's seed and the fault, not on what came before.
	Rand  *rand.Rand
	Clock clock.PassiveClock
	// Note writes down what a fault does in a user's name, before it does it.
	Note func(history.Note)
	// Break writes down a promise that the fault itself saw broken.
	Break func(format string, args ...any)
	// Say prints a line about what goes on.
	Say func(format string, args ...any)
}

// Named returns the fault of that name.
func Named(faults []Fault, name string) (Fault, error) {
	i := slices.IndexFunc(faults, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		return Fault{}, fmt.Errorf("there is no fault %q; -list shows all", name)
	}
	return faults[i], nil
}

// Together says whether two faults at once mean something: they break different parts, and neither needs what the
// other breaks.
func Together(a, b Fault) bool {
	alone := a.Breaks == Everything || b.Breaks == Everything || a.Long && b.Long
	return !alone && a.Breaks != b.Breaks && !slices.Contains(a.Needs, b.Breaks) && !slices.Contains(b.Needs, a.Breaks)
}

// Pairs returns all pairs that mean something, each once.
func Pairs(faults []Fault) [][2]Fault {
	var out [][2]Fault
	for i, a := range faults {
		for _, b := range faults[i+1:] {
			if Together(a, b) {
				out = append(out, [2]Fault{a, b})
			}
		}
	}
	return out
}

// Step is what happens at one time: one fault, or a pair.
type Step struct {
	Faults   []Fault
	Provider string
	// Seed decides what the faults leave open.
	Seed uint64
}

// Name is what -only calls the step.
func (s Step) Name() string {
	names := make([]string, 0, len(s.Faults))
	for _, f := range s.Faults {
		names = append(names, f.Name)
	}
	return strings.Join(names, "+")
}

// Hold is how long the step lasts: as long as the longest of its faults.
func (s Step) Hold() time.Duration {
	return s.longest(func(f Fault) time.Duration { return f.Hold })
}

// Bound is how long home and providers may disagree after the step: as long as after the worst of its faults.
func (s Step) Bound() time.Duration {
	return s.longest(func(f Fault) time.Duration { return f.Bound })
}

func (s Step) longest(of func(Fault) time.Duration) time.Duration {
	var most time.Duration
	for _, f := range s.Faults {
		most = max(most, of(f))
	}
	return most
}

// Excuses are those of all its faults.
func (s Step) Excuses() []history.Invariant {
	var all []history.Invariant
	for _, f := range s.Faults {
		all = append(all, f.Excuses...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
