package eviction

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/schedplugin/placement"
)

func violating(name string, s state, why string) violation {
	pod := webPod(name, "b-1")
	return violation{pod: &pod, state: s, why: why, verdict: placement.Verdict{
		Outcome: placement.Refused, Reason: placement.ReasonStrategyLocal, Message: "strategy Local keeps pods at home",
	}}
}

func TestCondition(t *testing.T) {
	because := " where the policy does not permit it (strategy Local keeps pods at home); "
	tests := map[string]struct {
		found       []violation
		wantStatus  metav1.ConditionStatus // False unless given
		wantReason  string
		wantMessage string
	}{
		"nothing is left": {
			wantStatus: metav1.ConditionTrue, wantReason: "AllPermitted",
			wantMessage: "every pod is where the policy permits it",
		},
		"one leaves": {
			found: []violation{violating("a", leaving, "")}, wantReason: "Evicting",
			wantMessage: "1 pod is" + because + "leaving: a",
		},
		"one leaves, others wait": {
			found: []violation{
				violating("c", queued, "waiting for b"), violating("b", leaving, ""),
				violating("a", queued, "waiting for b"), violating("d", queued, ""),
			},
			wantReason: "Evicting",
			wantMessage: "4 pods are" + because +
				"leaving: b; waiting for their turn: d, a, c (waiting for b)",
		},
		"a budget": {
			found:      []violation{violating("a", budget, "The disruption budget web needs 5 healthy pods")},
			wantReason: "DisruptionBudget",
			wantMessage: "1 pod is" + because +
				"held by a PodDisruptionBudget: a (The disruption budget web needs 5 healthy pods)",
		},
		"no node, and one that is never evicted": {
			found:      []violation{violating("b", single, ""), violating("a", stuck, "there is no other node")},
			wantReason: "NoPermittedNode",
			wantMessage: "2 pods are" + because + "held because no other permitted node could take them: " +
				"a (there is no other node); never evicted because no controller would replace them: b",
		},
		"only what is never evicted": {
			found: []violation{violating("a", single, "")}, wantReason: "NoController",
			wantMessage: "1 pod is" + because + "never evicted because no controller would replace them: a",
		},
		"what has another scheduler, and no controller": {
			found:      []violation{violating("a", single, ""), violating("b", foreign, "schedulerName theirs")},
			wantReason: "ForeignScheduler",
			wantMessage: "2 pods are" + because +
				"never evicted because their scheduler is none of ours and would put them back: b (schedulerName " +
				"theirs); never evicted because no controller would replace them: a",
		},
		"a failure is told first": {
			found:      []violation{violating("a", leaving, ""), violating("b", failed, "forbidden")},
			wantReason: "EvictionFailed",
			wantMessage: "2 pods are" + because +
				"tried again because the eviction failed: b (forbidden); leaving: a",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.wantStatus == "" {
				tc.wantStatus = metav1.ConditionFalse
			}
			want := metav1.Condition{
				Type: "PodsPermitted", Status: tc.wantStatus, Reason: tc.wantReason, Message: tc.wantMessage,
				ObservedGeneration: 7,
			}
			if diff := cmp.Diff(want, condition(tc.found, 7)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestTheSentenceStaysShort(t *testing.T) {
	var many []violation
	for i := range 300 {
		many = append(many, violating(fmt.Sprintf("web-%03d", i), queued, fmt.Sprintf("%040d×", i%290)))
	}
	if got := condition(many, 1).Message; len(got) > maxMessage || !strings.HasSuffix(got, "...") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-10:])
	}
	for i := range many {
		many[i].why = ""
	}
	if got := condition(many, 1).Message; !strings.HasSuffix(got, "web-008, web-009 and 290 more") {
		t.Errorf("%q", got)
	}
}

// The order in which pods are looked at does not make another sentence: each would be a write.
func TestTheSentenceIsStable(t *testing.T) {
	pods := []corev1.Pod{webPod("a", "b-1"), webPod("b", "b-1"), webPod("c", "c-1")}
	want := condition(decided(t, rulesOf(local()), cluster(), pods), 1)
	pods[0], pods[2] = pods[2], pods[0]
	if diff := cmp.Diff(want, condition(decided(t, rulesOf(local()), cluster(), pods), 1)); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}
