package namespacemap

import (
	"sync"
	"time"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// lull is for how long the status of an offloading rests while one twin after the other comes, or goes: with many
// providers each would else be a write, of a state that nobody acts on. What is said first, and what is said last, is
// said at once.
const lull = 5 * time.Second

// rests remembers when the status of every offloading on its way was written last. The zero value is ready.
type rests struct {
	mu      sync.Mutex
	written map[string]time.Time
}

// left returns for how long a new status shall not be written yet.
func (r *rests) left(home string, now time.Time, before, after *v1beta1.NamespaceOffloadingStatus) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	written, known := r.written[home]
	if !known || !halfway(before, after) {
		return 0
	}
	return max(0, lull-now.Sub(written))
}

// wrote remembers that a status was written; one that is final needs no rest.
func (r *rests) wrote(home string, now time.Time, status *v1beta1.NamespaceOffloadingStatus) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !underWay(status) {
		delete(r.written, home)
		return
	}
	if r.written == nil {
		r.written = map[string]time.Time{}
	}
	r.written[home] = now
}

// forget is for an offloading that is gone.
func (r *rests) forget(home string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.written, home)
}

// halfway says that a status is only a step further on the way to the same end.
func halfway(before, after *v1beta1.NamespaceOffloadingStatus) bool {
	if !underWay(after) || before.OffloadingPhase != after.OffloadingPhase ||
		before.ObservedGeneration != after.ObservedGeneration ||
		before.RemoteNamespaceName != after.RemoteNamespaceName {
		return false
	}
	// The agent reads here which of its twins is required: that must not come late.
	for _, pair := range [][2]*v1beta1.NamespaceOffloadingStatus{{before, after}, {after, before}} {
		for id := range pair[0].RemoteNamespacesConditions {
			if requires(pair[0], id) != requires(pair[1], id) {
				return false
			}
		}
	}
	return true
}

func underWay(status *v1beta1.NamespaceOffloadingStatus) bool {
	return status.OffloadingPhase == v1beta1.PhaseInProgress || status.OffloadingPhase == v1beta1.PhaseTerminating
}

func requires(status *v1beta1.NamespaceOffloadingStatus, clusterID string) bool {
	return isRequired(status.RemoteNamespacesConditions[clusterID])
}
