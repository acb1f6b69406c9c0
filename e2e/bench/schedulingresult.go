package main

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// schedulingSize is what was measured with one number of nodes.
type schedulingSize struct {
	Nodes  int
	Rounds map[string][]schedulingRound
}

// schedulingResult is what part scheduling measured.
type schedulingResult struct {
	Pods  int
	Sizes []schedulingSize
	// Stream is what was measured with Pace pods a second, at the first size.
	Stream *schedulingSize
	Pace   int
	sides  []side
}

func (r *schedulingResult) print(w io.Writer) {
	fmt.Fprintf(w, "%d pods wait before the scheduler may begin; medians, and medians of the ratios within a round\n"+
		"(CPU is the scheduler's, in milliseconds per pod; server is the API server with etcd)\n", r.Pods)
	for _, size := range r.Sizes {
		r.table(w, size)
	}
	if r.Stream != nil {
		fmt.Fprintf(w, "\nA stream of %d pods a second:\n", r.Pace)
		r.table(w, *r.Stream)
	}
}

func (r *schedulingResult) table(w io.Writer, size schedulingSize) {
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "%d nodes\tpods/s\tCPU\tserver\taway\tCPU ratio\ttime ratio\tlimit\tagainst\n", size.Nodes)
	for _, s := range r.sides {
		if len(size.Rounds[s.name]) > 0 {
			r.row(t, size, s)
		}
	}
	_ = t.Flush() // the writer's errors are the terminal's
}

func (r *schedulingResult) row(w io.Writer, size schedulingSize, s side) {
	pods := float64(r.Pods)
	rounds := size.Rounds[s.name]
	seconds := func(m schedulingRound) float64 { return m.Seconds }
	cpu := func(m schedulingRound) float64 { return m.CPU }
	server := func(m schedulingRound) float64 { return m.ServerCPU }
	away := func(m schedulingRound) float64 { return float64(m.Away) }
	fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.0f%%", s.title, pods/median(rounds, seconds),
		median(rounds, cpu)/pods*1000, median(rounds, server)/pods*1000, median(rounds, away)/pods*100)
	if s.against != "" {
		fmt.Fprintf(w, "\t%.3f\t%.3f", ratio(size, s, cpu), ratio(size, s, seconds))
		if s.limit > 0 {
			fmt.Fprintf(w, "\t%.2f\t%s", s.limit, s.against)
		} else {
			fmt.Fprintf(w, "\t\t%s", s.against)
		}
	}
	fmt.Fprintln(w)
}

// ratio returns the median over the rounds of what a side took as a multiple of what it is compared with, so that
// whatever slows a whole round down does not count.
func ratio(size schedulingSize, s side, of func(schedulingRound) float64) float64 {
	var all []float64
	for i, m := range size.Rounds[s.name] {
		all = append(all, of(m)/of(size.Rounds[s.against][i]))
	}
	return middle(all)
}
