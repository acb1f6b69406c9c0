package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/e2e/env"
)

// scaleExample is two virtual nodes, of which nobody's sums are those of anybody else.
func scaleExample() *scaleResult {
	servers := func(home int64) []memory {
		return []memory{
			{"provider-1", env.APIServer, 1 << 20}, {env.Consumer, env.APIServer, home << 20},
		}
	}
	before := watchCounts{env.Consumer: {"pods": 5, "gone": 2}, "provider-1": {"pods": 1}, "provider-2": {"pods": 1}}
	return &scaleResult{
		Servers: 2, Namespaces: 3, Pods: 4, Objects: 10, Scope: scopeNamespace, Minutes: 2,
		Runs: []scaled{
			{
				Providers: 2, Ready: 8, InStep: 20, Before: before,
				After: watchCounts{
					env.Consumer: {"pods": 7, "services": 50}, "provider-1": {"pods": 27}, "provider-2": {"pods": 28},
				},
				CPU: map[string]float64{
					"consumer virtual-kubelet-alias-01": 3, "consumer virtual-kubelet-alias-02": 1,
					"consumer kube-apiserver": 100,
				},
				Agents: []agentMemory{
					{"virtual-kubelet-alias-01", footprint{Live: 20 << 20, RSS: 90 << 20, Peak: 95 << 20}},
					{"virtual-kubelet-alias-02", footprint{Live: 24 << 20, RSS: 94 << 20, Peak: 99 << 20}},
				},
				Servers: servers(400),
			},
			{
				Providers: 2, Shared: true, Ready: 4, InStep: 10, Before: before,
				After: watchCounts{
					env.Consumer: {"pods": 7, "services": 29}, "provider-1": {"pods": 27}, "provider-2": {"pods": 27},
				},
				CPU: map[string]float64{"consumer virtual-kubelet-shared": 2},
				Agents: []agentMemory{
					{"virtual-kubelet-shared", footprint{Live: 22 << 20, RSS: 92 << 20, Peak: 99 << 20}},
				},
				Servers: servers(300),
			},
		},
	}
}

func TestFiguresOfScaleAreForEachProvider(t *testing.T) {
	all := scaleExample().figures()
	const (
		own    = "2 virtual nodes, an agent each, 3 namespaces, scope namespace: "
		shared = "2 virtual nodes, one agent for all, 3 namespaces, scope namespace: "
		ratio  = "one agent for all as a multiple of an agent each, 2 virtual nodes, 3 namespaces, scope namespace: "
	)
	want := map[string]float64{
		own + "resident memory of agents for each, MiB": 92, shared + "resident memory of agents for each, MiB": 46,
		own + "live heap of agents for each, MiB": 22, shared + "live heap of agents for each, MiB": 11,
		own + "watches at home for each": 25, shared + "watches at home for each": 14.5,
		own + "watches on providers for each": 26.5, shared + "watches on providers for each": 26,
		own + "CPU of agents for each per minute, s": 1, shared + "CPU of agents for each per minute, s": 0.5,
		ratio + "resident": 0.5, ratio + "live": 0.5, ratio + "watches at home": 0.58,
		ratio + "watches there": 26 / 26.5, ratio + "CPU": 0.5,
	}
	if diff := cmp.Diff(want, byName(t, all)); diff != "" {
		t.Errorf("figures (-want,+got):\n%s", diff)
	}
	wantMissed := []string{own + "watches on providers for each"}
	if diff := cmp.Diff(wantMissed, (&saved{Figures: all}).missed()); diff != "" {
		t.Errorf("missed (-want,+got):\n%s", diff)
	}
}

func TestWatchesOfScaleAreHeldAgainstWhatIsPromised(t *testing.T) {
	for name, test := range map[string]struct {
		scope      string
		shared     bool
		providers  int
		home, away float64
	}{
		"an agent each":                              {scopeNamespace, false, 10, 37, 42},
		"as many for one":                            {scopeNamespace, false, 1, 37, 42},
		"one agent for all":                          {scopeNamespace, true, 10, 7.3, 42},
		"one agent for one, as its own":              {scopeNamespace, true, 1, 37, 42},
		"an agent each, cluster-wide":                {scopeCluster, false, 10, 12, 9},
		"one agent for all, cluster-wide":            {scopeCluster, true, 10, 4.8, 9},
		"one agent for one, cluster-wide as its own": {scopeCluster, true, 1, 12, 9},
	} {
		t.Run(name, func(t *testing.T) {
			r := &scaleResult{Scope: test.scope, Namespaces: 5}
			s := &scaled{Shared: test.shared, Providers: test.providers}
			if got := r.homeFormula(s); got != test.home {
				t.Errorf("at home %v, want %v", got, test.home)
			}
			if got := r.providerFormula(s); got != test.away {
				t.Errorf("on the provider %v, want %v", got, test.away)
			}
		})
	}
}

func TestATableOfScaleHasBothWaysAndTheirRatios(t *testing.T) {
	var out strings.Builder
	r := scaleExample()
	r.print(&out)
	for _, want := range []string{
		"3 namespaces with 10 objects, offloaded to all virtual nodes, 4 pods in each on each; " +
			"2 clusters behind these; scope namespace; of all agents, for each provider:",
		"2, an agent each 2 92.00 22.00 25.00 25.00 26.50 26.00 1.00 400 8 20",
		"2, one agent for all 1 46.00 11.00 14.50 14.50 26.00 26.00 0.50 300 4 10",
		"2, for all / each 0.50 0.50 0.50 0.58 0.58 0.98 1.00 0.50 0.75 0.50 0.50",
	} {
		if !strings.Contains(squeezed(out.String()), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestATableOfOneWayHasNoRatios(t *testing.T) {
	r := scaleExample()
	r.Runs, r.Scope = r.Runs[1:], scopeCluster
	var out strings.Builder
	r.print(&out)
	text := squeezed(out.String())
	if want := "2, one agent for all 1 46.00 11.00 14.50 8.00 26.00 9.00 0.50 300 4 10"; !strings.Contains(text, want) {
		t.Errorf("%q is missing in\n%s", want, out.String())
	}
	for _, unwanted := range []string{"for all / each", "an agent each"} {
		if strings.Contains(text, unwanted) {
			t.Errorf("%q is in\n%s", unwanted, out.String())
		}
	}
}

// What was measured with other work is another figure, or runs would be compared that cannot be.
func TestFiguresOfScaleSayWhatWasMeasured(t *testing.T) {
	var all []figure
	for _, scope := range []string{scopeNamespace, scopeCluster} {
		for _, namespaces := range []int{3, 5} {
			for _, size := range []int{2, 10} {
				r := scaleExample()
				r.Scope, r.Namespaces = scope, namespaces
				for i := range r.Runs {
					r.Runs[i].Providers = size
				}
				all = append(all, r.figures()...)
			}
		}
	}
	if got, want := len(byName(t, all)), 2*2*2*15; got != want {
		t.Errorf("%d figures, want %d", got, want)
	}
	for _, f := range all {
		if f.Target != nil && f.Kind != ofCount {
			t.Errorf("%s has a target, though nothing is promised", f.Name)
		}
	}
}

func TestARunOfScaleIsComparedWithASavedOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "saved.json")
	before := &saved{Parts: map[string]report{}}
	before.add("scale", scaleExample())
	if err := before.store(file); err != nil {
		t.Fatal(err)
	}
	then, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	r := scaleExample()
	r.Runs[1].Agents[0].RSS *= 2
	r.Runs[1].After["provider-1"]["services"] = 10
	now := &saved{Parts: map[string]report{}}
	now.add("scale", r)
	got := map[string]string{}
	for _, c := range changes(then.Figures, now.Figures) {
		if says := c.says(); says != "" {
			_, what, _ := strings.Cut(c.name, "scope namespace: ")
			got[what] = says
		}
	}
	want := map[string]string{
		"resident memory of agents for each, MiB": "worse", "watches on providers for each": "worse",
		"resident": "worse", "watches there": "worse",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want,+got):\n%s", diff)
	}
}

func TestWatchesThatBeganAreCountedOnce(t *testing.T) {
	before := watchCounts{env.Consumer: {"pods": 5, "leases": 1}, "provider-1": {"pods": 2}, "provider-2": {"pods": 3}}
	for name, test := range map[string]struct {
		after      watchCounts
		home, away float64
	}{
		"none began":                   {before, 0, 0},
		"some at home":                 {watchCounts{env.Consumer: {"pods": 9, "leases": 1}}, 2, 0},
		"some of another resource":     {watchCounts{env.Consumer: {"pods": 5, "leases": 1, "nodes": 1}}, 0.5, 0},
		"one ended, another began":     {watchCounts{env.Consumer: {"pods": 6}}, 0, 0},
		"some on each of the clusters": {watchCounts{"provider-1": {"pods": 3}, "provider-2": {"pods": 6}}, 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := &scaleResult{}, &scaled{Providers: 2, Before: before, After: test.after}
			if home, away := r.atHome(s), r.onProviders(s); home != test.home || away != test.away {
				t.Errorf("%v at home and %v on providers, want %v and %v", home, away, test.home, test.away)
			}
		})
	}
}

func TestOnlyRunsOfOneSizeAreCompared(t *testing.T) {
	own, shared := scaled{Providers: 2}, scaled{Providers: 2, Shared: true}
	other := scaled{Providers: 10, Shared: true}
	for name, test := range map[string]struct {
		runs []scaled
		want int
	}{
		"nothing":                      {nil, 0},
		"half of it":                   {[]scaled{own}, 0},
		"both ways":                    {[]scaled{own, shared}, 1},
		"both ways of two sizes":       {[]scaled{own, shared, {Providers: 10}, other}, 2},
		"one of each size":             {[]scaled{own, other}, 0},
		"in the other order, not made": {[]scaled{shared, own}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := &scaleResult{Runs: test.runs, Minutes: 1}
			if got := len(r.pairs()); got != test.want {
				t.Errorf("%d pairs, want %d", got, test.want)
			}
		})
	}
}

func TestWhatIsNothingHasNoMultiple(t *testing.T) {
	for want, pair := range map[float64][2]float64{0: {3, 0}, 2: {6, 3}, 0.5: {3, 6}} {
		if got := quotient(pair[0], pair[1]); got != want {
			t.Errorf("quotient(%v) = %v, want %v", pair, got, want)
		}
	}
	if got := (&scaled{}).server(env.Consumer); got != 0 {
		t.Errorf("an API server that was not measured has %d", got)
	}
}

func TestASavedRunOfScaleHasWhatEachAgentHas(t *testing.T) {
	raw, err := json.Marshal(scaleExample())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"Component":"virtual-kubelet-alias-02","Live":25165824,"RSS":98566144,"Peak":103809024`,
		`"Shared":true,"Ready":4,"InStep":10`, `"provider-2":{"pods":28}`,
		`"Cluster":"consumer","Component":"kube-apiserver","Bytes":419430400`,
	} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("%s is missing in\n%s", want, raw)
		}
	}
}
