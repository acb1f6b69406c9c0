package reflection

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Indexes of the objects at home.
const (
	byCopy   = "copy"   // the name of their copy
	byLeader = "leader" // the name of the object that they follow
)

// twin is one namespace that is being reflected.
type twin struct {
	home, away string
	pairs      map[string]*pair // by resource
	ctx        context.Context  // of every call for it; ends when it leaves
	cancel     context.CancelFunc
}

// pair is what is known of one kind in one twin.
type pair struct {
	home, away cache.Indexer
	ready      atomic.Bool // both are complete

	mu      sync.Mutex
	copies  map[string]*copyState // by name of the copy
	changed map[string]time.Time  // name of the copy -> when home changed it and it was not looked at since
}

// copyState is what is remembered of one copy. It can be lost: then the copy is looked at again.
type copyState struct {
	hash    uint64      // of what it should be, when it was last seen right
	version string      // its resourceVersion, when it was last seen right
	foreign bool        // the name is taken by an object that is not ours
	since   time.Time   // when it became unwanted
	repairs []time.Time // when others' changes were undone, in the last minute
	told    string      // what was last said about it in an event
}

func newPair(home, away cache.Indexer) *pair {
	return &pair{home: home, away: away, copies: map[string]*copyState{}, changed: map[string]time.Time{}}
}

// homeIndexers are the indexes over the objects of a kind at home.
func homeIndexers(k Reflected, origin string) cache.Indexers {
	return cache.Indexers{
		byCopy:   func(obj any) ([]string, error) { return []string{k.name(obj.(client.Object), origin)}, nil },
		byLeader: func(obj any) ([]string, error) { return []string{k.leader(obj.(client.Object))}, nil },
	}
}

// source returns the home object that the named copy is of. When two claim the name, the older has it.
func (p *pair) source(name string) client.Object {
	objs, _ := p.home.ByIndex(byCopy, name) // fails only without that index
	var src client.Object
	for _, obj := range objs {
		candidate := obj.(client.Object)
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
func (p *pair) seen(namespace, name string) *metav1.PartialObjectMetadata {
	obj, exists, _ := p.away.GetByKey(namespace + "/" + name)
	if !exists {
		return nil
	}
	return obj.(*metav1.PartialObjectMetadata)
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

// names returns the names of all copies that are or should be.
func (p *pair) names() []string {
	names := p.home.ListIndexFuncValues(byCopy)
	for _, obj := range p.away.List() {
		names = append(names, obj.(*metav1.PartialObjectMetadata).Name)
	}
	return names
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
