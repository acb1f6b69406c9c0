package namespacemap

import (
	"sync"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// newer says that an answer to a write of ours is of a later state than what a cache has of the same object.
func newer(written, cached client.Object) bool {
	order, err := resourceversion.CompareResourceVersion(written.GetResourceVersion(), cached.GetResourceVersion())
	return err == nil && order > 0 && written.GetUID() == cached.GetUID()
}

// ownWrites remembers the answers to our last writes of offloadings until the cache has caught up: a look that follows
// close on a write would else decide by what was before it, and lose a race against ourselves. The zero value is ready.
type ownWrites struct {
	mu     sync.Mutex
	latest map[string]*v1beta1.NamespaceOffloading
}

// current returns the later of an offloading from the cache and the answer to our last write, as a copy.
func (w *ownWrites) current(cached *v1beta1.NamespaceOffloading) *v1beta1.NamespaceOffloading {
	w.mu.Lock()
	defer w.mu.Unlock()
	written, known := w.latest[cached.Namespace]
	if known && newer(written, cached) {
		return written.DeepCopy()
	}
	delete(w.latest, cached.Namespace)
	return cached
}

// wrote remembers the answer to a write.
func (w *ownWrites) wrote(off *v1beta1.NamespaceOffloading) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.latest == nil {
		w.latest = map[string]*v1beta1.NamespaceOffloading{}
	}
	w.latest[off.Namespace] = off.DeepCopy()
}

// forget is for an offloading that is gone.
func (w *ownWrites) forget(home string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.latest, home)
}
