package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// kind says what a figure counts, and so how much of a difference between two runs means anything.
type kind string

// Kinds.
const (
	ofTime   kind = "time"
	ofCPU    kind = "cpu"
	ofMemory kind = "memory"
	ofCount  kind = "count"
	// ofRatio is a time as a multiple of another one of the same run.
	ofRatio kind = "ratio"
)

// noise is how much two runs of the same program differ by, as a share, on a machine that does nothing else.
func (k kind) noise() float64 {
	switch k {
	case ofTime:
		return 0.25
	case ofRatio, ofCPU:
		return 0.15
	case ofMemory:
		return 0.1
	default:
		return 0.02
	}
}

// figure is one number by which runs are compared and, if there is something to hold it against, judged. Less is better
// in all of them.
type figure struct {
	// Name never changes, or runs cannot be compared any more. It ends in the unit.
	Name  string
	Kind  kind
	Value float64
	// Floor is what an ideal loop needs, Target what is promised.
	Floor, Target *float64 `json:",omitempty"`
}

// within adds a floor and a target.
func (f figure) within(floor, target float64) figure {
	f.Floor, f.Target = &floor, &target
	return f
}

// measured is a report with figures.
type measured interface{ figures() []figure }

// summary prints all figures beside what they are held against.
func (s *saved) summary(w io.Writer) {
	if len(s.Figures) == 0 {
		return
	}
	fmt.Fprintf(w, "\n== summary ==\n%s\n", s.Machine)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "figure\tmeasured\tfloor\tx floor\ttarget\t\n")
	for _, f := range s.Figures {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n",
			f.Name, plain(f.Value), optional(f.Floor), multiple(f), optional(f.Target), verdict(f))
	}
	_ = t.Flush() // the writer's errors are the terminal's
	if missed := s.missed(); len(missed) > 0 {
		fmt.Fprintf(w, "\n%d targets are missed: %s\n", len(missed), strings.Join(missed, "; "))
	}
}

// missed names the figures that are above their targets.
func (s *saved) missed() []string {
	var names []string
	for _, f := range s.Figures {
		if verdict(f) == verdictMissed {
			names = append(names, f.Name)
		}
	}
	return names
}

const (
	verdictMet    = "met"
	verdictMissed = "MISSED"
)

func verdict(f figure) string {
	switch {
	case f.Target == nil:
		return ""
	case f.Value <= *f.Target:
		return verdictMet
	default:
		return verdictMissed
	}
}

// multiple says how often the floor goes into what was measured.
func multiple(f figure) string {
	if f.Floor == nil || *f.Floor == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", f.Value / *f.Floor)
}

func optional(v *float64) string {
	if v == nil {
		return ""
	}
	return plain(*v)
}

// plain prints large numbers without a fraction and small ones with two digits of it.
func plain(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// change is what became of a figure between two runs.
type change struct {
	name          string
	before, after *float64
	kind          kind
}

// share is by how much of what it was a figure grew.
func (c change) share() float64 {
	if *c.before == 0 {
		return min(*c.after, 1) // from nothing to something is twice as much
	}
	return *c.after / *c.before - 1
}

// says returns what a reader should know, or nothing.
func (c change) says() string {
	switch {
	case c.before == nil:
		return "new"
	case c.after == nil:
		return "not measured now"
	case c.share() > c.kind.noise():
		return "worse"
	case c.share() < -c.kind.noise():
		return "better"
	default:
		return ""
	}
}

// changes pairs the figures of two runs by their names, in the order of the later one.
func changes(before, after []figure) []change {
	var all []change
	for i := range after {
		c := change{name: after[i].Name, kind: after[i].Kind, after: &after[i].Value}
		if j := named(before, c.name); j >= 0 {
			c.before = &before[j].Value
		}
		all = append(all, c)
	}
	for i := range before {
		if named(after, before[i].Name) < 0 {
			all = append(all, change{name: before[i].Name, kind: before[i].Kind, before: &before[i].Value})
		}
	}
	return all
}

func named(all []figure, name string) int {
	return slices.IndexFunc(all, func(f figure) bool { return f.Name == name })
}

// compare prints what changed from a saved run to this one.
func (s *saved) compare(now *saved, w io.Writer) {
	fmt.Fprintf(w, "\n== compared with the saved run ==\nthen: %s\nnow:  %s\n", s.Machine, now.Machine)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	same := 0
	fmt.Fprintf(t, "figure\tthen\tnow\tchange\t\n")
	for _, c := range changes(s.Figures, now.Figures) {
		says, grew := c.says(), ""
		if says == "" {
			same++
			continue
		}
		if c.before != nil && c.after != nil {
			grew = fmt.Sprintf("%+.0f%%", 100*c.share())
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.name, optional(c.before), optional(c.after), grew, says)
	}
	_ = t.Flush() // the writer's errors are the terminal's
	fmt.Fprintf(w, "%d figures are the same within what runs differ by\n", same)
}
