package main

import "testing"

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
			var rounds []podsRound
			for _, s := range test.seconds {
				rounds = append(rounds, podsRound{Up: phase{Seconds: s}})
			}
			if got := median(rounds, func(r podsRound) float64 { return r.Up.Seconds }); got != test.want {
				t.Errorf("median(%v) = %v, want %v", test.seconds, got, test.want)
			}
		})
	}
}
