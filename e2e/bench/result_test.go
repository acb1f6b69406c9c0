package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMedian(t *testing.T) {
	for name, test := range map[string]struct {
		seconds []float64
		want    float64
	}{
		"one round":            {[]float64{4}, 4},
		"an outlier is no one": {[]float64{3, 90, 2}, 3},
		"an even number":       {[]float64{4, 1, 3, 2}, 2.5},
	} {
		t.Run(name, func(t *testing.T) {
			var rounds []round
			for _, s := range test.seconds {
				rounds = append(rounds, round{Seconds: s})
			}
			if got := median(rounds, func(r round) float64 { return r.Seconds }); got != test.want {
				t.Errorf("median(%v) = %v, want %v", test.seconds, got, test.want)
			}
		})
	}
}

func TestTheTableComparesBothSidesPerPod(t *testing.T) {
	r := &result{
		Pods: 100,
		Rounds: map[string][]round{
			home: {{
				Seconds: 2,
				Writes:  map[string]int{"consumer create pods": 100, "consumer update pods/status": 100},
			}},
			away: {{
				Seconds: 5,
				Writes:  map[string]int{"provider-1 create pods": 100, "consumer create pods": 300},
				Reads:   map[string]int{"provider-1 get pods": 200},
				CPU:     map[string]float64{"consumer virtual-kubelet-provider-1": 0.2},
			}},
		},
		Memory: []memory{{"consumer", "virtual-kubelet-provider-1", 64 << 20}},
	}
	var out strings.Builder
	r.print(&out)
	got := map[string][]string{}
	for line := range strings.Lines(out.String()) {
		for _, start := range []string{"seconds", "API writes", "API requests", "CPU seconds"} {
			if strings.HasPrefix(line, start) {
				fields := strings.Split(strings.TrimSpace(line), "   ")
				var values []string
				for _, f := range fields[1:] {
					if f = strings.TrimSpace(f); f != "" {
						values = append(values, f)
					}
				}
				got[start] = values
			}
		}
	}
	want := map[string][]string{
		"seconds":      {"2.00", "5.00", "2.50", "ratio 2.0"},
		"API writes":   {"2.00", "4.00", "2.00"},
		"API requests": {"2.00", "6.00", "3.00", "8 away"},
		"CPU seconds":  {"2.00", "0.9"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s\n%s", diff, out.String())
	}
	if !strings.Contains(out.String(), "64") || !strings.Contains(out.String(), "2.00  provider-1 get pods") {
		t.Errorf("memory or the breakdown is missing:\n%s", out.String())
	}
}

func TestBadFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"-pods", "0"}, {"-rounds", "0"}, {"-nodes", "-1"}, {"extra"}, {"-nope"}, {"-only", "none"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("parse(%v) took it", args)
		}
	}
}
