package reflection

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/tools/cache"
)

// objects counts, whenever somebody asks, the copies that the watches on the providers show.
type objects struct {
	desc    *prometheus.Desc
	mu      sync.Mutex
	mirrors map[*Mirror]struct{}
}

func newObjects() *objects {
	return &objects{
		desc: prometheus.NewDesc("liqo_reflection_objects",
			"Copies that are on the provider.", []string{"destination", "resource"}, nil),
		mirrors: map[*Mirror]struct{}{},
	}
}

// count includes the copies of a Mirror until the returned function is called.
func (o *objects) count(m *Mirror) (stop func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.mirrors[m] = struct{}{}
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.mirrors, m)
	}
}

// Describe is of [prometheus.Collector].
func (o *objects) Describe(out chan<- *prometheus.Desc) { out <- o.desc }

// Collect is of [prometheus.Collector].
func (o *objects) Collect(out chan<- prometheus.Metric) {
	o.mu.Lock()
	mirrors := make([]*Mirror, 0, len(o.mirrors))
	for m := range o.mirrors {
		mirrors = append(mirrors, m)
	}
	o.mu.Unlock()
	for _, m := range mirrors {
		for resource, n := range m.copies() {
			out <- prometheus.MustNewConstMetric(o.desc, prometheus.GaugeValue, float64(n),
				m.opts.Destination, resource)
		}
	}
}

// copies counts the copies by resource.
func (m *Mirror) copies() map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]int{}
	for _, r := range m.reflectors {
		out[r.kind.resource] = 0
	}
	for _, t := range m.twins {
		for resource, p := range t.all() {
			keys, _ := p.away.source.store.IndexKeys(cache.NamespaceIndex, t.away) // fails only without the index
			out[resource] += len(keys)
		}
	}
	return out
}
