package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/e2e/env"
)

// byName returns the values and verdicts of figures.
func byName(t *testing.T, all []figure) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for _, f := range all {
		if _, there := values[f.Name]; there {
			t.Errorf("%q is there twice", f.Name)
		}
		values[f.Name] = f.Value
	}
	return values
}

func TestFiguresOfNamespaces(t *testing.T) {
	r := &namespacesResult{
		Namespaces: 100, Providers: 3,
		Up: direction{
			Seconds: 50, Writes: map[string]int{"home patch namespacemaps": 100, "away create namespaces": 1200},
			CPU: map[string]float64{"consumer controller-manager": 4.5, "consumer virtual-kubelet-provider-1": 6},
		},
		Down: direction{Seconds: 25, Writes: map[string]int{"away delete namespaces": 500}},
		Memory: []memory{
			{env.Consumer, env.Manager, 64 << 20}, {env.Consumer, agentName(), 96 << 20},
			{env.Consumer, env.AgentOf("provider-2"), 99 << 20}, {"provider-1", env.Etcd, 1},
		},
		Leftovers: map[string]int{"twins": 2, "keys of maps": 1},
	}
	const start = "100 namespaces on 3 providers"
	want := map[string]float64{
		start + " offloaded: s": 50, start + " un-offloaded: s": 25,
		start + " offloaded: writes per namespace":                 13,
		start + " un-offloaded: writes per namespace":              5,
		start + " offloaded: CPU of the controller-manager, s":     4.5,
		start + " un-offloaded: CPU of the controller-manager, s":  0,
		start + " offloaded: CPU of the first agent, s":            6,
		start + " un-offloaded: CPU of the first agent, s":         0,
		start + ": peak memory of controller-manager, MiB":         64,
		start + ": peak memory of virtual-kubelet-provider-1, MiB": 96,
		start + ": left over in the end":                           3,
	}
	all := r.figures()
	if diff := cmp.Diff(want, byName(t, all)); diff != "" {
		t.Errorf("figures (-want,+got):\n%s", diff)
	}
	if got := verdict(all[len(all)-1]); got != verdictMissed {
		t.Errorf("with something left over the target is %s", got)
	}
}

func TestFiguresOfReflection(t *testing.T) {
	r := &reflectionResult{
		Latencies: []latency{{
			Resource: "services", Rate: 10, Changes: 100, Writes: 150,
			P50: 5 * time.Millisecond, P99: time.Second, CPU: 0.2,
		}},
		Restart: &restart{
			Objects: 50, Seconds: 9, Writes: map[string]int{"away patch secrets": 1}, Full: footprint{Live: 32 << 20},
		},
		Watches: []watches{{
			Scope: scopeCluster, Namespaces: 20, Providers: 2,
			Before: map[string]map[string]float64{env.Consumer: {"pods": 2}, "provider-1": {"pods": 1}},
			After:  map[string]map[string]float64{env.Consumer: {"pods": 12}, "provider-1": {"pods": 14}},
		}},
	}
	const cluster = "20 namespaces on 2 providers, scope cluster: watches added on "
	want := map[string]float64{
		"services at 10 changes a second: p50, ms": 5, "services at 10 changes a second: p99, ms": 1000,
		"services at 10 changes a second: writes per change":               1.5,
		"services at 10 changes a second: CPU of the agent per change, ms": 2,
		"agent killed with 50 reflected objects: writes":                   1,
		"agent killed with 50 reflected objects: s":                        9,
		"agent killed with 50 reflected objects: memory in use, MiB":       32,
		cluster + "consumer for each peering":                              5, cluster + "provider-1": 13,
	}
	all := r.figures()
	if diff := cmp.Diff(want, byName(t, all)); diff != "" {
		t.Errorf("figures (-want,+got):\n%s", diff)
	}
	wantMissed := []string{
		"services at 10 changes a second: writes per change", "agent killed with 50 reflected objects: writes",
		cluster + "provider-1",
	}
	if diff := cmp.Diff(wantMissed, (&saved{Figures: all}).missed()); diff != "" {
		t.Errorf("missed (-want,+got):\n%s", diff)
	}
	r.Watches[0].Scope = scopeNamespace
	if missed := (&saved{Figures: r.Watches[0].figures()}).missed(); len(missed) > 0 {
		t.Errorf("scope namespace has no such target: %v", missed)
	}
}

func TestFiguresOfScheduling(t *testing.T) {
	size := schedulingSize{Nodes: 100, Rounds: map[string][]schedulingRound{
		bare: {{CPU: 1}, {CPU: 2}}, "ordinary": {{CPU: 1.1}, {CPU: 2.2}}, bareAway: {{CPU: 3}, {CPU: 3}},
	}}
	r := &schedulingResult{Pods: 50, Sizes: []schedulingSize{size}, Stream: &size, Pace: 5, sides: sides()}
	all := r.figures()
	want := map[string]float64{
		"backlog of 50 pods, 100 nodes: scheduler's CPU, ordinary as a multiple of bare":         1.1,
		"backlog of 50 pods, 100 nodes: scheduler's CPU, bare-away as a multiple of bare":        2.25,
		"stream of 5 pods a second, 100 nodes: scheduler's CPU, ordinary as a multiple of bare":  1.1,
		"stream of 5 pods a second, 100 nodes: scheduler's CPU, bare-away as a multiple of bare": 2.25,
	}
	got := byName(t, all)
	for name, value := range want {
		if d := got[name] - value; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s: %v, want %v", name, got[name], value)
		}
	}
	if len(got) != len(want) {
		t.Errorf("figures %v, want %v", got, want)
	}
	if missed := (&saved{Figures: all}).missed(); len(missed) != 2 {
		t.Errorf("missed are %v, want the two ordinary ones", missed)
	}
}
