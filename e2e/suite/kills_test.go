package suite

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	past "github.com/twinspace/twinspace/e2e/history"
)

const (
	// deaths is how often each agent is killed; provider does it at every single step, a hundred times each.
	deaths = 8
	// busiest is after how many changes of pods, at most, an agent dies.
	busiest = 16
)

// O11 and the invariants, with real processes: agents are killed in the middle of pods that come and go, and no pod is
// lost, doubled or restarted.
func TestAgentsThatAreKilledInTheMiddleLoseNoPod(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // G115: any number will do
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // G404: no secret
	w := newWorld(t, "killed")
	w.remote()
	c := w.chronicle()
	w.create(statefulSet(w.ns, "db", 3), build.Deployment("web").Namespace(w.ns).Replicas(6).Obj())
	w.running(9)
	for range deaths {
		pods := w.running(9)
		random.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
		victims := map[string]int{}
		for _, provider := range providers() {
			victims[provider] = random.IntN(busiest)
		}
		round, ctx := errgroup.WithContext(w.ctx)
		for provider, moment := range victims {
			round.Go(func() error {
				after(ctx, c.away[provider], moment)
				return errors.Join(playground.Kill(ctx, env.Consumer, env.AgentOf(provider)), revive(ctx, provider))
			})
		}
		for i := range pods[:5] {
			w.Expect(w.home.Delete(w.ctx, &pods[i])).To(Succeed())
		}
		w.Expect(round.Wait()).To(Succeed())
	}
	w.running(9)
	w.twinPods(9)
	w.kept(c)
}

// after waits for so many more changes, or for some seconds if there are no more.
func after(ctx context.Context, r *past.Recorder, changes int) {
	ctx, cancel := context.WithTimeout(ctx, steady)
	defer cancel()
	began, seen := time.Now(), 0
	// That the time is over is no failure.
	_ = r.Follow(ctx, func(c past.Change) (bool, error) {
		if c.At.After(began) {
			seen++
		}
		return seen >= changes, nil
	})
}

// revive starts a dead agent. Its lease is nobody's, and would otherwise be waited for until it runs out.
func revive(ctx context.Context, provider string) error {
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1beta1.TenantNamespace(provider), Name: env.Agent,
	}}
	err := playground.Consumer().Client().Delete(ctx, lease)
	return errors.Join(client.IgnoreNotFound(err), playground.Start(ctx, env.Consumer, env.AgentOf(provider)))
}
