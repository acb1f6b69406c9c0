package main

import (
	"slices"
	"testing"
)

func TestNumbersOfWatchesChangeWhenTheyAreSeenTwice(t *testing.T) {
	for name, test := range map[string]struct {
		seen    []float64
		changes []float64 // what each change was to
	}{
		"what was not known":              {[]float64{5, 5, 5, 5}, []float64{5}},
		"once is not enough":              {[]float64{5}, nil},
		"a watch that begins anew":        {[]float64{5, 5, 4, 5, 5}, []float64{5}},
		"another one later":               {[]float64{5, 5, 4, 5, 4, 5}, []float64{5}},
		"a watch that has ended":          {[]float64{5, 5, 4, 4, 4}, []float64{5, 4}},
		"ever more":                       {[]float64{1, 2, 3, 4, 5, 6}, []float64{2, 4, 6}},
		"two that begin anew in a row":    {[]float64{5, 5, 4, 3, 5, 5, 5}, []float64{5, 3, 5}},
		"more, with one that begins anew": {[]float64{5, 5, 7, 8, 8, 8}, []float64{5, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			var (
				s       steadied
				changes []float64
			)
			for _, n := range test.seen {
				if s.see(map[string]float64{"pods": n}) {
					changes = append(changes, s.known["pods"])
				}
			}
			if !slices.Equal(changes, test.changes) {
				t.Errorf("changed to %v, want %v", changes, test.changes)
			}
		})
	}
}

func TestAnotherResourceIsAnotherNumber(t *testing.T) {
	var s steadied
	one, other := map[string]float64{"pods": 1}, map[string]float64{"nodes": 1}
	got := []bool{s.see(one), s.see(one), s.see(other), s.see(other), s.see(other)}
	if want := []bool{false, true, false, true, false}; !slices.Equal(got, want) {
		t.Errorf("changes %v, want %v", got, want)
	}
}
