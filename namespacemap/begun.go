package namespacemap

import "sync"

// begunTwins remembers the twins that were begun, and that no map tells of yet, by home namespace. The zero value is
// ready.
type begunTwins struct {
	mu    sync.Mutex
	twins map[string]string
}

func (u *begunTwins) begin(home, away string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.twins == nil {
		u.twins = map[string]string{}
	}
	u.twins[home] = away
}

func (u *begunTwins) end(home string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.twins, home)
}

// of returns the name of the twin, or nothing.
func (u *begunTwins) of(home string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.twins[home]
}
