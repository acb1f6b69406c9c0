package schedplugin

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/spread"
)

// ReasonWeightIgnored is the reason of the event about labels that policy Weighted cannot read.
const ReasonWeightIgnored = "WeightIgnored"

const (
	// namedNodes is how many nodes one event names; it counts the others.
	namedNodes = 3
	// remembered bounds what is remembered of events. Beyond it all is forgotten, and events may come again.
	remembered = 10000
)

// warnings tell users of weight labels that are ignored because they are no weights, by events about the
// NamespaceOffloading, once for each node and value.
type warnings struct {
	recorder events.EventRecorder

	mu   sync.Mutex
	said map[misreading]bool
}

type misreading struct {
	offloading         types.UID
	label, node, value string
}

func newWarnings(recorder events.EventRecorder) *warnings {
	return &warnings{recorder: recorder, said: map[misreading]bool{}}
}

// misread warns of the nodes whose weight label is ignored. All that are found in one attempt to schedule a pod are in
// one event.
func (w *warnings) misread(id identity, namespace, label string, nodes iter.Seq[*corev1.Node]) {
	var fresh []misreading
	for node := range nodes {
		if value, bad := spread.Misread(node, label); bad {
			m := misreading{offloading: id.UID, label: label, node: node.Name, value: value}
			if w.first(m) {
				fresh = append(fresh, m)
			}
		}
	}
	if len(fresh) == 0 {
		return
	}
	regarding := &corev1.ObjectReference{
		APIVersion: v1beta1.GroupVersion.String(), Kind: "NamespaceOffloading",
		Namespace: namespace, Name: v1beta1.OffloadingName, UID: id.UID,
	}
	w.recorder.Eventf(regarding, nil, corev1.EventTypeWarning, ReasonWeightIgnored, "Scheduling",
		"%s", sentence(label, fresh))
}

// first takes note of a misreading, and says whether it is news.
func (w *warnings) first(m misreading) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said[m] {
		return false
	}
	if len(w.said) >= remembered {
		clear(w.said)
	}
	w.said[m] = true
	return true
}

func sentence(label string, nodes []misreading) string {
	slices.SortFunc(nodes, func(a, b misreading) int { return strings.Compare(a.node, b.node) })
	var named []string
	for _, m := range nodes[:min(len(nodes), namedNodes)] {
		named = append(named, fmt.Sprintf("%s (%q)", m.node, m.value))
	}
	list := strings.Join(named, ", ")
	if more := len(nodes) - len(named); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("label %s is ignored, because it is no integer of at least 0, on nodes: %s", label, list)
}
