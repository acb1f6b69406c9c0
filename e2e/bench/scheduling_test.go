package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSidesComeWithWhatTheyAreComparedWith(t *testing.T) {
	for name, test := range map[string]struct {
		list  string
		want  []string // nil when it is refused
		allOf bool
	}{
		"all without a word":         {list: "", allOf: true},
		"the reference alone":        {list: "bare", want: []string{"bare"}},
		"compared with the bare one": {list: "both", want: []string{"bare", "both"}},
		"in their own order":         {list: "both,ordinary", want: []string{"bare", "ordinary", "both"}},
		"compared with another, which is compared with the bare one": {
			list: "remote", want: []string{"bare", "bare-away", "remote"},
		},
		"one that does not exist": {list: "both,nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, err := sidesNamed(test.list)
			var got []string
			for _, s := range chosen {
				got = append(got, s.name)
			}
			if test.allOf {
				if len(got) != len(sides()) {
					t.Errorf("got %v, want all", got)
				}
				return
			}
			if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != (test.want == nil) {
				t.Errorf("sides (-want +got):\n%s\n%v", diff, err)
			}
		})
	}
}

func TestEverySideIsComparedWithOneThatExists(t *testing.T) {
	for _, s := range sides() {
		exists := slices.ContainsFunc(sides(), func(other side) bool { return other.name == s.against })
		if s.name != bare && !exists || len(s.namespaces) == 0 {
			t.Errorf("%s is compared with %q, in namespaces %v", s.name, s.against, s.namespaces)
		}
	}
}

func TestSizesRise(t *testing.T) {
	for list, want := range map[string][]int{
		"100": {100}, "1,20,300": {1, 20, 300}, "20,1": nil, "7,7": nil, "0": nil, "": nil, "1,x": nil,
	} {
		got, err := numbers(list)
		if diff := cmp.Diff(want, got); diff != "" || (err != nil) != (want == nil) {
			t.Errorf("numbers(%q) (-want +got):\n%s\n%v", list, diff, err)
		}
	}
}

func TestRatiosAreWithinARound(t *testing.T) {
	// The machine was three times slower in the second round, and the scheduler with our plugins always by a tenth.
	r := &schedulingResult{Pods: 1000, sides: sides()[:2], Sizes: []schedulingSize{{
		Nodes: 100,
		Rounds: map[string][]schedulingRound{
			bare: {
				{Seconds: 2, CPU: 1, ServerCPU: 3}, {Seconds: 6, CPU: 3, ServerCPU: 9},
				{Seconds: 2, CPU: 1, ServerCPU: 3},
			},
			"ordinary": {
				{Seconds: 3, CPU: 1.1, ServerCPU: 4}, {Seconds: 9, CPU: 3.3, ServerCPU: 12},
				{Seconds: 8, CPU: 9, ServerCPU: 4, Away: 250},
			},
		},
	}}}
	var out strings.Builder
	r.print(&out)
	var rows [][]string
	for line := range strings.Lines(out.String()) {
		if strings.HasPrefix(line, "kube-scheduler") || strings.HasPrefix(line, "ours") {
			fields := strings.Split(strings.TrimSpace(line), "  ")
			fields = slices.DeleteFunc(fields, func(f string) bool { return f == "" })
			for i := range fields {
				fields[i] = strings.TrimSpace(fields[i])
			}
			rows = append(rows, fields)
		}
	}
	want := [][]string{
		{"kube-scheduler", "500", "1.00", "3.00", "0%"},
		{"ours, ordinary namespace", "125", "3.30", "4.00", "0%", "1.100", "1.500", "1.03", "bare"},
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("table (-want +got):\n%s\n%s", diff, out.String())
	}
}

func TestShippedConfigurationRuns(t *testing.T) {
	for _, ours := range []bool{false, true} {
		cfg, err := configuration(ours)
		if err != nil || len(cfg.Profiles) != 1 {
			t.Fatalf("configuration(%v) = %v, %v", ours, cfg, err)
		}
		enabled := slices.Collect(func(yield func(string) bool) {
			for _, p := range cfg.Profiles[0].Plugins.MultiPoint.Enabled {
				yield(p.Name)
			}
		})
		if got := slices.Contains(enabled, "NamespaceOffloading"); got != ours {
			t.Errorf("configuration(%v) enables %v", ours, enabled)
		}
	}
}
