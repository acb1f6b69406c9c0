package reflection

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// unasked is a Mirror of Secrets between two clusters, with a clock of the test's and a twin where nothing refers to
// a Secret.
type unasked struct {
	*testing.T
	home, away *watchedCluster
	clock      *clocktesting.FakeClock
}

func newUnasked(t *testing.T, scope Scope) *unasked {
	t.Helper()
	u := &unasked{t, newWatchedCluster(t, secret("pull")), newWatchedCluster(t), clocktesting.NewFakeClock(time.Now())}
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Options{
		Origin: "home", Destination: "provider-1",
		Home:  NewSources(SourceOptions{Client: u.home, Cluster: "home", Scope: scope}),
		Away:  NewSources(SourceOptions{Client: u.away, Cluster: "provider-1", Scope: scope}),
		Kinds: []Reflected{mirror(Secrets(&fakePods{}, ourNode))}, Events: record.NewFakeRecorder(100),
		Metrics: metrics, Clock: u.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(log.IntoContext(context.Background(), logr.Discard()))
	var running sync.WaitGroup
	running.Go(func() { _ = m.Start(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	m.TwinReady(testHome, testAway)
	u.home.expectWatches(t, testHome)
	u.away.expectWatches(t, testAway)
	return u
}

// annotates has the Secret at home go.
func (u *unasked) annotates() {
	u.Helper()
	forced := secret("pull")
	forced.Annotations = map[string]string{v1beta1.AnnotationAllowReflection: "true"}
	forced.UID = "home-uid"
	if err := u.home.Update(u.Context(), forced); err != nil {
		u.Fatal(err)
	}
}

func (u *unasked) copied() bool {
	return u.away.Get(u.Context(), client.ObjectKey{Namespace: testAway, Name: "pull"}, &corev1.Secret{}) == nil
}

func TestAnAnnotatedSecretGoesThoughNothingEverReferredToOne(t *testing.T) {
	u := newUnasked(t, ScopeNamespace)
	looks := 0
	becomes(t, func() bool { // far more than it takes in the other scope
		u.clock.Step(restAfter)
		looks++
		return looks == 100 || len(u.home.watches()) == 0
	})
	u.annotates()
	if !becomes(t, u.copied) {
		t.Error("the annotation was not seen")
	}
	u.home.expectWatches(t, testHome)
}

func TestInClusterScopeSecretsAreNotWatchedWhereNothingRefersToOne(t *testing.T) {
	u := newUnasked(t, ScopeCluster)
	unwatched := func() bool {
		u.clock.Step(restAfter)
		return len(u.home.watches())+len(u.away.watches()) == 0
	}
	if !becomes(t, unwatched) {
		t.Error("Secrets are still watched")
	}
	u.home.expectWatches(t)
	u.away.expectWatches(t)
}
