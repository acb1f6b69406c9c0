package workload

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Plan decides what users do next. It is a pure function of its seed: it never looks at a cluster.
type Plan struct {
	rng    *rand.Rand
	limits Limits
	world  world
	steps  int
}

// Step is one thing that a user does. First it deletes, then it applies.
type Step struct {
	// Number counts from 1.
	Number int
	// Slot is the place of the namespace; steps of one slot are done one after the other.
	Slot int
	// Does is what, as in "scale"; About what it is done to, as in "Deployment work-3/web-17".
	Does, About string
	Delete      []Deletion
	Apply       []client.Object
}

func (s Step) String() string { return fmt.Sprintf("step %d: %s %s", s.Number, s.Does, s.About) }

// Deletion asks for something to go.
type Deletion struct {
	// Object has kind, namespace and name.
	Object client.Object
	// Nth says which of the pods of an app to delete, where their names are not known beforehand: they are counted in
	// the order of their names, and from the beginning again when there are fewer. Object then has the app's label.
	Nth *int
	// Grace is the time that a pod is given, in seconds; nil is its own, 0 is force.
	Grace *int64
}

// NewPlan returns the plan of a seed.
func NewPlan(seed uint64, providers []string, limits Limits) *Plan {
	return &Plan{
		rng:    rand.New(rand.NewPCG(seed, 0x776f726b)), //nolint:gosec // G404: nobody is kept from guessing it
		limits: limits,
		world: world{
			seed: seed, providers: slices.Sorted(slices.Values(providers)), pods: limits.Pods,
			slots: make([]*namespace, limits.Namespaces), names: make([]string, limits.Namespaces),
			left: map[string]bool{},
		},
	}
}

// Next decides the next step and counts it as done.
func (p *Plan) Next() Step {
	p.steps++
	type offer struct {
		choice choice
		sites  []site
	}
	var (
		offers []offer
		total  int
	)
	for _, c := range choices() {
		if sites := c.where(&p.world); len(sites) > 0 {
			offers = append(offers, offer{c, sites})
			total += c.weight
		}
	}
	at := p.rng.IntN(total)
	i := slices.IndexFunc(offers, func(o offer) bool {
		at -= o.choice.weight
		return at < 0
	})
	where := offers[i].sites[p.rng.IntN(len(offers[i].sites))]
	step := Step{Number: p.steps, Slot: where.slot, Does: offers[i].choice.does}
	offers[i].choice.do(p, where, &step)
	return step
}

// chance is true in one of n cases.
func (p *Plan) chance(n int) bool { return p.rng.IntN(n) == 0 }

// between returns a number of the range, its ends included.
func (p *Plan) between(from, to int) int32 { return int32(from + p.rng.IntN(to-from+1)) } //nolint:gosec // G115: small

// oneOf returns one of the values.
func oneOf[T any](p *Plan, values ...T) T { return values[p.rng.IntN(len(values))] }
