package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFiguresAreJudged(t *testing.T) {
	s := &saved{Figures: []figure{
		figure{Name: "requests", Value: 5}.within(4, 5.2),
		figure{Name: "CPU", Value: 1.7}.within(0.86, 1.6),
		figure{Name: "writes", Value: 0}.within(0, 0),
		{Name: "seconds", Value: 1234.5},
	}}
	var out strings.Builder
	s.summary(&out)
	got := map[string]string{}
	for line := range strings.Lines(out.String()) {
		fields := strings.Fields(line)
		if len(fields) > 1 {
			got[fields[0]] = strings.Join(fields[1:], " ")
		}
	}
	for name, want := range map[string]string{
		"requests": "5.00 4.00 1.25 5.20 met", "CPU": "1.70 0.86 1.98 1.60 MISSED", "writes": "0.00 0.00 0.00 met",
		"seconds": "1234", "1": "targets are missed: CPU",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q in\n%s", name, got[name], want, out.String())
		}
	}
}

func TestChangesBeyondNoiseAreNamed(t *testing.T) {
	before := []figure{
		{Name: "time", Kind: ofTime, Value: 10}, {Name: "slower", Kind: ofTime, Value: 10},
		{Name: "count", Kind: ofCount, Value: 4}, {Name: "fewer", Kind: ofCount, Value: 5},
		{Name: "first write", Kind: ofCount, Value: 0}, {Name: "none", Kind: ofCount, Value: 0},
		{Name: "memory", Kind: ofMemory, Value: 100}, {Name: "gone", Kind: ofCPU, Value: 1},
		{Name: "ratio", Kind: ofRatio, Value: 2},
	}
	after := []figure{
		{Name: "time", Kind: ofTime, Value: 12}, {Name: "slower", Kind: ofTime, Value: 13},
		{Name: "count", Kind: ofCount, Value: 4.2}, {Name: "fewer", Kind: ofCount, Value: 4},
		{Name: "first write", Kind: ofCount, Value: 3}, {Name: "none", Kind: ofCount, Value: 0},
		{Name: "memory", Kind: ofMemory, Value: 105}, {Name: "new", Kind: ofCPU, Value: 1},
		{Name: "ratio", Kind: ofRatio, Value: 1.5},
	}
	got := map[string]string{}
	for _, c := range changes(before, after) {
		got[c.name] = c.says()
	}
	want := map[string]string{
		"time": "", "slower": "worse", "count": "worse", "fewer": "better", "first write": "worse", "none": "",
		"memory": "", "new": "new", "gone": "not measured now", "ratio": "better",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changes (-want,+got):\n%s", diff)
	}
}

func TestARunIsComparedWithASavedOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "run.json")
	run := func(writes float64) *saved {
		s := &saved{Machine: machine{Cores: 2, Load: "0.10"}, Parts: map[string]report{}}
		r := &steadyResult{Pods: 100, Minutes: 2, usage: usage{
			Calls: []tallied{{call{home, "patch", "pods/status", byAgent, 0}, int(writes)}},
			CPU:   map[string]float64{"consumer " + agentName(): 6},
		}}
		s.add("steady", r)
		return s
	}
	if err := run(2).store(file); err != nil {
		t.Fatal(err)
	}
	before, err := load(file)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	before.compare(run(6), &out)
	for _, want := range []string{
		"then: 2 cores, load before the run 0.10",
		"100 pods left alone for 2 min: our writes beside leases   2.00   6.00   +200%    worse",
		"4 figures are the same within what runs differ by",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if err := run(2).store(""); err != nil {
		t.Errorf("without a name of a file: %v", err)
	}
}

func TestWhatIsNoSavedRunIsRefused(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.json")
	if err := (&saved{}).store(empty); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "missing.json"): "no such file",
		"figures_test.go":                          "figures_test.go: invalid character",
		empty:                                      "it has no figures to compare with",
	} {
		if _, err := load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("load(%s): %v, want %q", path, err, want)
		}
	}
	// Before anything is started.
	if err := run(t.Context(), []string{"-compare", empty, "-only", "pods", "-bin", "nowhere"}); err == nil ||
		!strings.Contains(err.Error(), "no figures") {
		t.Errorf("a run with a wrong -compare: %v", err)
	}
}
