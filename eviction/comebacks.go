package eviction

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// maxComebacks is how often a controller's pods may come back to a place that they were evicted from. One can be bad
// luck: a pod that was bound by the policy of a moment ago.
const maxComebacks = 2

// soon is how long after the last violation another one can be a comeback. Controllers lose no time, but pods that came
// back too often are looked at only so often.
const soon = 3 * whenHopeless

// place is a controller's pods on one virtual node, or on ordinary ones, which the policy permits or refuses as one.
type place struct {
	owner types.UID
	node  string // "" for ordinary ones
}

// comebacks notices pods that come back to the place that they were evicted from, because their template names a node,
// or a scheduler that does not apply the policy: evicting them would never end. It is memory of one
// namespace, and of one policy; a restart costs maxComebacks evictions more.
type comebacks struct {
	generation int64
	last       time.Time
	seen       map[types.UID]bool
	left       map[place]bool
	returned   map[place]int
}

// mark sets the state of the violations that came back too often.
func (c *comebacks) mark(found []violation, generation int64, now time.Time) {
	if c.generation != generation || c.seen == nil || now.Sub(c.last) > soon {
		*c = comebacks{
			generation: generation, seen: map[types.UID]bool{}, left: map[place]bool{}, returned: map[place]int{},
		}
	}
	c.last = now
	for i := range found {
		v := &found[i]
		at := placeOf(*v)
		if !c.seen[v.pod.UID] && c.left[at] {
			c.returned[at]++
		}
		c.seen[v.pod.UID] = true
		if v.state == queued && c.returned[at] > maxComebacks {
			v.state = returning
		}
	}
}

// evicted notes where pods were evicted from.
func (c *comebacks) evicted(v violation) { c.left[placeOf(v)] = true }

// moved returns the controllers whose pods were evicted.
func (c *comebacks) moved() map[types.UID]bool {
	owners := make(map[types.UID]bool, len(c.left))
	for at := range c.left {
		owners[at.owner] = true
	}
	return owners
}

func placeOf(v violation) place {
	if v.home {
		return place{owner: owner(v.pod)}
	}
	return place{owner: owner(v.pod), node: v.pod.Spec.NodeName}
}
