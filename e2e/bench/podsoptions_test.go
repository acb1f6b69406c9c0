package main

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestBadFlagsAreRefused(t *testing.T) {
	for _, args := range [][]string{
		{"-pods", "0"}, {"-pods", "10,5"}, {"-pods", ""}, {"-rounds", "0"}, {"-rounds", "1,x"}, {"-nodes", "-1"},
		{"-single", "-1"}, {"-rolled", "0"}, {"-steady", "0"}, {"-steady-for", "0s"}, {"-restarted", "0"},
		{"-old-events", "-1"}, {"-namespaces", "0"}, {"-providers", "0"}, {"extra"}, {"-nope"}, {"-only", "none"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("parse(%v) took it", args)
		}
	}
}

func TestWithoutFlagsTheRunIsTheWholeOne(t *testing.T) {
	o, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{o.pods.sizes, o.pods.single, o.pods.rolled, o.pods.stood, o.pods.stands, o.pods.restarted, o.pods.old,
		o.namespaces, o.providers}
	want := []any{[]int{1000, 5000, 10000}, 50, 1000, 5000, 5 * time.Minute, 10000, 10000, 500, 3}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options (-want,+got):\n%s", diff)
	}
}

func TestTheLastNumberOfRoundsIsForAllThatFollow(t *testing.T) {
	for rounds, want := range map[string][]int{
		"3,1": {3, 1, 1}, "2": {2, 2, 2}, "1,4,2": {1, 4, 2}, "5,4,3,2": {5, 4, 3},
	} {
		o, err := parse([]string{"-pods", "10,20,30", "-rounds", rounds})
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		for i := range o.pods.sizes {
			got = append(got, o.pods.roundsOf(i))
		}
		if !slices.Equal(got, want) {
			t.Errorf("rounds %s are %v, want %v", rounds, got, want)
		}
	}
}

func TestEveryPodHasAPlace(t *testing.T) {
	for name, test := range map[string]struct{ nodes, pods, want int }{
		"few pods have ten nodes":         {0, 1000, 10},
		"10,000 need more":                {0, 10000, 12},
		"one more than fits needs a node": {0, 12*perNode + 1, 13},
		"who says how many gets them":     {3, 10000, 3},
	} {
		t.Run(name, func(t *testing.T) {
			o := podsOptions{nodes: test.nodes}
			if got := o.nodesFor(test.pods); got != test.want {
				t.Errorf("nodes for %d pods: %d, want %d", test.pods, got, test.want)
			}
		})
	}
}
