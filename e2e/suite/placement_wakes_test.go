package suite

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// samples are the values of one metric by its labels, as they are written.
type samples map[string]float64

// sum adds up the samples that have all of these labels, each written key="value".
func (s samples) sum(labels ...string) float64 {
	var total float64
	for series, value := range s {
		matches := true
		for _, label := range labels {
			matches = matches && strings.Contains(series, label)
		}
		if matches {
			total += value
		}
	}
	return total
}

// minus returns by how much each sample grew.
func (s samples) minus(before samples) samples {
	grown := maps.Clone(s)
	for series, value := range before {
		if grown[series] -= value; grown[series] == 0 {
			delete(grown, series)
		}
	}
	return grown
}

// parse reads one metric from an exposition in text format.
func parse(exposition, metric string) (samples, error) {
	found := samples{}
	for line := range strings.Lines(exposition) {
		series, isOurs := strings.CutPrefix(strings.TrimSpace(line), metric+"{")
		if !isOurs {
			continue
		}
		labels, number, _ := strings.Cut(series, "} ")
		value, err := strconv.ParseFloat(number, 64)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", line, err)
		}
		found[labels] = value
	}
	return found, nil
}

// counted is what the scheduler counts of its work.
type counted struct {
	// incoming pods by queue and event.
	incoming samples
	// refusals by reason, one for each attempt in which the policy refused a node for it.
	refusals samples
}

func (w *world) counted() counted {
	w.t.Helper()
	text, err := playground.Consumer().Ask(w.ctx, env.Scheduler, "/metrics")
	w.Expect(err).NotTo(HaveOccurred())
	incoming, err := parse(text, "scheduler_queue_incoming_pods_total")
	w.Expect(err).NotTo(HaveOccurred())
	refusals, err := parse(text, "scheduler_offloading_refusals_total")
	w.Expect(err).NotTo(HaveOccurred())
	return counted{incoming, refusals}
}

// woken returns how many pods left the ones that wait, since the scheduler counted before, for another reason than to
// be new or to have waited long enough after a failure.
func (c counted) woken(before counted) float64 {
	grown := c.incoming.minus(before.incoming)
	var woken float64
	for series, value := range grown {
		switch {
		case strings.Contains(series, `queue="unschedulable"`), strings.Contains(series, `event="UnscheduledPodAdd"`),
			strings.Contains(series, `event="ScheduleAttemptFailure"`),
			strings.Contains(series, `event="BackoffComplete"`),
			strings.Contains(series, `event="PopFromBackoffQ"`):
		default:
			woken += value
		}
	}
	return woken
}

// alone waits until no pod is left that earlier scenarios kept waiting: the scheduler counts all alike.
func (w *world) alone() {
	w.t.Helper()
	w.Eventually(func() ([]corev1.Pod, error) {
		var pods corev1.PodList
		err := w.home.List(w.ctx, &pods, client.MatchingFields{"spec.nodeName": ""})
		return pods.Items, err
	}).Should(BeEmpty())
}

// then returns the cells with the node where they run at last.
func then(cells map[string]cell, on string) map[string]cell {
	moved := map[string]cell{}
	for name, c := range cells {
		moved[name] = cell{pod: c.pod, on: on}
	}
	return moved
}

// P4: what makes a virtual node usable wakes the pods that it helps, and leaves all others asleep.
func TestATwinOrALabelWakesThePodsThatItHelpsAndNoOthers(t *testing.T) {
	either := build.Selector(corev1.LabelHostname, "provider-1")
	either.NodeSelectorTerms = append(either.NodeSelectorTerms, build.Selector("tier", "gold").NodeSelectorTerms...)
	root := newWorld(t, "wakes-plain")
	root.alone()
	silver := root.virtualNode("provider-1-silver", "provider-1", "tier", "silver")
	local, label := newWorld(t, "wakes-local"), newWorld(t, "wakes-label")
	twin, taken := newWorld(t, "wakes-twin"), newWorld(t, "wakes-taken")
	open := twin.block("provider-2")
	taken.block("provider-2")
	root.create(
		build.Offloading(local.ns).Strategy(v1beta1.Local).Obj(),
		build.Offloading(label.ns).Strategy(v1beta1.Remote).Selector(either).Obj(),
		build.Offloading(twin.ns).Strategy(v1beta1.Remote).Obj(),
		build.Offloading(taken.ns).Strategy(v1beta1.Remote).Obj(),
	)
	for w, phase := range map[*world]v1beta1.OffloadingPhase{
		local: v1beta1.PhaseReady, label: v1beta1.PhaseReady, twin: v1beta1.PhaseSomeFailed,
		taken: v1beta1.PhaseSomeFailed,
	} {
		w.Eventually(w.phase).Should(Equal(phase))
	}
	at := func(w *world, name, node, says string) cell {
		return cell{pod: build.Pod(name).Namespace(w.ns).Spec(pinned(node)).Obj(), says: []string{says}}
	}
	byTwin := map[string]cell{
		"one": at(twin, "one", "provider-2", twinTaken), "two": at(twin, "two", "provider-2", twinTaken),
	}
	byLabel := map[string]cell{
		"one": at(label, "one", silver.Name, notSelected), "two": at(label, "two", silver.Name, notSelected),
	}
	others := map[string]cell{
		"not offloaded":               at(root, "pod", "provider-2", notOffloaded),
		"not offloaded, other node":   at(root, "other", silver.Name, notOffloaded),
		"Local":                       at(local, "pod", silver.Name, localStays),
		"another twin that is taken":  at(taken, "pod", "provider-2", twinTaken),
		"same twin, but pinned home":  at(twin, "home", "consumer-node-1", remoteGoes),
		"same label, but pinned away": at(label, "elsewhere", "provider-2", notSelected),
	}
	for name, cells := range map[string]map[string]cell{"twin": byTwin, "label": byLabel, "others": others} {
		root.createCells(cells)
		t.Run("before/"+name, func(t *testing.T) { root.settle(t, cells) })
	}

	wakes := func(name string, change func(), cells map[string]cell, on string) {
		t.Run(name, func(t *testing.T) {
			before := root.counted()
			change()
			root.settle(t, then(cells, on))
			after := root.counted()
			NewWithT(t).Expect(after.woken(before)).
				To(BeEquivalentTo(len(cells)), "%v", after.incoming.minus(before.incoming))
		})
	}
	wakes("a twin that is ready", open, byTwin, "provider-2")
	wakes("a label that the selector wants", func() {
		patch := client.MergeFrom(silver.DeepCopy())
		silver.Spec.Labels["tier"] = "gold"
		root.Expect(root.home.Patch(root.ctx, silver, patch)).To(Succeed())
	}, byLabel, silver.Name)
	t.Run("the others wait on", func(t *testing.T) { root.settle(t, others) })
}

// P4: the same of a node that becomes ready. The pod itself may be tried before that, when its twin is. The others are
// such as only the policy refuses: Kubernetes wakes pods that want certain nodes whenever any node's taints change.
func TestANodeThatBecomesReadyWakesThePodsThatItHelpsAndNoOthers(t *testing.T) {
	late := newWorld(t, "ready-late")
	late.alone()
	plain, nowhere, taken := newWorld(t, "ready-plain"), newWorld(t, "ready-nowhere"), newWorld(t, "ready-taken")
	taken.block("provider-2")
	late.create(
		build.Offloading(late.ns).Strategy(v1beta1.Remote).Selector(build.Selector("tier", "late")).Obj(),
		build.Offloading(nowhere.ns).Strategy(v1beta1.Local).Selector(build.Selector("tier", "never")).Obj(),
		build.Offloading(taken.ns).Strategy(v1beta1.Remote).
			Selector(build.Selector("liqo.io/provider", "provider-2")).Obj(),
	)
	for w, phase := range map[*world]v1beta1.OffloadingPhase{
		late: v1beta1.PhaseNoClusterSelected, nowhere: v1beta1.PhaseNoClusterSelected, taken: v1beta1.PhaseAllFailed,
	} {
		w.Eventually(w.phase).Should(Equal(phase))
	}
	pod := func(w *world) *build.PodBuilder { return build.Pod("web").Namespace(w.ns) }
	helped := map[string]cell{"Remote": {pod: pod(late).Obj(), says: []string{notSelected}}}
	others := map[string]cell{
		"not offloaded":      {pod: pod(plain).RuntimeClass("liqo").Obj(), says: []string{notOffloaded}},
		"no cluster matches": {pod: pod(nowhere).RuntimeClass("liqo").Obj(), says: []string{classGoes, notSelected}},
		"the twin is taken":  {pod: pod(taken).Obj(), says: []string{twinTaken}},
	}
	for name, cells := range map[string]map[string]cell{"helped": helped, "others": others} {
		late.createCells(cells)
		t.Run("before/"+name, func(t *testing.T) { late.settle(t, cells) })
	}
	before := late.counted()
	late.virtualNode("provider-1-late", "provider-1", "tier", "late")
	t.Run("helped", func(t *testing.T) { late.settle(t, then(helped, "provider-1-late")) })
	after := late.counted()
	grown := after.refusals.minus(before.refusals)
	for _, reason := range []string{"NotOffloaded", "RuntimeClass", "TwinFailed"} {
		late.Expect(grown.sum(`reason="`+reason+`"`)).
			To(BeZero(), "%s: %v", reason, after.incoming.minus(before.incoming))
	}
	t.Run("the others wait on", func(t *testing.T) { late.settle(t, others) })
}
