package leader

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// term is the time in which this replica may act. It is counted from before the API server was asked for the renewal
// that it confirmed, so it ends before anybody's wait that has seen this renewal.
type term struct {
	clock  clock.PassiveClock
	length time.Duration
	lost   chan struct{} // closed when another leads who has taken over from us

	mu    sync.Mutex
	since time.Time // zero while we do not lead
	led   bool
	over  bool
}

func newTerm(c clock.PassiveClock, length time.Duration) *term {
	return &term{clock: c, length: length, lost: make(chan struct{})}
}

// renewed says that the lease is ours, as of some time. A lease that we find to be still ours after we were stopped is
// as good as ever: nobody else can have acted in between.
func (t *term) renewed(asked time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since, t.led = asked, true
}

// ended says that we give the lease back.
func (t *term) ended() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Time{}
}

// taken says that the lease is not ours. For who has led, this is the end.
func (t *term) taken() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = time.Time{}
	if t.led && !t.over {
		t.over = true
		close(t.lost)
	}
}

// open tells whether we may act.
func (t *term) open() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.over && !t.since.IsZero() && passed(t.since, t.clock.Now()) < t.length
}

// passed is the longer of what the two clocks in a time say: the monotonic one stands still in a machine that sleeps,
// the other one may be set.
func passed(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}
