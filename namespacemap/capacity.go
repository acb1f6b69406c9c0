package namespacemap

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// retryFull is when a namespace is looked at again that was refused because of others that were not written yet.
const retryFull = time.Second

// MaxNamespaces is how many namespaces one NamespaceMap holds. It is what surely fits into one object when all names
// are as long as they may be and all twins fail at once with the longest message: (storeLimit - storeMargin) divided by
// what a namespace takes then.
const MaxNamespaces = 2400

const (
	// storeLimit is the largest request that etcd takes unless it is told otherwise (--max-request-bytes).
	storeLimit = 1536 << 10
	// storeMargin is for the object's metadata and the frame of the request, for what others write into the map by
	// hand, and for the managedFields of that until our next write clears them.
	storeMargin = 64 << 10
	// longestName is the longest name of a namespace.
	longestName = 63
	// namespaceSize is what a namespace takes of a map, without its message.
	namespaceSize = len(`"":"",`) + 2*longestName +
		len(`"":{"message":"","phase":"CreationLoopBackOff","reason":"CreationLoopBackOff","remoteNamespace":""},`) +
		2*longestName

	// maxMessage bounds what a provider's words may take of a map, as JSON; crowdedMessage does in a map of more than
	// crowd namespaces.
	maxMessage     = 512
	crowdedMessage = 256
	crowd          = 1700
)

// messageLimit is how long the message about one of a map's namespaces may be. Those on their way out count as well.
func messageLimit(m *v1beta1.NamespaceMap) int {
	if roomy(m, 0, crowd+1) {
		return maxMessage
	}
	return crowdedMessage
}

// bounded cuts a text so that it takes no more than limit bytes as JSON, as the API server writes it.
func bounded(text string, limit int) string {
	size := 0
	for at, r := range text {
		switch {
		case r == '"', r == '\\', r == '\n', r == '\r', r == '\t', r == '\b', r == '\f':
			size += len(`\n`)
		case r < ' ', r == '<', r == '>', r == '&', r == '\u2028', r == '\u2029', r == utf8.RuneError:
			size += len(`\u003c`)
		default:
			size += utf8.RuneLen(r)
		}
		if size > limit {
			return text[:at]
		}
	}
	return text
}

// fullError refuses a namespace for which a map has no room.
type fullError struct {
	clusterID    string
	holds, limit int
	// coming says that some are not written yet that were admitted: if they come to nothing, no event tells.
	coming bool
}

func (e *fullError) Error() string {
	return fmt.Sprintf("the NamespaceMap of cluster %s holds %d of at most %d namespaces: un-offload one that is "+
		"offloaded there, or select other clusters; this one follows by itself once there is room",
		e.clusterID, e.holds, e.limit)
}

// holds returns how many namespaces have, or may still come to have, a twin.
func holds(m *v1beta1.NamespaceMap) int {
	count := len(m.Spec.DesiredMapping)
	for home := range m.Status.CurrentMapping {
		if _, counted := m.Spec.DesiredMapping[home]; !counted {
			count++
		}
	}
	return count
}

// roomy says that a map holds, with those that are coming, less than a limit. It counts only if it must.
func roomy(m *v1beta1.NamespaceMap, coming, limit int) bool {
	return len(m.Spec.DesiredMapping)+len(m.Status.CurrentMapping)+coming < limit || holds(m)+coming < limit
}

// room admits namespaces to the maps of all clusters, and remembers who found one full: they are woken when it no
// longer is, as many as there is room for. The zero value is ready.
type room struct {
	mu sync.Mutex
	// coming counts, by cluster id, those that were admitted and not yet written.
	coming map[string]int
	// waiting are the home namespaces, by cluster id, that were refused.
	waiting map[string]sets.Set[string]
}

// take admits one more namespace if the map has room for it; if not, it says so and remembers that it waits. The map is
// read in here, so that whoever was admitted before is seen either there or among those who come, and so that an event
// which makes room is either seen there or wakes us.
func (r *room) take(home string, limit int, read func() (*v1beta1.NamespaceMap, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	m, err := read()
	if err != nil {
		return err
	}
	coming := r.coming[m.Name]
	if !roomy(m, coming, limit) {
		r.wait(m.Name, home)
		return &fullError{clusterID: m.Name, holds: max(holds(m), limit), limit: limit, coming: coming > 0}
	}
	if r.coming == nil {
		r.coming = map[string]int{}
	}
	r.coming[m.Name]++
	return nil
}

// written says that what was admitted has been written, or failed to be.
func (r *room) written(clusterIDs []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range clusterIDs {
		r.coming[id]--
	}
}

// wait remembers a namespace that was refused; the lock is held.
func (r *room) wait(clusterID, home string) {
	if r.waiting == nil {
		r.waiting = map[string]sets.Set[string]{}
	}
	if r.waiting[clusterID] == nil {
		r.waiting[clusterID] = sets.New[string]()
	}
	r.waiting[clusterID].Insert(home)
}

// forget is for a namespace that is looked at anew.
func (r *room) forget(home string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, homes := range r.waiting {
		homes.Delete(home)
	}
}

// wake returns as many of those that wait as a map has room for.
func (r *room) wake(m *v1beta1.NamespaceMap, limit int) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.waiting[m.Name]) == 0 {
		return nil
	}
	var woken []string
	for range limit - holds(m) - r.coming[m.Name] {
		home, some := r.waiting[m.Name].PopAny()
		if !some {
			break
		}
		woken = append(woken, home)
	}
	return woken
}

// admit refuses the namespace where the cluster's map has no room for it. Those that it holds already stay.
func (o *Offloadings) admit(ctx context.Context, p *pass) error {
	var errs []error
	for id := range p.selected {
		m := p.maps[id]
		if m == nil || p.want(id) == "" || p.occupied(id) {
			continue
		}
		err := o.room.take(p.home, o.limit(), func() (*v1beta1.NamespaceMap, error) {
			return o.views.get(ctx, o.Home, client.ObjectKeyFromObject(m))
		})
		var full *fullError
		switch {
		case err == nil:
			p.admitted = append(p.admitted, id)
		case errors.As(err, &full):
			_ = p.blame(id, err) // no error to try again after: we are woken
			if full.coming {
				p.again = retryFull
			}
		case !apierrors.IsNotFound(err): // a map that is gone is made anew, and brings us back
			errs = append(errs, p.blame(id, err))
		}
	}
	return errors.Join(errs...)
}

func (o *Offloadings) limit() int {
	if o.MaxNamespaces > 0 {
		return o.MaxNamespaces
	}
	return MaxNamespaces
}
