package history

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// pods judges what follows from the lives of pods alone: I1, I2, I5, I7, I8 and O13.
type pods struct {
	home, away lives
	// slack is how much later than it happened a change of one cluster may be heard than that of another.
	slack time.Duration
	// whole: a home pod has one remote pod in its whole life, even if that one never ran.
	whole bool
	// virtual says which nodes of home are virtual; nil is all of them.
	virtual func(node string) bool
	// forced are home pods that a user deleted by force: they leave first, and nobody knows how they ended.
	forced map[types.UID]bool
	// back is what showed at once: phases and restarts that went back.
	back []finding
}

// finding is a violation, or something that may be one; its key is the same each time that it is found.
type finding struct {
	Violation
	key   string
	doubt bool
}

// ours says whether a home pod is on a virtual node.
func (p *pods) ours(l *life) bool { return p.virtual == nil || l.node != "" && p.virtual(l.node) }

// hearHome takes down what was said about a home pod.
func (p *pods) hearHome(c Change) {
	l, was := p.home.hear(c)
	if !p.ours(l) {
		return
	}
	if is := l.phase; order(is) < order(was) || order(was) == last && is != was {
		p.back = append(p.back, l.find(I5, c.At, fmt.Sprintf("home pod %s went from %s to %s", l, was, is)))
	}
	listed := containers(&c.Pod.Status)
	counts := make(map[string]int32, len(listed))
	for _, container := range listed {
		counts[container.Name] = container.RestartCount
	}
	for _, name := range slices.Sorted(maps.Keys(l.restarts)) {
		if had := l.restarts[name]; counts[name] < had || !has(counts, name) {
			const says = "container %s of home pod %s was restarted %d times, and then fewer"
			p.back = append(p.back, l.find(I5, c.At, fmt.Sprintf(says, name, l, had)))
		}
	}
	l.restarts = counts
}

func has(counts map[string]int32, name string) bool {
	_, ok := counts[name]
	return ok
}

// find is a violation of a home pod.
func (l *life) find(i Invariant, at time.Time, says string) finding {
	return finding{
		Violation: Violation{
			Invariant: i, At: at, Cluster: l.cluster, Resource: resourcePods, Object: l.String(), UID: l.uid,
			Says: says,
		},
		key: fmt.Sprint(i, l.cluster, l.uid, says),
	}
}

// findAway is a violation of a remote pod; it is told of the home pod that it belongs to.
func (l *life) findAway(i Invariant, at time.Time, says string) finding {
	f := l.find(i, at, says)
	f.Object, f.UID = l.home, l.owner
	return f
}

// judge returns everything that is found by now, in the order of the invariants. Repeated calls find the same again.
func (p *pods) judge(now time.Time) []finding {
	var out []finding
	for _, rule := range []func(time.Time) []finding{p.twice, p.overlapping, p.backwards, p.disordered, p.early,
		p.unfinished} {
		out = append(out, rule(now)...)
	}
	return out
}

// twice is I1: a home pod never has two remote pods at once, nor do two of them run one after the other.
func (p *pods) twice(now time.Time) []finding {
	var out []finding
	first := map[types.UID]*life{}
	for _, l := range p.away.list {
		had := first[l.owner]
		if l.owner == "" || had == nil {
			first[l.owner] = l
			continue
		}
		sure := had.end(now).after(l.began, p.slack)
		says := "home pod %s had two remote pods at once: %s %s and %s %s"
		switch {
		case p.whole:
			sure, says = broken, "home pod %s had two remote pods: %s %s and %s %s"
		case sure != broken && had.ran && l.ran:
			sure, says = broken, "home pod %s ran twice: as %s %s and as %s %s"
		}
		says = fmt.Sprintf(says, l.owner, had.cluster, had, l.cluster, l)
		out = append(out, sure.about(l.findAway(I1, l.began.hi, says))...)
		if had.end(now).after(l.end(now), 0) != broken {
			first[l.owner] = l // the one that is there for longer
		}
	}
	return out
}

// about returns what is found, if it is.
func (c certainty) about(f finding) []finding {
	if c == kept {
		return nil
	}
	f.doubt = c == unknown
	return []finding{f}
}

// overlapping is I2: of two home pods of one name, which is what StatefulSets make, the second one's remote pod begins
// when the first one's has ended.
func (p *pods) overlapping(now time.Time) []finding {
	var out []finding
	before := map[string]*life{}
	for _, l := range p.away.list {
		if l.owner == "" {
			continue
		}
		had := before[l.home]
		before[l.home] = l
		if had == nil || p.forced[had.owner] {
			continue
		}
		const says = "remote pod %s of home pod %s began on %s before that of %s had ended on %s"
		out = append(out, had.end(now).after(l.began, p.slack).about(l.findAway(I2, l.began.hi,
			fmt.Sprintf(says, l, l.owner, l.cluster, had.owner, had.cluster)))...)
	}
	return out
}

// backwards is I5: phases only move forward, finished stays as it is, and restarts do not fall.
func (p *pods) backwards(time.Time) []finding { return p.back }

// disordered is I7: what home shows of a container is what the provider said, in the order in which it said so. What
// the provider never said is home's own.
func (p *pods) disordered(time.Time) []finding {
	said := map[types.UID]*life{}
	for _, l := range p.away.list {
		said[l.owner] = l
	}
	var out []finding
	for _, l := range p.home.list {
		remote := said[l.uid]
		if remote == nil || !p.ours(l) {
			continue
		}
		for _, name := range slices.Sorted(maps.Keys(l.states)) {
			if !inOrder(remote.states[name], l.states[name]) {
				says := fmt.Sprintf("home pod %s showed states of container %s in another order than %s had said them",
					l, name, remote.cluster)
				out = append(out, l.find(I7, l.began.hi, says))
			}
		}
	}
	return out
}

// inOrder says whether what was shown can be what was said, with parts left out. Something that was said several times
// is taken for the earliest that is possible.
func inOrder(said, shown []uint64) bool {
	at := 0
	for _, state := range shown {
		next := slices.Index(said[at:], state)
		switch {
		case next >= 0:
			at += next
		case slices.Contains(said[:at], state):
			return false
		}
	}
	return true
}

// early is I8: a home pod leaves only after its remote pod. Nobody is asked about one that was finished before it was
// deleted: Kubernetes lets it go at once.
func (p *pods) early(now time.Time) []finding {
	remotes := map[types.UID]*life{}
	for _, l := range p.away.list {
		if l.owner != "" {
			remotes[l.owner] = l
		}
	}
	var out []finding
	for _, l := range p.home.list {
		remote := remotes[l.uid]
		atOnce := !l.announced && order(l.phase) == last
		if !l.gone || remote == nil || atOnce || p.forced[l.uid] {
			continue
		}
		f := l.find(I8, l.ended.hi,
			fmt.Sprintf("home pod %s left before its remote pod did on %s", l, remote.cluster))
		out = append(out, remote.left(now).after(l.ended, p.slack).about(f)...)
	}
	return out
}

// unfinished is O13: a home pod that ran has a last phase before it goes.
func (p *pods) unfinished(time.Time) []finding {
	var out []finding
	for _, l := range p.home.list {
		if !l.gone || !p.ours(l) || p.forced[l.uid] || order(l.phase) != 1 {
			continue
		}
		f := l.find(O13, l.ended.hi, fmt.Sprintf("home pod %s was %s when it went", l, l.phase))
		f.doubt = l.ended.lo.Before(l.ended.hi)
		out = append(out, f)
	}
	return out
}
