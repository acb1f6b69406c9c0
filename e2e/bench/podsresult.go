package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/twinspace/twinspace/e2e/env"
)

// spread is how long single things took, in milliseconds.
type spread struct{ P50, P99, Max float64 }

func spreadOf(all []time.Duration) spread {
	return spread{ms(percentile(all, 50)), ms(percentile(all, 99)), ms(percentile(all, 100))}
}

// phase is what it took to bring all pods of a round to Running, or to delete them.
type phase struct {
	// Asked is from the first request of the user until the last, Seconds until the last pod was as it should be.
	Asked, Seconds float64
	// Each is from the request for a pod until it was.
	Each spread
	usage
}

// podsRound is what one round took.
type podsRound struct{ Up, Down phase }

// podsSize is what was measured with so many pods at once.
type podsSize struct {
	Pods   int
	Rounds map[string][]podsRound
	Memory []memory
}

// podsResult is everything that part pods measured.
type podsResult struct {
	// One is a pod alone, by side.
	One   map[string]spread
	Sizes []podsSize
}

// What an ideal loop needs, which only watches, creates and writes one status back, and what is promised: the time as a
// multiple of the same pods on ordinary nodes (two API servers share the machine), requests per pod of each server, CPU
// seconds of our processes per 1,000 pods, a single pod in milliseconds; and by number of pods the time in seconds and
// the memory of the agent in MiB.
const (
	floorTimes, targetTimes       = 2.0, 2.4
	floorAtHome, targetAtHome     = 4.0, 5.2
	floorAway, targetAway         = 4.0, 4.2
	floorCPU, targetCPU           = 0.86, 1.6
	floorOnePod, targetOnePod     = 19.0, 30.0
	floor10000, target10000       = 83, 100
	floorMiB1000, targetMiB1000   = 54, 80
	floorMiB10000, targetMiB10000 = 205, 260
)

// figures are what runs are compared by.
func (r *podsResult) figures() []figure {
	var all []figure
	for _, side := range podSides() {
		if one, ok := r.One[side]; ok {
			f := figure{Name: "one pod, " + side + ": create to Running, median ms", Kind: ofTime, Value: one.P50}
			if side == away {
				f = f.within(floorOnePod, targetOnePod)
			}
			all = append(all, f)
		}
	}
	if one := r.One[ideal].P50; one > 0 {
		all = append(all, beside("one pod, away: create to Running, median", r.One[away].P50/one,
			targetOnePod/floorOnePod))
	}
	for i := range r.Sizes {
		s := &r.Sizes[i]
		all = append(all, s.phaseFigures("to Running", func(m podsRound) phase { return m.Up }, true)...)
		all = append(all, s.phaseFigures("deleted", func(m podsRound) phase { return m.Down }, false)...)
		all = append(all, s.memoryFigures()...)
	}
	return all
}

// beside is what we need as a multiple of what the ideal loop needed in the same run; the target is what it is on the
// machine that both were measured on first.
func beside(what string, value, target float64) figure {
	return figure{Name: what + ", as a multiple of the ideal loop's", Kind: ofRatio, Value: value}.within(1, target)
}

// phaseFigures are those of one phase; judged ones are held against floors and targets.
func (s *podsSize) phaseFigures(what string, of func(podsRound) phase, judged bool) []figure {
	name := func(text string) string { return fmt.Sprintf("%d pods %s: %s", s.Pods, what, text) }
	mid := func(side string, value func(phase) float64) float64 {
		return median(s.Rounds[side], func(m podsRound) float64 { return value(of(m)) })
	}
	seconds := func(p phase) float64 { return p.Seconds }
	var all []figure
	add := func(text string, k kind, value float64, bounds ...float64) {
		f := figure{Name: name(text), Kind: k, Value: value}
		if judged && len(bounds) == 2 {
			f = f.within(bounds[0], bounds[1])
		}
		all = append(all, f)
	}
	for _, side := range s.sides() {
		var bounds []float64
		if side == away && s.Pods == 10000 {
			bounds = []float64{floor10000, target10000}
		}
		add(side+", s", ofTime, mid(side, seconds), bounds...)
		add(side+", p50 per pod, ms", ofTime, mid(side, func(p phase) float64 { return p.Each.P50 }))
		add(side+", p99 per pod, ms", ofTime, mid(side, func(p phase) float64 { return p.Each.P99 }))
	}
	add("time, away as a multiple of home", ofRatio, mid(away, seconds)/mid(home, seconds), floorTimes, targetTimes)
	add("home, requests per pod", ofCount, mid(home, s.perPod(home, nil)))
	add("away, requests per pod of the home API server", ofCount, mid(away, s.perPod(home, nil)),
		floorAtHome, targetAtHome)
	add("away, requests per pod of the provider's", ofCount, mid(away, s.perPod(away, nil)), floorAway, targetAway)
	ourWrites := func(c call) bool { return c.isOurs() && c.isWrite() }
	add("away, our writes per pod", ofCount, mid(away, s.perPod("", ourWrites)))
	cpu := func(components ...string) func(phase) float64 {
		return func(p phase) float64 { return p.cpuOf(components...) / float64(s.Pods) * 1000 }
	}
	ours := mid(away, cpu(agentName(), env.Manager))
	add("away, our CPU s per 1,000 pods", ofCPU, ours, floorCPU, targetCPU)
	if len(s.Rounds[ideal]) == 0 {
		return all
	}
	floor := mid(ideal, cpu(ideal))
	add("ideal, its CPU s per 1,000 pods", ofCPU, floor)
	add("time, ideal as a multiple of home", ofRatio, mid(ideal, seconds)/mid(home, seconds))
	if judged {
		all = append(all, beside(name("time"), mid(away, seconds)/mid(ideal, seconds), targetTimes/floorTimes),
			beside(name("CPU"), ours/floor, targetCPU/floorCPU))
	}
	return all
}

// sides are those that were measured.
func (s *podsSize) sides() []string {
	return slices.DeleteFunc(podSides(), func(side string) bool { return len(s.Rounds[side]) == 0 })
}

// perPod returns how to count the requests of a server, or of both, that are wanted.
func (s *podsSize) perPod(server string, wanted func(call) bool) func(phase) float64 {
	return func(p phase) float64 {
		return sumOf(p.Calls, func(c call) bool {
			return (server == "" || c.Server == server) && (wanted == nil || wanted(c))
		}) / float64(s.Pods)
	}
}

func (s *podsSize) memoryFigures() []figure {
	var all []figure
	peaks := map[string]float64{}
	for _, m := range s.Memory {
		if m.Cluster == env.Consumer {
			peaks[m.Component] = mib(m.Bytes)
		}
	}
	bounds := map[int][2]float64{
		1000: {floorMiB1000, targetMiB1000}, 10000: {floorMiB10000, targetMiB10000},
	}[s.Pods]
	for _, component := range []string{agentName(), env.Manager, ideal} {
		peak, measured := peaks[component]
		if !measured {
			continue
		}
		name := fmt.Sprintf("%d pods: peak memory of %s, MiB", s.Pods, component)
		f := figure{Name: name, Kind: ofMemory, Value: peak}
		if component == agentName() && bounds[0] > 0 {
			f = f.within(bounds[0], bounds[1])
		}
		all = append(all, f)
	}
	if peaks[ideal] > 0 && bounds[0] > 0 {
		all = append(all, beside(fmt.Sprintf("%d pods: peak memory of the agent", s.Pods),
			peaks[agentName()]/peaks[ideal], bounds[1]/bounds[0]))
	}
	return all
}

func (r *podsResult) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	if len(r.One) > 0 {
		fmt.Fprintf(t, "one pod on a system that does nothing else\tp50 ms\tp99 ms\tmax ms\n")
		for _, side := range podSides() {
			fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.1f\n", side, r.One[side].P50, r.One[side].P99, r.One[side].Max)
		}
	}
	_ = t.Flush() // the writer's errors are the terminal's
	for i := range r.Sizes {
		r.Sizes[i].show(w)
	}
}

func (s *podsSize) show(w io.Writer) {
	for _, ph := range []struct {
		what string
		of   func(podsRound) phase
	}{
		{"to Running", func(m podsRound) phase { return m.Up }},
		{"deleted", func(m podsRound) phase { return m.Down }},
	} {
		fmt.Fprintf(w, "\n%d pods %s, medians of %d rounds\n", s.Pods, ph.what, len(s.Rounds[home]))
		s.times(w, ph.of)
		for _, side := range s.sides() {
			last := ph.of(s.Rounds[side][len(s.Rounds[side])-1])
			fmt.Fprintf(w, "Who asked what per pod, %s, last round:\n", side)
			showCalls(w, last.Calls, float64(s.Pods))
		}
	}
	fmt.Fprintf(w, "\nWhat each process used with %d pods, medians:\n", s.Pods)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprint(t, "  process")
	for _, what := range []string{"CPU s, ", "deleted, "} {
		for _, side := range s.sides() {
			fmt.Fprint(t, "\t"+what+side)
		}
	}
	fmt.Fprint(t, "\tpeak MiB\n")
	for _, m := range s.Memory {
		fmt.Fprintf(t, "  %s %s", m.Cluster, m.Component)
		for _, of := range []func(podsRound) phase{
			func(m podsRound) phase { return m.Up }, func(m podsRound) phase { return m.Down },
		} {
			for _, side := range s.sides() {
				fmt.Fprintf(t, "\t%.2f", median(s.Rounds[side], func(r podsRound) float64 {
					return of(r).CPU[m.Cluster+" "+m.Component]
				}))
			}
		}
		fmt.Fprintf(t, "\t%.0f\n", mib(m.Bytes))
	}
	_ = t.Flush() // the writer's errors are the terminal's
}

// times prints how long a phase took on all sides, and how that compares with the first.
func (s *podsSize) times(w io.Writer, of func(podsRound) phase) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, side := range s.sides() {
		fmt.Fprint(t, "\t"+side)
	}
	for _, side := range s.sides()[1:] {
		fmt.Fprint(t, "\t"+side+"/"+home)
	}
	fmt.Fprintln(t)
	row := func(what string, value func(phase) float64) {
		fmt.Fprint(t, what)
		var all []float64
		for _, side := range s.sides() {
			all = append(all, median(s.Rounds[side], func(m podsRound) float64 { return value(of(m)) }))
			fmt.Fprintf(t, "\t%.2f", all[len(all)-1])
		}
		for _, other := range all[1:] {
			fmt.Fprintf(t, "\t%.2f", other/all[0])
		}
		fmt.Fprintln(t)
	}
	row("until the last request, s", func(p phase) float64 { return p.Asked })
	row("until the last pod was so, s", func(p phase) float64 { return p.Seconds })
	row("per pod, p50 ms", func(p phase) float64 { return p.Each.P50 })
	row("per pod, p99 ms", func(p phase) float64 { return p.Each.P99 })
	row("per pod, max ms", func(p phase) float64 { return p.Each.Max })
	row("requests per pod, both servers", s.perPod("", nil))
	row("writes per pod, both servers", s.perPod("", call.isWrite))
	_ = t.Flush() // the writer's errors are the terminal's
}

// showCalls prints what was asked of which server by whom, for each of so many things, but for what is hardly ever.
func showCalls(w io.Writer, all []tallied, things float64) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	for _, server := range []string{home, away} {
		sum := sumOf(all, func(c call) bool { return c.Server == server }) / things
		fmt.Fprintf(t, "  of the %s API server %.2f\n", server, sum)
		for _, c := range all {
			if c.Server == server && float64(c.N)/things >= 0.005 {
				fmt.Fprintf(t, "    %.2f\t%s\t%s\n", float64(c.N)/things, c.call, c.By)
			}
		}
	}
	_ = t.Flush() // the writer's errors are the terminal's
}
