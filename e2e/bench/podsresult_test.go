package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/e2e/env"
)

// someCalls are those of so many pods at home and away.
func someCalls(side string, pods int) []tallied {
	all := []tallied{
		{call{home, "create", "pods", byBenchmark, 0}, pods},
		{call{home, "create", "pods/binding", byScheduler, 0}, pods},
		{call{home, "create", "events", byScheduler, 0}, pods},
	}
	if side == home {
		return append(all, tallied{call{home, "patch", "pods/status", byKubelets, 0}, pods})
	}
	return append(all,
		tallied{call{home, "patch", "pods/status", byAgent, 0}, 2 * pods},
		tallied{call{away, "create", "pods", byAgent, 0}, pods},
		tallied{call{away, "get", "pods", byAgent, 404}, pods / 2},
		tallied{call{away, "patch", "pods/status", byKubelets, 0}, pods},
	)
}

func somePods(pods int) *podsResult {
	rounds := map[string][]podsRound{}
	for _, side := range podSides() {
		for n := range 3 {
			seconds := float64(2 + 10*n) // the middle one is 12
			switch side {
			case ideal:
				seconds *= 2
			case away:
				seconds *= 3
			}
			p := phase{
				Asked: seconds / 2, Seconds: seconds, Each: spread{P50: 100, P99: 900, Max: 1000},
				usage: usage{Calls: someCalls(side, pods), CPU: map[string]float64{
					env.Consumer + " " + agentName(): 0.1 * float64(pods) / 100, env.Consumer + " " + env.Manager: 0.01,
					env.Consumer + " " + env.Scheduler: 7, idealProcess: 0.05 * float64(pods) / 100,
				}},
			}
			rounds[side] = append(rounds[side], podsRound{Up: p, Down: p})
		}
	}
	return &podsResult{
		One: map[string]spread{home: {P50: 8}, ideal: {P50: 20}, away: {P50: 31}},
		Sizes: []podsSize{{Pods: pods, Rounds: rounds, Memory: []memory{
			{env.Consumer, agentName(), 64 << 20}, {env.Consumer, env.Manager, 32 << 20},
			{"provider-1", env.Etcd, 99 << 20}, {env.Consumer, ideal, 40 << 20},
		}}},
	}
}

func TestPodsAreHeldAgainstFloorsAndTargets(t *testing.T) {
	type judged struct {
		value  float64
		judged string
	}
	for name, test := range map[string]struct {
		pods int
		want map[string]judged
	}{
		"1,000 have a target for everything but their time": {1000, map[string]judged{
			"one pod, home: create to Running, median ms":                                 {8, ""},
			"one pod, away: create to Running, median ms":                                 {31, verdictMissed},
			"1000 pods to Running: home, s":                                               {12, ""},
			"1000 pods to Running: away, s":                                               {36, ""},
			"1000 pods to Running: time, away as a multiple of home":                      {3, verdictMissed},
			"1000 pods to Running: home, requests per pod":                                {4, ""},
			"1000 pods to Running: ideal, s":                                              {24, ""},
			"1000 pods to Running: time, as a multiple of the ideal loop's":               {1.5, verdictMissed},
			"1000 pods to Running: CPU, as a multiple of the ideal loop's":                {2.02, verdictMissed},
			"one pod, away: create to Running, median, as a multiple of the ideal loop's": {1.55, verdictMet},
			"1000 pods: peak memory of the agent, as a multiple of the ideal loop's":      {1.6, verdictMissed},
			"1000 pods to Running: away, requests per pod of the home API server":         {5, verdictMet},
			"1000 pods to Running: away, requests per pod of the provider's":              {2.5, verdictMet},
			"1000 pods to Running: away, our writes per pod":                              {3, ""},
			"1000 pods to Running: away, our CPU s per 1,000 pods":                        {1.01, verdictMet},
			"1000 pods deleted: away, requests per pod of the home API server":            {5, ""},
			"1000 pods: peak memory of virtual-kubelet-provider-1, MiB":                   {64, verdictMet},
			"1000 pods: peak memory of controller-manager, MiB":                           {32, ""},
			"1000 pods: peak memory of etcd, MiB, which is nothing that we decide on":     {0, "missing"},
		}},
		"10,000 have one for their time, too": {10000, map[string]judged{
			"10000 pods to Running: away, s":                             {36, verdictMet},
			"10000 pods deleted: away, s":                                {36, ""},
			"10000 pods: peak memory of virtual-kubelet-provider-1, MiB": {64, verdictMet},
		}},
		"the memory of 200 says nothing": {200, map[string]judged{
			"200 pods to Running: away, s":                             {36, ""},
			"200 pods: peak memory of virtual-kubelet-provider-1, MiB": {64, ""},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			figures := somePods(test.pods).figures()
			for name, want := range test.want {
				got := judged{judged: "missing"}
				if i := named(figures, name); i >= 0 {
					got = judged{figures[i].Value, verdict(figures[i])}
				}
				if diff := cmp.Diff(want, got, cmp.AllowUnexported(judged{})); diff != "" {
					t.Errorf("%s (-want,+got):\n%s", name, diff)
				}
			}
		})
	}
}

func TestEveryFigureHasANameOfItsOwn(t *testing.T) {
	all := somePods(1000)
	all.Sizes = append(all.Sizes, somePods(5000).Sizes...)
	seen := map[string]bool{}
	for _, f := range all.figures() {
		if seen[f.Name] {
			t.Errorf("%q is there twice", f.Name)
		}
		seen[f.Name] = true
	}
}

func TestTheTableOfPodsSaysWhoAskedForWhat(t *testing.T) {
	var out strings.Builder
	r := somePods(100)
	r.print(&out)
	for _, want := range []string{
		"away 31.0",
		"100 pods to Running, medians of 3 rounds",
		"100 pods deleted, medians of 3 rounds",
		"until the last pod was so, s 12.00 24.00 36.00 2.00 3.00",
		"requests per pod, both servers 4.00 7.50 7.50 1.88 1.88",
		"writes per pod, both servers 4.00 7.00 7.00 1.75 1.75",
		"of the home API server 5.00",
		"2.00 patch pods/status agent",
		"0.50 get pods (answered 404) agent",
		"consumer virtual-kubelet-provider-1 0.10 0.10 0.10 0.10 0.10 0.10 64",
	} {
		if !strings.Contains(squeezed(out.String()), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestSpread(t *testing.T) {
	var all []time.Duration
	for n := range 200 {
		all = append(all, time.Duration(n+1)*time.Millisecond)
	}
	if got, want := spreadOf(all), (spread{100, 198, 200}); got != want {
		t.Errorf("spread %v, want %v", got, want)
	}
	if got := spreadOf(nil); got != (spread{}) {
		t.Errorf("spread of nothing: %v", got)
	}
}

func TestARollingUpdateIsCompared(t *testing.T) {
	r := &rollingResult{Pods: 100, Sides: map[string]rolled{
		home: {Seconds: 5, usage: usage{Calls: someCalls(home, 100)}},
		away: {Seconds: 15, usage: usage{
			Calls: someCalls(away, 100), CPU: map[string]float64{env.Consumer + " " + agentName(): 0.3},
		}},
	}, Memory: []memory{{env.Consumer, agentName(), 64 << 20}}}
	got := map[string]float64{}
	for _, f := range r.figures() {
		got[f.Name] = f.Value
	}
	want := map[string]float64{
		"rolling update of 100 pods: home, s": 5, "rolling update of 100 pods: away, s": 15,
		"rolling update of 100 pods: time, away as a multiple of home":              3,
		"rolling update of 100 pods: home, requests per pod":                        4,
		"rolling update of 100 pods: away, requests per pod of the home API server": 5,
		"rolling update of 100 pods: away, requests per pod of the provider's":      2.5,
		"rolling update of 100 pods: away, our CPU s per 1,000 pods":                3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("figures (-want,+got):\n%s", diff)
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{"until no old pod is left, s 5.00 15.00 3.00", "create pods/binding"} {
		if !strings.Contains(squeezed(out.String()), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

// squeezed returns a table without what only aligns it.
func squeezed(table string) string {
	var lines []string
	for line := range strings.Lines(table) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}
