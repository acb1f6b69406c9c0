package provider

import (
	"errors"
	"sync"
)

// lane is how urgent a call of the provider is. When it answers slowly, or asks to be left alone, telling home comes
// before what pods wait for, and that before clean-up.
type lane int

const (
	laneHome    lane = iota // calls home only, and so is never held back
	laneAway                // a pod waits for it
	laneCleanUp             // nobody waits but who looks at what is left
)

func laneOf(do action) lane {
	switch do {
	case doCreate, doReplace, doConfirm, doLose:
		return laneAway
	case doRemove, doStop, doOrphan, doFinish:
		return laneCleanUp
	default:
		return laneHome
	}
}

// errParked says that a pod waits for its turn to call the provider; it is enqueued when that comes.
var errParked = errors.New("wait for a turn to call the provider")

// lanes bounds how many pods have calls of the provider under way, so that a provider never keeps all workers waiting.
// One of them at least is left for clean-up, which is therefore slow but does not stop.
type lanes struct {
	slots int

	mu sync.Mutex
	// held are the pods that have a turn: they are being worked on, or are in the queue.
	held     map[key]lane
	cleaning int
	// waiting has who waits for a turn, in order; parked has the same names, but for those that got one meanwhile.
	waiting map[lane][]key
	parked  map[key]bool
}

// newLanes leaves some of the workers to home.
func newLanes(workers int) *lanes {
	return &lanes{
		slots: max(1, workers-max(1, workers/8)),
		held:  map[key]lane{}, waiting: map[lane][]key{}, parked: map[key]bool{},
	}
}

// enter says whether a pod may call the provider now. If not, it will be returned by leave.
func (l *lanes) enter(k key, want lane) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop(k)
	// Nobody waits while there is room: whoever leaves gives its place away at once.
	if len(l.held) < l.slots {
		l.hold(k, want)
		return true
	}
	if !l.parked[k] {
		l.parked[k] = true
		l.waiting[want] = append(l.waiting[want], k)
	}
	return false
}

// leave ends a pod's turn, if it has one, and returns who is next.
func (l *lanes) leave(k key) (next key, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.held[k]; !ok {
		return key{}, false
	}
	l.drop(k)
	order := []lane{laneAway, laneCleanUp}
	if l.cleaning == 0 && l.slots > 1 {
		order = []lane{laneCleanUp, laneAway}
	}
	for _, from := range order {
		if next, ok := l.pop(from); ok {
			l.hold(next, from)
			return next, true
		}
	}
	return key{}, false
}

func (l *lanes) pop(from lane) (key, bool) {
	for len(l.waiting[from]) > 0 {
		k := l.waiting[from][0]
		l.waiting[from] = l.waiting[from][1:]
		if l.parked[k] {
			return k, true
		}
	}
	return key{}, false
}

func (l *lanes) hold(k key, as lane) {
	delete(l.parked, k)
	l.held[k] = as
	if as == laneCleanUp {
		l.cleaning++
	}
}

func (l *lanes) drop(k key) {
	if l.held[k] == laneCleanUp {
		l.cleaning--
	}
	delete(l.held, k)
}

// enter makes sure that a pod may call the provider now; else it returns an error that brings the pod back.
func (p *Pods) enter(k key, l lane) error {
	if l == laneHome {
		return nil
	}
	if rest := p.opts.Throttle.Rest(); rest > 0 {
		return again{after: rest, backoff: true}
	}
	if !p.lanes.enter(k, l) {
		return errParked
	}
	return nil
}
