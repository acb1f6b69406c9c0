package main

import (
	"slices"
	"strings"
)

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
