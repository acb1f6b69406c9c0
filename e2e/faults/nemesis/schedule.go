package nemesis

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Schedule says what a plan is made of.
type Schedule struct {
	// Seed decides everything: two plans of one seed are one plan.
	Seed uint64
	// For is how long all steps together may take.
	For time.Duration
	// Faults are those to choose from, Providers the clusters to break.
	Faults    []Fault
	Providers []string
}

// between is how long a step takes beside its hold and its bound: bringing it about, putting it right, and judging.
const between = 10 * time.Second

// costs estimates how long a step takes.
func costs(s Step) time.Duration { return s.Hold() + s.Bound() + between }

// pairEvery is how often a pair comes while there are single faults left.
const pairEvery = 4

// Plan returns the steps in their order. In a short time it is a selection: each fault comes at most once before the
// last has come, with a pair now and then, and only pairs after that. A fault that takes more than a quarter of the
// time is left out.
func (s Schedule) Plan() []Step {
	rng := rand.New(rand.NewPCG(s.Seed, 0)) //nolint:gosec // G404: nobody is kept from guessing it
	singles := s.eligible()
	pairs := Pairs(singles)
	rng.Shuffle(len(singles), func(i, j int) { singles[i], singles[j] = singles[j], singles[i] })
	rng.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
	var (
		plan []Step
		took time.Duration
	)
	for n := 1; len(singles)+len(pairs) > 0; n++ {
		var next []Fault
		if len(singles) == 0 || len(pairs) > 0 && n%pairEvery == 0 {
			next, pairs = pairs[0][:], pairs[1:]
		} else {
			next, singles = singles[:1:1], singles[1:]
		}
		step := s.step(next, rng.IntN(max(1, len(s.Providers))))
		if took += costs(step); took > s.For && len(plan) > 0 {
			break
		}
		plan = append(plan, step)
	}
	return plan
}

// eligible returns the faults that do not take too long.
func (s Schedule) eligible() []Fault {
	return slices.DeleteFunc(slices.Clone(s.Faults), func(f Fault) bool {
		return f.Hold > s.For/4 || f.Long && s.For < longRun
	})
}

// longRun is from when on faults that take long are part of the selection.
const longRun = time.Hour

func (s Schedule) step(faults []Fault, provider int) Step {
	step := Step{Faults: faults}
	if len(s.Providers) > 0 {
		step.Provider = s.Providers[provider]
	}
	step.Seed = seedOf(s.Seed, step.Name())
	return step
}

// seedOf makes a step's seed from the run's and its name, so that -only with the seed of a failing run does the same.
func seedOf(seed uint64, name string) uint64 {
	sum := fnv.New64a()
	_, _ = fmt.Fprintf(sum, "%d %s", seed, name) // a hash takes everything
	return sum.Sum64()
}

// Only returns the plan that a person names: steps separated by commas, the faults of a pair by a plus, and after an @
// the provider, which is the seed's choice otherwise.
func (s Schedule) Only(text string) ([]Step, error) {
	rng := rand.New(rand.NewPCG(s.Seed, 1)) //nolint:gosec // G404: as above
	var plan []Step
	for item := range strings.SplitSeq(text, ",") {
		item, provider, named := strings.Cut(strings.TrimSpace(item), "@")
		var faults []Fault
		for name := range strings.SplitSeq(item, "+") {
			f, err := Named(s.Faults, name)
			if err != nil {
				return nil, err
			}
			faults = append(faults, f)
		}
		if len(faults) > 2 || len(faults) == 2 && !Together(faults[0], faults[1]) {
			return nil, fmt.Errorf("%s cannot come together: they break the same, or one needs what another breaks",
				item)
		}
		step := s.step(faults, rng.IntN(max(1, len(s.Providers))))
		if named {
			step.Provider = provider
		}
		plan = append(plan, step)
	}
	return plan, nil
}
