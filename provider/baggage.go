package provider

import (
	"time"
)

// A remote pod is not made before what it refers to has arrived: a container whose optional Secret comes a moment after
// it runs without it for good, and a kubelet that misses a pull secret tries again with growing pauses.

const (
	// baggagePatience is for how long a pod waits. What has not arrived then is up to the provider's kubelet, which
	// waits for what is not optional, and says so.
	baggagePatience = 5 * time.Second
	// baggageLook is how often it is asked for meanwhile.
	baggageLook = 100 * time.Millisecond
)

// arrival returns nil when the remote pod may be made, as far as its baggage goes.
func (p *Pods) arrival(w *work) error {
	if p.opts.Baggage == nil || p.opts.Baggage(w.home) == "" {
		return nil
	}
	now := p.opts.Clock.Now()
	since := w.record.baggage
	if since.IsZero() {
		since = now
		p.memory.with(w.key, w.home.UID, func(r *record) { r.baggage = now })
	}
	if now.Sub(since) >= baggagePatience {
		return nil
	}
	return again{after: baggageLook}
}
