package namespacemap

import "sync"

// twinNames remembers twins that something is under way with, by home namespace. The zero value is ready.
type twinNames struct {
	mu    sync.Mutex
	twins map[string]string
}

func (n *twinNames) begin(home, away string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.twins == nil {
		n.twins = map[string]string{}
	}
	n.twins[home] = away
}

func (n *twinNames) end(home string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.twins, home)
}

// of returns the name of the twin, or nothing.
func (n *twinNames) of(home string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.twins[home]
}
