package history

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// lab is what the lab said about itself.
type lab struct {
	spells  []*spell
	pending []checkpoint
}

// spell is the time of one fault, or of an action, whose end is its beginning.
type spell struct {
	Note
	from, to time.Time // to is zero while it lasts
	bound    time.Duration
}

func (l *lab) hear(e *Entry) {
	n, bound := *e.Note, e.Note.Bound.Duration
	switch n.Kind {
	case Fault:
		l.spells = append(l.spells, &spell{Note: n, from: e.At, bound: bound})
		l.pending = nil // a new fault hides what was to be looked at
	case Action:
		l.spells = append(l.spells, &spell{Note: n, from: e.At, to: e.At, bound: bound})
	case Heal:
		l.heal(n, e.At)
	case Rest:
		at := e.At.Add(bound)
		after := fmt.Sprintf("%s after nobody did anything any more", bound)
		l.pending = append(l.pending, checkpoint{at: at, asked: at.Add(-settles), after: after})
	default:
	}
}

// heal ends a fault. When nothing is broken any more, all is to be well after its bound.
func (l *lab) heal(n Note, at time.Time) {
	for _, s := range l.spells {
		if s.Kind == Fault && s.to.IsZero() && s.Name == n.Name && s.Cluster == n.Cluster && s.Object == n.Object {
			s.to, s.bound = at, n.Bound.Duration
		}
	}
	if n.Bound.Duration > 0 && !l.broken() {
		after := fmt.Sprintf("%s after the end of %s", n.Bound.Duration, strings.TrimSpace(n.Name+" "+n.Cluster))
		l.pending = append(l.pending, checkpoint{at: at.Add(n.Bound.Duration), asked: at, after: after})
	}
}

// broken says whether anything is.
func (l *lab) broken() bool {
	return slices.ContainsFunc(l.spells, func(s *spell) bool { return s.to.IsZero() })
}

// due returns the checkpoints before a time, each once.
func (l *lab) due(before time.Time) []checkpoint {
	var now, later []checkpoint
	for _, cp := range l.pending {
		if cp.at.Before(before) {
			now = append(now, cp)
		} else {
			later = append(later, cp)
		}
	}
	l.pending = later
	slices.SortFunc(now, func(a, b checkpoint) int { return a.at.Compare(b.at) })
	return now
}

// excuse returns the name of what excuses a violation, or "".
func (l *lab) excuse(v Violation) string {
	for _, s := range l.spells {
		if slices.Contains(s.Excuses, v.Invariant) && s.covers(v) {
			return s.Name
		}
	}
	return ""
}

// covers says whether a violation falls into a spell: it is about the same thing, at any time after, or, when the spell
// is about nothing in particular, it showed while it lasted.
func (s *spell) covers(v Violation) bool {
	if v.At.Before(s.from) {
		return false
	}
	if s.UID != "" || s.Object != "" {
		namespace, _, _ := strings.Cut(v.Object, "/")
		return s.UID != "" && s.UID == v.UID || s.Object != "" && (s.Object == v.Object || s.Object == namespace)
	}
	return s.to.IsZero() || !v.At.After(s.to.Add(s.bound))
}
