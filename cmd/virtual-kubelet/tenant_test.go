package main

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/twinspace/twinspace/namespacemap"
)

func TestPausesBetweenAttemptsToServeAProvider(t *testing.T) {
	missing, broken := errors.New("there is no credential"), errors.New("broken")
	type attempt struct {
		err    error
		worked time.Duration
	}
	type answer struct {
		Pause time.Duration
		News  bool
	}
	for name, c := range map[string]struct {
		attempts []attempt
		want     []answer
	}{
		"what stays wrong is said once, and asked for less often": {
			[]attempt{{missing, 0}, {missing, 0}, {missing, 0}},
			[]answer{{time.Second, true}, {2 * time.Second, false}, {4 * time.Second, false}},
		},
		"up to a limit": {
			[]attempt{{missing, 0}, {missing, 0}, {missing, 0}, {missing, 0}, {missing, 0}, {missing, 0}, {missing, 0}},
			[]answer{
				{time.Second, true}, {2 * time.Second, false}, {4 * time.Second, false}, {8 * time.Second, false},
				{16 * time.Second, false}, {30 * time.Second, false}, {30 * time.Second, false},
			},
		},
		"something else is news": {
			[]attempt{{missing, 0}, {broken, 0}}, []answer{{time.Second, true}, {2 * time.Second, true}},
		},
		"after a time of work everything is new": {
			[]attempt{{broken, 0}, {broken, 0}, {broken, time.Hour}},
			[]answer{{time.Second, true}, {2 * time.Second, false}, {time.Second, true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, got := &restarts{}, []answer(nil)
			for _, a := range c.attempts {
				pause, news := r.after(a.err, a.worked)
				got = append(got, answer{pause, news})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestAPeeringThatIsBegunAnewRegistersItsMetricsAnew(t *testing.T) {
	all := prometheus.NewRegistry()
	of := func(destination string) *registered {
		return &registered{of: prometheus.WrapRegistererWith(prometheus.Labels{"destination": destination}, all)}
	}
	milan, turin := of("milan"), of("turin")
	for _, r := range []*registered{milan, turin} {
		if _, err := namespacemap.NewMetrics(r); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := namespacemap.NewMetrics(milan); err == nil {
		t.Error("the same metrics were registered twice for one peering")
	}
	milan.forget()
	if _, err := namespacemap.NewMetrics(milan); err != nil {
		t.Errorf("begun anew: %v", err)
	}
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "streams"})
	turin.MustRegister(gauge)
	gauge.Set(3)
	if n, err := testutil.GatherAndCount(all, "streams"); n != 1 || err != nil {
		t.Errorf("%d metrics, %v", n, err)
	}
	if !turin.Unregister(gauge) {
		t.Error("a metric cannot be taken back")
	}
}

func TestWhoServesAProviderIsSaidInMetrics(t *testing.T) {
	all := prometheus.NewRegistry()
	m, err := newPeeringMetrics(all)
	if err != nil {
		t.Fatal(err)
	}
	m.up.WithLabelValues("milan").Set(1)
	m.ended.WithLabelValues("turin").Inc()
	if n, err := testutil.GatherAndCount(all, "twinspace_agent_peering_served",
		"twinspace_agent_peering_failures_total"); n != 2 || err != nil {
		t.Errorf("%d metrics, %v", n, err)
	}
	if _, err := newPeeringMetrics(all); err == nil {
		t.Error("the same metrics were registered twice")
	}
}
