package namespacemap

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// rest lets so much time pass that no status has to wait.
func (h *homeSide) rest() { h.clock.SetTime(h.clock.Now().Add(lull)) }

// statusWrites counts the writes of an offloading's status since the last call of forget.
func (h *homeSide) statusWrites() int {
	count := 0
	for _, write := range h.writes {
		if write == "patch-status "+v1beta1.OffloadingName {
			count++
		}
	}
	return count
}

func TestTwinsThatComeOneByOneCostTwoWrites(t *testing.T) {
	providers := []string{"b", "c", "d", "e"}
	h := newHome(t, shopWorld(build.Offloading("shop"), build.VirtualNode("d-1", "d"), build.VirtualNode("e-1", "e"),
		build.Map("d").Obj(), build.Map("e").Obj())...)
	h.mustOffload(t, "shop")
	if got := h.offloading(t, "shop").Status.OffloadingPhase; got != v1beta1.PhaseInProgress {
		t.Fatalf("phase %s: what is said first is said at once", got)
	}
	for i, id := range providers {
		answer(t, h, id, "shop", accepted("shop-a"))
		result, err := h.offloadings.Reconcile(t.Context(), offloadingOf("shop"))
		if err != nil {
			t.Fatal(err)
		}
		if last := i == len(providers)-1; (result.RequeueAfter == lull) == last {
			t.Errorf("after %d twins: looks again after %v", i+1, result.RequeueAfter)
		}
	}
	if got := h.offloading(t, "shop").Status.OffloadingPhase; got != v1beta1.PhaseReady {
		t.Errorf("phase %s: what is said last is said at once", got)
	}
	if got := h.statusWrites(); got != 2 {
		t.Errorf("%d writes: %v", got, h.writes)
	}
	if len(h.offloadings.rests.written) > 0 {
		t.Errorf("what is ready needs no rest: %v", h.offloadings.rests.written)
	}
}

func TestATwinThatKeepsTheOthersWaitingIsSeenToDoSo(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.mustOffload(t, "shop")
	answer(t, h, "b", "shop", accepted("shop-a"))
	h.mustOffload(t, "shop")
	if readyOn(h.offloading(t, "shop"), "b").Status == corev1.ConditionTrue {
		t.Error("there was no rest")
	}
	h.rest()
	h.mustOffload(t, "shop")
	if readyOn(h.offloading(t, "shop"), "b").Status != corev1.ConditionTrue {
		t.Error("it rests for ever")
	}
}

func TestNothingIsRememberedOfAnOffloadingThatIsGone(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.mustOffload(t, "shop")
	answer(t, h, "b", "shop", accepted("shop-a"))
	h.deleteOffloading(t, "shop")
	h.mustOffload(t, "shop")
	answer(t, h, "b", "shop", nil)
	h.mustOffload(t, "shop")
	h.mustOffload(t, "shop")
	missing(t, h, "shop", v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
	if len(h.offloadings.rests.written) > 0 {
		t.Errorf("remembered: %v", h.offloadings.rests.written)
	}
}

func TestWhatRests(t *testing.T) {
	status := func(phase v1beta1.OffloadingPhase, selected ...string) *v1beta1.NamespaceOffloadingStatus {
		s := &v1beta1.NamespaceOffloadingStatus{
			OffloadingPhase: phase, ObservedGeneration: 1, RemoteNamespaceName: "shop-a",
			RemoteNamespacesConditions: map[string][]v1beta1.ClusterCondition{},
		}
		for _, id := range []string{"b", "c"} {
			s.RemoteNamespacesConditions[id] = conditionsOf(clusterFacts{Selected: slices.Contains(selected, id)})
		}
		return s
	}
	edited := status(v1beta1.PhaseInProgress, "b", "c")
	edited.ObservedGeneration = 2
	renamed := status(v1beta1.PhaseInProgress, "b", "c")
	renamed.RemoteNamespaceName = "bank-a"
	underWay := status(v1beta1.PhaseInProgress, "b", "c")
	for name, test := range map[string]struct {
		before, after *v1beta1.NamespaceOffloadingStatus
		ago           time.Duration
		want          time.Duration
	}{
		"one more twin":                {underWay, underWay, 0, lull},
		"a while later":                {underWay, underWay, lull / 2, lull / 2},
		"when it has rested":           {underWay, underWay, lull, 0},
		"one twin less on the way out": {status(v1beta1.PhaseTerminating), status(v1beta1.PhaseTerminating), 0, lull},
		"ready":                        {underWay, status(v1beta1.PhaseReady, "b", "c"), 0, 0},
		"failed":                       {underWay, status(v1beta1.PhaseSomeFailed, "b", "c"), 0, 0},
		"the first word of leaving":    {underWay, status(v1beta1.PhaseTerminating), 0, 0},
		"a cluster is deselected":      {underWay, status(v1beta1.PhaseInProgress, "b"), 0, 0},
		"a cluster is selected":        {status(v1beta1.PhaseInProgress, "b"), underWay, 0, 0},
		"an edit was seen":             {underWay, edited, 0, 0},
		"another name":                 {underWay, renamed, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var r rests
			r.wrote("shop", morning, test.before)
			r.written["shop"] = morning
			if got := r.left("shop", morning.Add(test.ago), test.before, test.after); got != test.want {
				t.Errorf("it rests for %v, want %v", got, test.want)
			}
			if got := r.left("bank", morning, test.before, test.after); got != 0 {
				t.Errorf("what was never written rests for %v", got)
			}
		})
	}
}
