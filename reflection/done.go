package reflection

import (
	"context"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// finish remembers that the copy is right, and brings its status home.
func (l *look) finish(ctx context.Context, outcome string, copied client.Object) error {
	l.done(outcome, copied.GetResourceVersion())
	if err := l.feedBack(ctx, copied); err != nil {
		l.state.version = "" // it is not done yet
		return err
	}
	return nil
}

// done remembers that the copy is right as of the given resourceVersion.
func (l *look) done(outcome, version string) {
	now := l.opts.Clock.Now()
	if outcome != outcomeNoop && l.state.hash == l.hash && l.state.version != "" {
		l.state.repairs = append(l.state.repairs, now)
	}
	l.state.hash, l.state.version, l.state.foreign = l.hash, version, false
	l.state.source = edition(l.src)
	if left := l.contested(now); left > 0 {
		l.queue.AddAfter(item{l.t.home, l.name}, left)
	} else if l.p.content(l.name) {
		l.problemsChanged(l.t.home)
	}
	l.opts.Metrics.count(l.opts.Destination, l.kind.resource, outcome)
	took, changed := l.p.took(l.name, now)
	if newer := l.p.source(l.name); newer != nil && edition(newer) != l.known {
		l.p.touch(l.name, now) // it has changed once more; somebody may be waiting for that
	}
	if changed && outcome != outcomeNoop {
		l.opts.Metrics.observe(l.opts.Destination, l.kind.resource, took)
	}
}

// maxRepairs is how often in a minute a change that others made to one copy is undone.
const maxRepairs = 5

// contested returns for how long a conflict is not over yet although the copy is right: whoever changes it again and
// again may only be slower than we are.
func (l *look) contested(now time.Time) time.Duration {
	if len(l.state.repairs) == 0 || l.p.problem(l.name).Reason != v1beta1.ProblemConflict {
		return 0
	}
	return time.Minute - now.Sub(l.state.repairs[len(l.state.repairs)-1])
}

// budget returns how long to wait before the copy may be repaired once more. What home changed is no repair.
func (l *look) budget() time.Duration {
	if l.state.hash != l.hash || l.state.version == "" {
		return 0
	}
	now := l.opts.Clock.Now()
	l.state.repairs = slices.DeleteFunc(l.state.repairs, func(at time.Time) bool { return now.Sub(at) >= time.Minute })
	if len(l.state.repairs) < maxRepairs {
		return 0
	}
	return time.Minute - now.Sub(l.state.repairs[0])
}
