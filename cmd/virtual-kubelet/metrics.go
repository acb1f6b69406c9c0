package main

import (
	"errors"
	"fmt"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// peeringMetrics tell how a shared agent fares with each of its peerings.
type peeringMetrics struct {
	up    *prometheus.GaugeVec
	ended *prometheus.CounterVec
}

func newPeeringMetrics(r prometheus.Registerer) (*peeringMetrics, error) {
	m := &peeringMetrics{
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "twinspace_agent_peering_served",
			Help: "1 while the shared agent serves the provider, 0 while it waits to, such as for a credential.",
		}, []string{"destination"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "twinspace_agent_peering_failures_total",
			Help: "How often the shared agent could not serve the provider, or had to begin anew.",
		}, []string{"destination"}),
	}
	if err := errors.Join(r.Register(m.up), r.Register(m.ended)); err != nil {
		return nil, fmt.Errorf("register metrics of peerings: %w", err)
	}
	return m, nil
}

// registered remembers what one peering has registered, so that it can be begun anew.
type registered struct {
	of  prometheus.Registerer
	mu  sync.Mutex
	all []prometheus.Collector
}

// Register registers a collector.
func (r *registered) Register(c prometheus.Collector) error {
	if err := r.of.Register(c); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, c)
	return nil
}

// MustRegister registers collectors, or panics.
func (r *registered) MustRegister(all ...prometheus.Collector) {
	for _, c := range all {
		if err := r.Register(c); err != nil {
			panic(err)
		}
	}
}

// Unregister takes a collector back.
func (r *registered) Unregister(c prometheus.Collector) bool { return r.of.Unregister(c) }

// forget takes everything back.
func (r *registered) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.all {
		r.of.Unregister(c)
	}
	r.all = nil
}
