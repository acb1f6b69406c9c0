package remote

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// RequestDuration is the name of the metric that says how long a provider takes, in seconds.
const RequestDuration = "twinspace_remote_request_duration_seconds"

// newRequests is the measure of how long a provider takes. Its upper buckets are the deadline of an answer and what
// nothing may ever exceed, name look-up, connection and handshake included.
func newRequests() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: RequestDuration,
		Help: "Time until the answer to a request to the provider began, or the request was given up; " +
			"of a container's log, which begins when there is something in it, nothing is measured.",
		Buckets: []float64{0.005, 0.02, 0.1, 0.5, 1, 2.5, 5, 10, 20, 45},
	}, []string{"method"})
}

// Register makes the connection's metrics known.
func (c *Cluster) Register(r prometheus.Registerer) error {
	if err := r.Register(c.requests); err != nil {
		return fmt.Errorf("register metrics of requests: %w", err)
	}
	return nil
}
