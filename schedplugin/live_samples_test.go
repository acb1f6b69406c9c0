package schedplugin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/component-base/metrics/testutil"
	schedulermetrics "k8s.io/kubernetes/pkg/scheduler/metrics"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin"
)

// testSpreadOfASample has more nodes than kube-scheduler puts in order for one pod, which is 100 here.
func testSpreadOfASample(c *cluster) {
	r := rooms{away: [2]room{{100, ""}, {100, ""}}}
	for range 130 {
		r.home = append(r.home, room{pods: 1})
	}
	s := c.stage("sample", r, policy(v1beta1.SpreadPreferHome, ""))
	s.create(s.pods(140)...)
	s.shared(140, 130, 10)
}

// testSpreadInBatches has nodes that are full after one pod, which is when the scheduler reuses the order of nodes.
func testSpreadInBatches(c *cluster) {
	hints := func() float64 {
		n, err := testutil.GetCounterMetricValue(schedulermetrics.BatchAttemptStats.WithLabelValues(
			v1beta1.SchedulerName, schedulermetrics.BatchAttemptHintUsed))
		if err != nil {
			c.t.Fatal(err)
		}
		return n
	}
	ours := func(b *build.PodBuilder) {
		b.Spec(func(s *corev1.PodSpec) { s.SchedulerName = v1beta1.SchedulerName })
	}
	single := func(home, first, second string) rooms {
		r := rooms{away: [2]room{{1, first}, {100, second}}}
		for range 12 {
			r.home = append(r.home, room{1, home})
		}
		return r
	}
	for _, test := range []struct {
		name    string
		rooms   rooms
		spread  func(*build.OffloadingBuilder)
		want    whereabouts
		batched bool
	}{
		{"batch-home", single("", "", ""), policy(v1beta1.SpreadPreferHome, ""), whereabouts{12, 0, 0}, true},
		{"batch-cost", single("2", "1", "3"), policy(v1beta1.SpreadWeighted, cost), whereabouts{11, 1, 0}, true},
		{"batch-even", rooms{single("", "", "").home, roomy().away}, unsaid, whereabouts{4, 4, 4}, false},
	} {
		c.t.Run(test.name, func(t *testing.T) {
			s := (&cluster{t, c.Client}).stage(test.name, test.rooms, test.spread)
			before := hints()
			s.create(s.pods(12, ours)...)
			s.landed(12, test.want)
			if used := hints() - before; (used > 0) != test.batched {
				t.Errorf("%v pods were scheduled in batches", used)
			}
		})
	}
}

func testMisreadWeight(c *cluster) {
	s := c.stage("misread", priced("3", "cheap", "5"), policy(v1beta1.SpreadWeighted, cost))
	s.create(s.pods(12)...)
	s.landed(12, whereabouts{10, 0, 2})
	deadline := time.After(settles)
	for tick := time.NewTicker(poll); ; {
		var all eventsv1.EventList
		if err := s.List(context.Background(), &all, client.InNamespace(s.ns)); err != nil {
			c.t.Fatal(err)
		}
		for _, event := range all.Items {
			if event.Reason == schedplugin.ReasonWeightIgnored && event.Regarding.Name == v1beta1.OffloadingName &&
				strings.Contains(event.Note, `misread-away-1 ("cheap")`) {
				return
			}
		}
		select {
		case <-deadline:
			c.t.Fatalf("no event says so; there are %d", len(all.Items))
		case <-tick.C:
		}
	}
}
