package reflection

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/e2e/build"
)

// Else they would have to be looked at again and again for as long as a watch is refused.
func TestWhatWaitsForAnotherKindIsLookedAtAsSoonAsThatIsKnown(t *testing.T) {
	known := make(chan struct{})
	home := newWatchedCluster(t, build.Service(testHome, "web"),
		build.EndpointSlice(testHome, "a", "web", "worker-1", "10.0.0.1"))
	home.WithWatch = interceptor.NewClient(home.WithWatch, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, services := list.(*corev1.ServiceList); services {
				<-known
			}
			return c.List(ctx, list, opts...)
		},
	})
	away := newWatchedCluster(t)
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	clk := clocktesting.NewFakeClock(time.Now()) // which stands still: no attempt is due
	m, err := New(Options{
		Origin: "home", Destination: "provider-1", Events: record.NewFakeRecorder(100), Metrics: metrics, Clock: clk,
		Home:  NewSources(SourceOptions{Client: home}),
		Away:  NewSources(SourceOptions{Client: away}),
		Kinds: []Reflected{mirror(Services(noClasses)), mirror(EndpointSlices(facts()))},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(log.IntoContext(context.Background(), logr.Discard()))
	var running sync.WaitGroup
	running.Go(func() { _ = m.Start(ctx) })
	defer running.Wait()
	defer cancel()
	m.TwinReady(testHome, testAway)
	failed := metrics.passes.WithLabelValues("provider-1", "endpointslices", outcomeError)
	if !becomes(t, func() bool { return testutil.ToFloat64(failed) > 0 }) {
		t.Error("the slice did not wait for its Service")
	}
	close(known)
	there := func() bool {
		at := client.ObjectKey{Namespace: testAway, Name: "a.home"}
		return away.Get(t.Context(), at, &discoveryv1.EndpointSlice{}) == nil
	}
	if !becomes(t, there) {
		t.Error("the slice still waits for its Service")
	}
	if n := testutil.ToFloat64(failed); n != 1 {
		t.Errorf("%v attempts were made before anything could be known", n)
	}
}

// Whoever starts a pod now must not take the copy for what home has.
func TestAChangeWhileACopyIsWrittenIsStillAwaited(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	r, p := h.reflector("configmaps"), h.pair("configmaps")
	s := homeSide{side{r, h.m.twins[testHome], p}}
	s.changed(nil, configMap("settings"))
	newer := configMap("settings")
	newer.Data["key"] = "new"
	h.refuse = func(call string, _ client.Object) error {
		if call == "create" {
			h.has(newer)
			s.changed(nil, newer)
		}
		return nil
	}
	h.settle("configmaps", "settings")
	if fresh, _ := p.standing("settings"); fresh {
		t.Error("the copy passes for what home has now")
	}
	h.settle("configmaps", "settings")
	if fresh, _ := p.standing("settings"); !fresh {
		t.Error("the copy does not pass for what home has")
	}
}
