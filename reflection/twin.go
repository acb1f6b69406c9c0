package reflection

import (
	"context"
	"sync"
)

// twin is one namespace that is being reflected.
type twin struct {
	home, away string
	ctx        context.Context // of every call for it; ends when it leaves
	cancel     context.CancelFunc

	mu    sync.RWMutex
	pairs map[string]*pair // by resource
}

// pair returns what is known of a kind, or nil when nobody looks at it.
func (t *twin) pair(resource string) *pair {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.pairs[resource]
}

// readyPair is pair as long as everything is known.
func (t *twin) readyPair(resource string) *pair {
	if p := t.pair(resource); p != nil && p.ready.Load() {
		return p
	}
	return nil
}

func (t *twin) set(resource string, p *pair) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pairs[resource] = p
}

// take removes a pair and returns it.
func (t *twin) take(resource string) *pair {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pairs[resource]
	delete(t.pairs, resource)
	return p
}

// all returns the pairs.
func (t *twin) all() map[string]*pair {
	t.mu.RLock()
	defer t.mu.RUnlock()
	out := make(map[string]*pair, len(t.pairs))
	for resource, p := range t.pairs {
		out[resource] = p
	}
	return out
}
