package suite

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// What a pod is told, in the words of docs/strategies.md.
const (
	notOffloaded = "namespace is not offloaded"
	localStays   = "strategy Local keeps the pods of this namespace at home"
	remoteGoes   = "strategy Remote sends the pods of this namespace to virtual nodes"
	classGoes    = `RuntimeClass "liqo" asks for a virtual node`
	notSelected  = "cluster is not selected for this namespace"
)

// The columns of the twelve cells: what the pod's own affinity asks for, and its RuntimeClass.
type column struct{ affinity, class string }

func (c column) pod(namespace string) *corev1.Pod {
	op := map[string]corev1.NodeSelectorOperator{
		"virtual": corev1.NodeSelectorOpIn, "ordinary": corev1.NodeSelectorOpNotIn,
	}[c.affinity]
	pod := build.Pod("to-" + c.affinity).Namespace(namespace).Spec(virtual(op))
	if c.class != "" {
		pod = build.Pod("to-" + c.affinity + "-" + c.class).Namespace(namespace).Spec(virtual(op)).RuntimeClass(c.class)
	}
	return pod.Obj()
}

// P1: the twelve cells.
func TestThePodsOwnAffinityAppliesOnTopOfTheStrategy(t *testing.T) {
	var w *world
	var worlds []*world
	cells := map[string]cell{}
	for strategy, columns := range map[v1beta1.PodOffloadingStrategy]map[column]cell{
		v1beta1.Local: {
			{"virtual", ""}:      {says: []string{localStays, unwanted}},
			{"ordinary", ""}:     {on: anOrdinaryNode},
			{"virtual", "liqo"}:  {on: aVirtualNode},
			{"ordinary", "liqo"}: {says: []string{classGoes, unwanted}},
		},
		v1beta1.Remote: {
			{"virtual", ""}:      {on: aVirtualNode},
			{"ordinary", ""}:     {says: []string{remoteGoes, unwanted}},
			{"virtual", "liqo"}:  {on: aVirtualNode},
			{"ordinary", "liqo"}: {says: []string{classGoes, unwanted}},
		},
		v1beta1.LocalAndRemote: {
			{"virtual", ""}:      {on: aVirtualNode},
			{"ordinary", ""}:     {on: anOrdinaryNode},
			{"virtual", "liqo"}:  {on: aVirtualNode},
			{"ordinary", "liqo"}: {says: []string{classGoes, unwanted}},
		},
	} {
		w = newWorld(t, "cells-"+strings.ToLower(string(strategy)))
		w.create(build.Offloading(w.ns).Strategy(strategy).Obj())
		worlds = append(worlds, w)
		for column, c := range columns {
			c.pod = column.pod(w.ns)
			cells[string(strategy)+", affinity to "+column.affinity+" nodes, class "+column.class] = c
		}
	}
	for _, w := range worlds { // a pod that must wait on would not be woken to hear of another reason
		w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
	}
	w.createCells(cells)
	w.settle(t, cells)
	for name, c := range cells {
		if c.on == "" {
			// The event is written after the condition, by somebody else.
			w.Eventually(func() ([]string, error) { return w.scheduling(c.pod) }).
				Should(ContainElement(ContainSubstring(c.says[0])), "event of %s", name)
		}
		// P8: Kubernetes gives the toleration to pods of the class, the scheduler to those that it sends away.
		want := 0
		if c.on == aVirtualNode || c.pod.Spec.RuntimeClassName != nil {
			want = 1
		}
		w.Expect(w.home.Get(w.ctx, client.ObjectKeyFromObject(c.pod), c.pod)).To(Succeed())
		w.Expect(tolerations(c.pod)).To(Equal(want), name)
	}
}

// scheduling returns what the events of a pod say about attempts to schedule it.
func (w *world) scheduling(pod *corev1.Pod) ([]string, error) {
	var events eventsv1.EventList
	if err := w.home.List(w.ctx, &events, client.InNamespace(pod.Namespace)); err != nil {
		return nil, err
	}
	var notes []string
	for _, event := range events.Items {
		if event.Reason == "FailedScheduling" && event.Regarding.UID == pod.UID {
			notes = append(notes, event.Note)
		}
	}
	return notes, nil
}

// P1: whatever else a pod asks of its node.
func TestWhatAPodAsksOfItsNodeAppliesOnTopOfTheStrategy(t *testing.T) {
	w := newWorld(t, "wishes")
	w.remote()
	pod := func(name string) *build.PodBuilder { return build.Pod(name).Namespace(w.ns) }
	region := func(n string) *build.PodBuilder {
		return pod("region-"+n).NodeSelector(corev1.LabelTopologyRegion, "region-"+n)
	}
	cells := map[string]cell{
		"a node selector":            {pod: region("2").Obj(), on: "provider-2"},
		"a node selector of no node": {pod: region("9").Obj(), says: []string{remoteGoes, unwanted}},
		"a label by affinity":        {pod: pod("label").Spec(pinned("provider-1")).Obj(), on: "provider-1"},
		"a name by matchFields":      {pod: pod("field").Spec(named("In", "provider-2")).Obj(), on: "provider-2"},
		"not a name, by matchFields": {pod: pod("no-field").Spec(named("NotIn", "provider-2")).Obj(), on: "provider-1"},
		"a node at home, by matchFields": {
			pod: pod("at-home").Spec(named("In", "consumer-node-1")).Obj(), says: []string{remoteGoes, "NodeAffinity"},
		},
	}
	w.createCells(cells)
	w.settle(t, cells)
}
