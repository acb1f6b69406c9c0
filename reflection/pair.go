package reflection

import (
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Indexes of the objects at home.
const (
	byCopy   = "copy"   // the name of their copy
	byLeader = "leader" // the name of the object that they follow
)

// homeIndexers are the indexes over the objects of a kind at home.
func homeIndexers(k Reflected, origin string) cache.Indexers {
	return cache.Indexers{
		byCopy:   scoped(func(obj client.Object) string { return k.name(obj, origin) }),
		byLeader: scoped(func(obj client.Object) string { return k.leader(obj) }),
	}
}

// pair is what is known of one kind in one twin.
type pair struct {
	home, away *view
	ready      atomic.Bool   // both are complete
	over       chan struct{} // closed when nobody looks at it any more

	mu       sync.Mutex
	copies   map[string]*copyState                // by name of the copy
	changed  map[string]time.Time                 // name of the copy -> since when a change of home's waits
	read     map[string]client.Object             // by name at home: objects that the cache has only the metadata of
	problems map[string]v1beta1.ReflectionProblem // by name of the copy
	restAt   time.Time                            // see used
}

// copyState is what is remembered of one copy. It can be lost: then the copy is looked at again.
type copyState struct {
	hash    uint64      // of what it should be, when it was last seen right
	version string      // its resourceVersion, when it was last seen right
	source  string      // the edition of the home object for which that, or the verdict, holds
	verdict verdict     // what came of that
	foreign bool        // the name is taken by an object that is not ours
	since   time.Time   // when it became unwanted
	repairs []time.Time // when others' changes were undone, in the last minute
	vain    uint64      // the difference between copy and home's wish that the provider insists on

	refusedHash  uint64    // of what the provider's API server found invalid
	refusedUntil time.Time // and until when it is not sent again
}

func newPair() *pair {
	return &pair{
		over:   make(chan struct{}),
		copies: map[string]*copyState{}, changed: map[string]time.Time{}, read: map[string]client.Object{},
		problems: map[string]v1beta1.ReflectionProblem{},
	}
}

// source returns the home object that the named copy is of. When two claim the name, the older has it.
func (p *pair) source(name string) client.Object {
	var src client.Object
	for _, candidate := range p.home.by(byCopy, name) {
		if src == nil || older(candidate, src) {
			src = candidate
		}
	}
	return src
}

func older(a, b client.Object) bool {
	at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return at.Before(&bt) || at.Equal(&bt) && a.GetName() < b.GetName()
}

// seen returns the copy as the cache has it, or nil.
func (p *pair) seen(name string) *metav1.PartialObjectMetadata {
	if obj := p.away.get(name); obj != nil {
		return obj.(*metav1.PartialObjectMetadata)
	}
	return nil
}

// state returns what is remembered of a copy, for the caller, who works on that copy alone, to change.
func (p *pair) state(name string) *copyState {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.copies[name] == nil {
		p.copies[name] = &copyState{}
	}
	return p.copies[name]
}

func (p *pair) forget(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.copies, name)
}

// touch notes that home changed the source of a copy.
func (p *pair) touch(name string, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.changed[name]; !ok {
		p.changed[name] = now
	}
}

// took returns how long ago home changed the source of a copy, once, or false when it did not.
func (p *pair) took(name string, now time.Time) (time.Duration, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at, ok := p.changed[name]
	delete(p.changed, name)
	return now.Sub(at), ok
}

// whole returns a home object with everything in it, if it is known so.
func (p *pair) whole(known client.Object) client.Object {
	if !stripped(known) {
		return known
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if read := p.read[known.GetName()]; read != nil && read.GetResourceVersion() == known.GetResourceVersion() {
		return read
	}
	return nil
}

// stripped says whether no more than the metadata of an object are there.
func stripped(obj client.Object) bool {
	_, is := obj.(*metav1.PartialObjectMetadata)
	return is
}

// remember keeps an object that was read.
func (p *pair) remember(read client.Object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.read[read.GetName()] = read
}

// outdated forgets it.
func (p *pair) outdated(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.read, name)
}
