package schedplugin

import (
	"strings"
	"testing"

	"k8s.io/component-base/metrics"
	"k8s.io/component-base/metrics/testutil"

	"github.com/twinspace/twinspace/schedplugin/placement"
)

func TestRefusalsAreCountedOncePerAttemptAndReason(t *testing.T) {
	registry := metrics.NewKubeRegistry()
	r := newRefusals(registry.Register)
	notSelected := placement.Verdict{Outcome: placement.Refused, Reason: placement.ReasonNotSelected, Message: "no"}
	twin := placement.Verdict{Outcome: placement.Waits, Reason: placement.ReasonTwinNotReady, Message: "not yet"}
	for range 2 { // attempts
		c := &cycle{}
		for range 3 { // nodes
			if status := r.status(c, notSelected); status.Message() != "no" {
				t.Errorf("got %q", status.Message())
			}
			r.status(c, placement.Verdict{Reason: placement.ReasonPermitted})
		}
	}
	r.status(&cycle{}, twin)
	want := `
# HELP scheduler_offloading_refusals_total [ALPHA] Attempts to schedule a pod in which the policy of its namespace, ` +
		`or what a provider has left, kept it from at least one node, by reason.
# TYPE scheduler_offloading_refusals_total counter
scheduler_offloading_refusals_total{reason="ClusterNotSelected"} 2
scheduler_offloading_refusals_total{reason="TwinNotReady"} 1
`
	for _, reason := range placement.Reasons() {
		if reason != placement.ReasonNotSelected && reason != placement.ReasonTwinNotReady {
			want += `scheduler_offloading_refusals_total{reason="` + string(reason) + "\"} 0\n"
		}
	}
	err := testutil.GatherAndCompare(registry, strings.NewReader(want), "scheduler_offloading_refusals_total")
	if err != nil {
		t.Error(err)
	}
}

func TestASecondSchedulerInTheProcessWorksWithoutCounts(t *testing.T) {
	registry := metrics.NewKubeRegistry()
	newRefusals(registry.Register)
	second := newRefusals(registry.Register)
	for _, reason := range placement.Reasons() {
		v := placement.Verdict{Outcome: placement.Refused, Reason: reason, Message: "no"}
		if status := second.status(&cycle{}, v); status.Message() != "no" {
			t.Errorf("%s: got %q", reason, status.Message())
		}
	}
}
