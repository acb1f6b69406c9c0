package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestScaleWithoutFlagsIsTheWholeOne(t *testing.T) {
	o, err := parse(nil)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{o.scale.sizes, o.scale.servers, o.scale.namespaces, o.scale.pods, o.scale.stands, o.scale.scope}
	want := []any{[]int{2, 10, 30}, 2, 5, 2, time.Minute, scopeNamespace}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options (-want,+got):\n%s", diff)
	}
}

func TestScaleTakesWhatItIsTold(t *testing.T) {
	o, err := parse([]string{
		"-scale", "1,50", "-scale-servers", "3", "-scale-namespaces", "7", "-scale-pods", "0", "-scale-for", "5s",
		"-scale-scope", "cluster", "-only", "scale",
	})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{o.scale.sizes, o.scale.servers, o.scale.namespaces, o.scale.pods, o.scale.stands, o.scale.scope}
	want := []any{[]int{1, 50}, 3, 7, 0, 5 * time.Second, scopeCluster}
	if diff := cmp.Diff(want, got); diff != "" || names(o.parts) != "scale" {
		t.Errorf("parts %s, options (-want,+got):\n%s", names(o.parts), diff)
	}
}

func TestBadFlagsOfScaleAreRefused(t *testing.T) {
	for name, args := range map[string][]string{
		"no virtual node":                {"-scale", "0"},
		"fewer after more":               {"-scale", "10,2"},
		"nothing":                        {"-scale", ""},
		"more than a playground has":     {"-scale", "2,51"},
		"no cluster behind them":         {"-scale-servers", "0"},
		"no namespace":                   {"-scale-namespaces", "0"},
		"fewer pods than none":           {"-scale-pods", "-1"},
		"no time":                        {"-scale-for", "0s"},
		"a scope that there is not":      {"-scale-scope", "galaxy"},
		"no scope":                       {"-scale-scope", "-"},
		"two scopes":                     {"-scale-scope", "namespace,cluster"},
		"a scope without what it is for": {"-scale-scope"},
	} {
		if _, err := parse(args); err == nil {
			t.Errorf("%s: parse(%v) took it", name, args)
		}
	}
}

func TestPodsOfScaleHaveAPlace(t *testing.T) {
	for name, test := range map[string]struct {
		servers, namespaces, pods, size, want int
	}{
		"the usual ones fit on one":        {2, 5, 2, 30, 1},
		"no pods need one all the same":    {2, 5, 0, 30, 1},
		"one more than fits needs another": {1, 1, perNode + 1, 1, 2},
		"of two clusters one has more":     {2, 1, perNode, 3, 2},
		"what divides has no rest":         {2, 1, perNode, 4, 2},
	} {
		t.Run(name, func(t *testing.T) {
			o := scaleOptions{servers: test.servers, namespaces: test.namespaces, pods: test.pods}
			if got := o.nodesFor(test.size); got != test.want {
				t.Errorf("%d nodes, want %d", got, test.want)
			}
		})
	}
}

func TestWorkOfScaleGoesWhereItShould(t *testing.T) {
	pod := scalePod("team-0000", "alias-02", 1)
	if diff := cmp.Diff(map[string]string{"kubernetes.io/hostname": "alias-02"}, pod.Spec.NodeSelector); diff != "" {
		t.Errorf("nodes (-want,+got):\n%s", diff)
	}
	if scalePod("team-0000", "alias-02", 0).Name == pod.Name || scalePod("team-0000", "alias-01", 1).Name == pod.Name {
		t.Error("two pods have one name")
	}
	if pod.Labels[workOf] == "" || pod.Namespace != "team-0000" {
		t.Errorf("pod %s/%s is not found again", pod.Namespace, pod.Name)
	}
	mixture := scaleMixture()
	if mixture[secrets().resource] != 0 {
		t.Error("the formulas are for namespaces without Secrets")
	}
	if got := objectsOf(mixture); got != 10 || objectsOf(nil) != 0 {
		t.Errorf("%v are %d objects", mixture, got)
	}
	known := 0
	for _, s := range specimens() {
		if mixture[s.resource] > 0 {
			known++
		}
	}
	if known != len(mixture) {
		t.Errorf("%v has kinds that nobody makes", mixture)
	}
}
