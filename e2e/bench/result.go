package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/twinspace/twinspace/e2e/env"
)

// What an ideal loop needs, which only watches, creates and writes one status back: its time as a multiple of the local
// one (two API servers share the machine), its requests per pod on both servers, and its CPU seconds per 1,000 pods.
const (
	idealTime     = 2.0
	idealRequests = 8.0
	idealCPU      = 0.9
)

// round is what one round took.
type round struct {
	Seconds float64
	// Writes and Reads are requests about the namespace and its twin, by cluster, verb and resource.
	Writes, Reads map[string]int
	// CPU is seconds by process.
	CPU map[string]float64
}

// memory is the most that a process had at once.
type memory struct {
	Cluster, Component string
	Bytes              int64
}

// result is everything that was measured.
type result struct {
	Pods   int
	Rounds map[string][]round
	Memory []memory
}

func (r *result) print(w io.Writer) {
	seconds := func(m round) float64 { return m.Seconds }
	writes := func(m round) float64 { return total(m.Writes) / float64(r.Pods) }
	requests := func(m round) float64 { return (total(m.Writes) + total(m.Reads)) / float64(r.Pods) }
	agent := env.Consumer + " " + env.AgentOf(env.ProviderName(1))
	cpu := func(m round) float64 { return m.CPU[agent] / float64(r.Pods) * 1000 }

	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "%d pods to Running, medians of %d rounds\t%s\t%s\tratio\tideal\n",
		r.Pods, len(r.Rounds[home]), home, away)
	row := func(what string, of func(round) float64, ideal string) {
		h, a := median(r.Rounds[home], of), median(r.Rounds[away], of)
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\t%s\n", what, h, a, a/h, ideal)
	}
	row("seconds", seconds, fmt.Sprintf("ratio %.1f", idealTime))
	row("API writes per pod, both servers", writes, "")
	row("API requests per pod, both servers", requests, fmt.Sprintf("%.0f away", idealRequests))
	fmt.Fprintf(t, "CPU seconds of the agent per 1,000 pods\t\t%.2f\t\t%.1f\n", median(r.Rounds[away], cpu), idealCPU)
	_ = t.Flush() // the writer's errors are the terminal's

	last := r.Rounds[away][len(r.Rounds[away])-1]
	fmt.Fprintf(w, "\nWho wrote what, per pod, away, last round:\n")
	for _, what := range slices.SortedFunc(maps.Keys(last.Writes), byCount(last.Writes)) {
		if n := float64(last.Writes[what]) / float64(r.Pods); n >= 0.01 {
			fmt.Fprintf(w, "  %6.2f  %s\n", n, what)
		}
	}
	for _, what := range slices.SortedFunc(maps.Keys(last.Reads), byCount(last.Reads)) {
		if n := float64(last.Reads[what]) / float64(r.Pods); n >= 0.01 {
			fmt.Fprintf(w, "  %6.2f  %s\n", n, what)
		}
	}
	fmt.Fprintf(w, "\nWhat each process used:\n")
	t = tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  process\tCPU s, home\tCPU s, away\tpeak MiB\n")
	for _, m := range r.Memory {
		of := func(x round) float64 { return x.CPU[m.Cluster+" "+m.Component] }
		fmt.Fprintf(t, "  %s %s\t%.2f\t%.2f\t%d\n", m.Cluster, m.Component,
			median(r.Rounds[home], of), median(r.Rounds[away], of), m.Bytes>>20)
	}
	_ = t.Flush() // as above
}

func total(counts map[string]int) float64 {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum)
}

// median returns what a round took of something, in the middle of all rounds.
func median[R any](rounds []R, of func(R) float64) float64 {
	values := make([]float64, 0, len(rounds))
	for _, m := range rounds {
		values = append(values, of(m))
	}
	return middle(values)
}

func middle(values []float64) float64 {
	slices.Sort(values)
	half := len(values) / 2
	if len(values)%2 == 0 {
		return (values[half-1] + values[half]) / 2
	}
	return values[half]
}

func byCount(counts map[string]int) func(a, b string) int {
	return func(a, b string) int {
		if d := counts[b] - counts[a]; d != 0 {
			return d
		}
		return strings.Compare(a, b)
	}
}
