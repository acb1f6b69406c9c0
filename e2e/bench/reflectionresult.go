package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/twinspace/twinspace/e2e/env"
)

// latency is what came of changing objects of one kind, so many a second.
type latency struct {
	Resource string
	Rate     int
	// Seconds is how long the benchmark took to make the changes.
	Seconds float64
	// Changes are those at home, Writes and Reads the agent's on the provider, Missing the changes that nothing
	// followed.
	Changes, Writes, Reads, Missing int
	// P50, P99 and Max are from the moment that a change came to the home API server until the provider's had answered
	// the write that belongs to it.
	P50, P99, Max time.Duration
	// CPU is the agent's, in seconds.
	CPU float64
}

// footprint is the memory of a process in bytes: what is in use, what it has, and the most that it had.
type footprint struct{ Live, RSS, Peak int64 }

// restart is what came of killing the agent.
type restart struct {
	Namespaces, Objects int
	// Seconds is from the kill until the next agent had looked at everything; the dead one's lease must run out first.
	Seconds float64
	// Writes are our components' in the namespaces and their twins, Others those elsewhere but for signs of life; Reads
	// are of single objects in the namespaces and their twins.
	Writes, Others map[string]int
	Reads          int
	// Empty is the agent's after a restart with empty twins, Full after one with all objects.
	Empty, Full footprint
}

// watches are the watches of each API server, by resource, without and with offloaded namespaces.
type watches struct {
	Scope                 string
	Namespaces, Providers int
	Before, After         map[string]map[string]float64
	Memory                []memory
}

// reflectionResult is what measureReflection found.
type reflectionResult struct {
	Latencies []latency
	Restart   *restart
	Watches   []watches
}

func (r *reflectionResult) print(w io.Writer) {
	if len(r.Latencies) > 0 {
		r.latencies(w)
	}
	if r.Restart != nil {
		r.Restart.show(w)
	}
	for i := range r.Watches {
		r.Watches[i].show(w)
	}
}

func (r *reflectionResult) latencies(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "home change -> remote write\tper second\treached\tchanges\twrites per change\treads\t"+
		"not followed\tp50 ms\tp99 ms\tmax ms\tagent CPU ms\n")
	for _, l := range r.Latencies {
		of := func(n int) float64 { return float64(n) / float64(max(1, l.Changes)) }
		fmt.Fprintf(t, "%s\t%d\t%.0f\t%d\t%.2f\t%.2f\t%d\t%.1f\t%.1f\t%.1f\t%.2f\n", l.Resource, l.Rate,
			float64(l.Changes)/l.Seconds, l.Changes, of(l.Writes), of(l.Reads), l.Missing,
			ms(l.P50), ms(l.P99), ms(l.Max), l.CPU*1000/float64(max(1, l.Changes)))
	}
	_ = t.Flush() // the writer's errors are the terminal's
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

func (r *restart) show(w io.Writer) {
	fmt.Fprintf(w, "\nAgent killed with %d reflected objects in %d namespaces: %.0f writes there after its restart; "+
		"%.2f reads per object; all looked at %.1f s after the kill\n",
		r.Objects, r.Namespaces, total(r.Writes), float64(r.Reads)/float64(max(1, r.Objects)), r.Seconds)
	for _, what := range slices.SortedFunc(maps.Keys(r.Writes), byCount(r.Writes)) {
		fmt.Fprintf(w, "  %6d  %s\n", r.Writes[what], what)
	}
	for _, what := range slices.SortedFunc(maps.Keys(r.Others), byCount(r.Others)) {
		fmt.Fprintf(w, "  %6d  %s, which is not about these objects\n", r.Others[what], what)
	}
	thousands := float64(max(1, r.Objects)) / 1000
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "memory of the agent, MiB\tempty twins\twith the objects\tper 1,000 objects\n")
	for _, row := range []struct {
		what string
		of   func(footprint) int64
	}{
		{"in use", func(f footprint) int64 { return f.Live }},
		{"resident", func(f footprint) int64 { return f.RSS }},
		{"at most", func(f footprint) int64 { return f.Peak }},
	} {
		empty, full := mib(row.of(r.Empty)), mib(row.of(r.Full))
		fmt.Fprintf(t, "%s\t%.1f\t%.1f\t%.2f\n", row.what, empty, full, (full-empty)/thousands)
	}
	_ = t.Flush() // as above
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// each returns what the namespaces added on an API server for each of them and, at home, for each provider.
func (w *watches) each(cluster string, added float64) float64 {
	if cluster == env.Consumer {
		added /= float64(w.Providers)
	}
	return added / float64(w.Namespaces)
}

// What one more namespace, or in scope cluster the first one, adds: a watch of Services, EndpointSlices, ConfigMaps,
// Ingresses and claims at home for each peering; on the provider, of pods besides. Events are watched for each twin, or
// from the beginning; Secrets on both sides in each namespace, or where something refers to one, and nothing does here.
const (
	watchesAtHome     = 5
	watchesOnProvider = 6
	watchesOfEvents   = 1
	watchesOfSecrets  = 1
)

// formula returns how many watches the namespaces should add on an API server.
func (w *watches) formula(cluster string) int {
	switch {
	case cluster == env.Consumer && w.Scope == scopeNamespace:
		return (watchesAtHome + watchesOfSecrets) * w.Namespaces * w.Providers
	case cluster == env.Consumer:
		return watchesAtHome * w.Providers
	case w.Scope == scopeNamespace:
		return (watchesOnProvider + watchesOfEvents + watchesOfSecrets) * w.Namespaces
	default:
		return watchesOnProvider
	}
}

func (w *watches) show(out io.Writer) {
	fmt.Fprintf(out, "\nWatches, scope %s, %d namespaces on %d providers:\n", w.Scope, w.Namespaces, w.Providers)
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  API server\twithout\twith\tadded\tformula\tper namespace and peering\n")
	clusters := slices.Sorted(maps.Keys(w.After))
	for _, c := range clusters {
		before, after := sum(w.Before[c]), sum(w.After[c])
		fmt.Fprintf(t, "  %s\t%.0f\t%.0f\t%.0f\t%d\t%.2f\n",
			c, before, after, after-before, w.formula(c), w.each(c, after-before))
	}
	_ = t.Flush() // as above
	for _, c := range clusters {
		fmt.Fprintf(out, "  %s: %s\n", c, strings.Join(w.added(c), ", "))
	}
	slices.SortStableFunc(w.Memory, func(a, b memory) int { return strings.Compare(a.Cluster, b.Cluster) })
	for _, m := range w.Memory {
		if m.Component == env.APIServer || m.Component == env.Manager || strings.HasPrefix(m.Component, env.Agent) {
			fmt.Fprintf(out, "  %s %s: %.0f MiB\n", m.Cluster, m.Component, mib(m.Bytes))
		}
	}
}

// added says how many watches of what the namespaces added on an API server.
func (w *watches) added(cluster string) []string {
	var out []string
	for _, resource := range slices.Sorted(maps.Keys(w.After[cluster])) {
		if n := w.After[cluster][resource] - w.Before[cluster][resource]; n != 0 {
			out = append(out, fmt.Sprintf("%+.0f %s", n, resource))
		}
	}
	return out
}

func sum(values map[string]float64) float64 {
	all := 0.0
	for _, v := range values {
		all += v
	}
	return all
}
