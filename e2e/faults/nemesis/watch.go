package nemesis

import (
	"slices"
	"time"
)

// Complaint is one thing that home and a provider disagree about.
type Complaint struct {
	// About names it, so that it is recognised when it is looked at again.
	About string
	// Says is the difference.
	Says string
}

func (c Complaint) String() string { return c.About + ": " + c.Says }

// watch tells a disagreement that a fault has left behind from those that work brings all the time: a pod that was
// created a moment ago is not yet where it should be, and that is no news.
type watch struct {
	healed time.Time
	// since is when something was first complained about without a break.
	since map[string]time.Time
	says  map[string]string
	// first is true until the first look: what is wrong then was wrong before.
	first bool
	// last is when something old was seen.
	last time.Time
}

func newWatch(healed time.Time) *watch {
	return &watch{healed: healed, since: map[string]time.Time{}, says: map[string]string{}, first: true, last: healed}
}

// fresh is how old a disagreement is that work brings on a busy machine, and calm is for how long there must be no
// older one.
const (
	fresh = 10 * time.Second
	calm  = 3 * time.Second
)

// look takes what is complained about now and says whether they agree.
func (w *watch) look(now time.Time, complaints []Complaint) bool {
	had := w.since
	w.since, w.says = map[string]time.Time{}, map[string]string{}
	for _, c := range complaints {
		began, known := had[c.About]
		if !known {
			began = now
		}
		if w.first {
			began = w.healed.Add(-fresh)
		}
		w.since[c.About], w.says[c.About] = began, c.Says
	}
	w.first = false
	if len(w.stale(now)) > 0 {
		w.last = now
		return false
	}
	return now.Sub(w.last) >= calm
}

// converged is how long after the healing something old was last seen.
func (w *watch) converged() time.Duration { return w.last.Sub(w.healed) }

// stale returns what is complained about for too long.
func (w *watch) stale(now time.Time) []string {
	var out []string
	for about, began := range w.since {
		if now.Sub(began) >= fresh {
			out = append(out, Complaint{about, w.says[about]}.String())
		}
	}
	slices.Sort(out)
	return out
}
