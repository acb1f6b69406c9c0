package env

import (
	"context"
	"slices"
	"time"
)

// Restarted is what [Env.Keep] says.
type Restarted struct {
	Cluster, Component string
	// How the process ended, such as "exit status 2" or "signal: killed"; empty when another process started it.
	How string
	// Times is how often it ended by itself in a row.
	Times int
	// Err is why it could not be started; it is tried again.
	Err error
}

// Keep starts again what ended by itself, after a kubelet's back-off, only shorter, until ctx ends. That may be a
// component of Kubernetes, too: a scheduler ends when it finds its cache in disorder. What [Kill] or [Stop] ended stays
// down until somebody starts it; what died of a signal is started again, whoever sent it. Keep tells say of each start,
// at once.
//
// [Kill]: Env.Kill
// [Stop]: Env.Stop
func (e *Env) Keep(ctx context.Context, say func(Restarted)) {
	const look = 100 * time.Millisecond
	books := map[componentKey]*crashes{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.opts.Clock.After(look):
		}
		for _, p := range e.crashed() {
			key := componentKey{p.Cluster, p.Component}
			if books[key] == nil {
				books[key] = &crashes{}
			}
			if books[key].due(p, e.opts.Clock.Now()) {
				e.revive(p, books[key], say)
			}
		}
	}
}

// crashed returns what ended by itself.
func (e *Env) crashed() []Process {
	e.starting.Lock()
	defer e.starting.Unlock()
	return slices.DeleteFunc(e.Processes(), func(p Process) bool {
		key := componentKey{p.Cluster, p.Component}
		return e.down[key] || p.Alive()
	})
}

// componentKey names a component of a playground.
type componentKey struct{ cluster, component string }

// revive starts what crashed, unless it is meant to be down by now.
func (e *Env) revive(p Process, book *crashes, say func(Restarted)) {
	down, err := e.startAgain(p)
	if down {
		return
	}
	book.started(e.opts.Clock.Now(), err == nil)
	say(Restarted{p.Cluster, p.Component, e.how(p), book.times, err})
}

func (e *Env) startAgain(p Process) (down bool, err error) {
	comp, err := e.Cluster(p.Cluster).component(p.Component)
	if err != nil {
		return false, err
	}
	e.starting.Lock()
	defer e.starting.Unlock()
	if e.down[componentKey{p.Cluster, p.Component}] {
		return true, nil
	}
	return false, e.startLocked(comp)
}

// Back-off of [Env.Keep].
const (
	firstWait  = 500 * time.Millisecond
	longWait   = 10 * time.Second
	waitsAgain = time.Minute
)

// crashes is the back-off of one component.
type crashes struct {
	last  Process   // that crashed
	times int       // in a row
	begun time.Time // its last start, as far as we made it
	next  time.Time // may it be started again
}

// due says whether the process, which ended by itself, should be started again now.
func (c *crashes) due(p Process, now time.Time) bool {
	if c.last != p {
		if now.Sub(c.begun) > waitsAgain {
			c.times = 0
		}
		c.last = p
		c.wait(now)
	}
	return !now.Before(c.next)
}

// wait doubles the time before the next start.
func (c *crashes) wait(now time.Time) {
	wait := longWait
	if shift := min(c.times, 10); firstWait<<shift < longWait { //nolint:mnd // more would not fit
		wait = firstWait << shift
	}
	c.times++
	c.next = now.Add(wait)
}

// started notes a start, or that there was none.
func (c *crashes) started(now time.Time, done bool) {
	if done {
		c.begun = now
	} else {
		c.wait(now)
	}
}
