package eviction

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// A template that names its node brings every replacement back: that is evicted a few times, not for ever.
func TestEvictingWhatComesBackEnds(t *testing.T) {
	r, s := newReconciler(t, shop(evicting(v1beta1.Local), webPod("web-0", "b-1"), webPod("other", "c-1"))...)
	for i := range 6 {
		look(t, r)
		look(t, r) // the one on c-1 has its turn, too
		again := webPod(fmt.Sprintf("web-%d", i+1), "b-1")
		if err := s.Create(t.Context(), &again); err != nil {
			t.Fatal(err)
		}
	}
	look(t, r)
	back := 0
	for _, name := range s.evicted {
		if strings.HasPrefix(name, "web-") {
			back++
		}
	}
	if back != maxComebacks+1 {
		t.Errorf("evicted %v", s.evicted)
	}
	_, c := said(t, s)
	if c.Reason != ReasonNodeNamed || !strings.Contains(c.Message, "left alone because they came back") {
		t.Errorf("condition %s: %s", c.Reason, c.Message)
	}
}

// A scheduler that does not apply the policy puts the replacement on any ordinary node, not on the very same.
func TestAllOrdinaryNodesAreOnePlaceToComeBackTo(t *testing.T) {
	c, of := &comebacks{}, rulesOf(build.Offloading("shop").Strategy(v1beta1.Remote))
	var got []string
	for i := range maxComebacks + 2 {
		node := fmt.Sprint("home-", i+1)
		nodes := append(cluster(), *build.Node(node))
		found := violations([]corev1.Pod{webPod(fmt.Sprint("web-", i), node)}, of, byName(nodes), ours())
		c.mark(found, 1, morning)
		c.evicted(found[0])
		got = append(got, states(found)...)
	}
	want := []string{"web-0 queued", "web-1 queued", "web-2 queued", "web-3 returning"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

func TestComebacksAreOfOnePolicy(t *testing.T) {
	found := func(names ...string) []violation {
		var all []violation
		for _, name := range names {
			all = append(all, violating(name, queued, ""))
		}
		return all
	}
	// strikes lets pods come back until it is enough.
	strikes := func(c *comebacks) {
		for i := range maxComebacks + 1 {
			pods := found(fmt.Sprint("pod-", i))
			c.mark(pods, 1, morning)
			c.evicted(pods[0])
		}
	}
	tests := map[string]struct {
		then       []violation
		generation int64
		want       []string
	}{
		"one more":                     {then: found("x"), generation: 1, want: []string{"x returning"}},
		"one more, under another edit": {then: found("x"), generation: 2, want: []string{"x queued"}},
		"one more, of another node": {
			then: violations(webAwayOn("c-1"), rulesOf(local()), byName(cluster()), ours()), generation: 1,
			want: []string{"x queued"},
		},
		"one that is leaving": {
			then: []violation{violating("x", leaving, "")}, generation: 1, want: []string{"x leaving"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := &comebacks{}
			strikes(c)
			c.mark(tc.then, tc.generation, morning.Add(soon))
			if diff := cmp.Diff(tc.want, states(tc.then)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
	t.Run("one more, after a while", func(t *testing.T) {
		c := &comebacks{}
		strikes(c)
		again := found("x")
		c.mark(again, 1, morning.Add(soon+time.Second))
		if diff := cmp.Diff([]string{"x queued"}, states(again)); diff != "" {
			t.Errorf("(-want,+got):\n%s", diff)
		}
	})
}
