package main

import (
	"fmt"

	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/env"
)

// figures are what runs of part namespaces are compared by.
func (r *namespacesResult) figures() []figure {
	var all []figure
	for _, way := range []struct {
		what string
		d    direction
	}{{"offloaded", r.Up}, {"un-offloaded", r.Down}} {
		name := func(text string) string {
			return fmt.Sprintf("%d namespaces on %d providers %s: %s", r.Namespaces, r.Providers, way.what, text)
		}
		writes, used := total(way.d.Writes)/float64(r.Namespaces), usage{CPU: way.d.CPU}
		all = append(all,
			figure{Name: name("s"), Kind: ofTime, Value: way.d.Seconds},
			figure{Name: name("writes per namespace"), Kind: ofCount, Value: writes},
			figure{Name: name("CPU of the controller-manager, s"), Kind: ofCPU, Value: used.cpuOf(env.Manager)},
			figure{Name: name("CPU of the first agent, s"), Kind: ofCPU, Value: used.cpuOf(agentName())},
		)
	}
	for _, m := range r.Memory {
		if m.Cluster == env.Consumer && (m.Component == env.Manager || m.Component == agentName()) {
			name := fmt.Sprintf("%d namespaces on %d providers: peak memory of %s, MiB",
				r.Namespaces, r.Providers, m.Component)
			all = append(all, figure{Name: name, Kind: ofMemory, Value: mib(m.Bytes)})
		}
	}
	left := 0.0
	for _, n := range r.Leftovers {
		left += float64(n)
	}
	name := fmt.Sprintf("%d namespaces on %d providers: left over in the end", r.Namespaces, r.Providers)
	return append(all, figure{Name: name, Kind: ofCount, Value: left}.within(0, 0))
}

// figures are what runs of part reflection are compared by.
func (r *reflectionResult) figures() []figure {
	var all []figure
	for _, l := range r.Latencies {
		name := func(text string) string {
			return fmt.Sprintf("%s at %d changes a second: %s", l.Resource, l.Rate, text)
		}
		changes := float64(max(1, l.Changes))
		writes := float64(l.Writes) / changes
		all = append(all,
			figure{Name: name("p50, ms"), Kind: ofTime, Value: ms(l.P50)},
			figure{Name: name("p99, ms"), Kind: ofTime, Value: ms(l.P99)},
			figure{Name: name("writes per change"), Kind: ofCount, Value: writes, Target: ptr.To(1.0)},
			figure{Name: name("CPU of the agent per change, ms"), Kind: ofCPU, Value: l.CPU * 1000 / changes},
		)
	}
	if r.Restart != nil {
		name := func(text string) string {
			return fmt.Sprintf("agent killed with %d reflected objects: %s", r.Restart.Objects, text)
		}
		all = append(all,
			figure{Name: name("writes"), Kind: ofCount, Value: total(r.Restart.Writes)}.within(0, 0),
			figure{Name: name("s"), Kind: ofTime, Value: r.Restart.Seconds},
			figure{Name: name("memory in use, MiB"), Kind: ofMemory, Value: mib(r.Restart.Full.Live)},
		)
	}
	for i := range r.Watches {
		all = append(all, r.Watches[i].figures()...)
	}
	return all
}

// mostWatches is how many watches of an API server the offloaded namespaces may need in scope cluster.
const mostWatches = 12

func (w *watches) figures() []figure {
	var all []figure
	for _, cluster := range []string{env.Consumer, env.ProviderName(1)} {
		f := figure{
			Name: fmt.Sprintf("%d namespaces on %d providers, scope %s: watches added on %s",
				w.Namespaces, w.Providers, w.Scope, cluster),
			Kind: ofCount, Value: sum(w.After[cluster]) - sum(w.Before[cluster]),
		}
		if cluster == env.Consumer {
			f.Name, f.Value = f.Name+" for each peering", f.Value/float64(w.Providers)
		}
		if w.Scope == scopeCluster {
			f.Target = ptr.To[float64](mostWatches)
		}
		all = append(all, f)
	}
	return all
}

// figures are what runs of part scheduling are compared by.
func (r *schedulingResult) figures() []figure {
	var all []figure
	for _, size := range r.Sizes {
		all = append(all, r.sizeFigures(size, fmt.Sprintf("backlog of %d pods, %d nodes", r.Pods, size.Nodes))...)
	}
	if r.Stream != nil {
		all = append(all, r.sizeFigures(*r.Stream, fmt.Sprintf("stream of %d pods a second, %d nodes",
			r.Pace, r.Stream.Nodes))...)
	}
	return all
}

func (r *schedulingResult) sizeFigures(size schedulingSize, what string) []figure {
	var all []figure
	for _, s := range r.sides {
		if s.against == "" || len(size.Rounds[s.name]) == 0 {
			continue
		}
		f := figure{
			Name: fmt.Sprintf("%s: scheduler's CPU, %s as a multiple of %s", what, s.name, s.against), Kind: ofRatio,
			Value: ratio(size, s, func(m schedulingRound) float64 { return m.CPU }),
		}
		if s.limit > 0 {
			f.Target = ptr.To(s.limit)
		}
		all = append(all, f)
	}
	return all
}
