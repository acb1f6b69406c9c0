package provider

import (
	"net/http"
	"strconv"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Throttle notes when a provider asks to be left alone (Retry-After). A client that works through it is told at once
// instead of waiting inside the call, so that nobody's worker is kept; who makes the calls asks Rest first. A nil one
// never rests.
type Throttle struct {
	clock clock.PassiveClock

	mu    sync.Mutex
	until time.Time
}

// NewThrottle returns one that has heard nothing yet.
func NewThrottle(c clock.PassiveClock) *Throttle { return &Throttle{clock: c} }

// Rest returns for how long the provider still wants no calls.
func (t *Throttle) Rest() time.Duration {
	if t == nil {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return max(0, t.until.Sub(t.clock.Now()))
}

// Wrap returns a transport that listens to the answers of another.
func (t *Throttle) Wrap(next http.RoundTripper) http.RoundTripper {
	return &listener{next: next, throttle: t}
}

type listener struct {
	next     http.RoundTripper
	throttle *Throttle
}

// RoundTrip sends a request.
func (l *listener) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	busy := err == nil &&
		(resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= http.StatusInternalServerError)
	if busy {
		l.throttle.heard(resp.Header)
	}
	return resp, err
}

// WrappedRoundTripper lets client-go find the transport inside.
func (l *listener) WrappedRoundTripper() http.RoundTripper { return l.next }

// heard takes the wish out of the answer: client-go would wait for it inside the call.
func (t *Throttle) heard(h http.Header) {
	const header = "Retry-After"
	seconds, err := strconv.Atoi(h.Get(header))
	h.Del(header)
	if err != nil || seconds <= 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	// Within reason, and the longest wish counts.
	if until := t.clock.Now().Add(min(time.Duration(seconds)*time.Second, maxRetryAfter)); until.After(t.until) {
		t.until = until
	}
}
