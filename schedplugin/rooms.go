package schedplugin

import (
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// rooms remembers what virtual nodes say of pods that their providers cannot take, so that Filter, which looks at each
// node for each pod, reads no text twice. A text is remembered, not a node: whatever version of a node is looked at
// gets the answer that it gives itself.
type rooms struct {
	mu sync.RWMutex
	// known has, by node, the last two texts: a hint compares a node as it was with a node as it is, for many pods.
	known map[string][2]knownRoom
}

type knownRoom struct {
	largest, unfit string
	room           placement.Room
}

func newRooms() *rooms { return &rooms{known: map[string][2]knownRoom{}} }

// of returns what a node says.
func (r *rooms) of(node *corev1.Node) placement.Room {
	largest, unfit := node.Annotations[v1beta1.AnnotationLargestFree], node.Annotations[v1beta1.AnnotationUnfit]
	if largest == "" && unfit == "" {
		return placement.Room{}
	}
	r.mu.RLock()
	had := r.known[node.Name]
	r.mu.RUnlock()
	for _, k := range had {
		if k.largest == largest && k.unfit == unfit {
			return k.room
		}
	}
	fresh := knownRoom{largest: largest, unfit: unfit, room: placement.ReadRoom(node)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[node.Name] = [2]knownRoom{fresh, r.known[node.Name][0]}
	return fresh.room
}

// forget drops what is remembered of a node that is gone.
func (r *rooms) forget(node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.known, node)
}
