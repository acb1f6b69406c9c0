package main

import "testing"

func TestOnlySelectsParts(t *testing.T) {
	for name, test := range map[string]struct {
		only, want string
		wrong      bool
	}{
		"all without a word":      {"", names(parts()), false},
		"one":                     {"pods", "pods", false},
		"one that does not exist": {"pods,clouds", "", true},
		"one that is named twice": {"pods,pods", "", true},
		"an empty name":           {"pods,", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			chosen, err := selected(test.only)
			if got := names(chosen); got != test.want || (err != nil) != test.wrong {
				t.Errorf("selected(%q) = %s, %v; want %s", test.only, got, err, test.want)
			}
		})
	}
}
