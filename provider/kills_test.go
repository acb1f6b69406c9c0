package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/history"
)

const (
	// kills is how often an agent ends at each moment, fewKills with -short.
	kills, fewKills = 100, 5
	// together is how many pods are alive at once while it does.
	together = 4
)

// The agent is killed at every step between the creation of a remote pod and the end of the home pod, a hundred times
// at each: just before a request leaves it, and after a server has done what it says and before the agent hears of it.
// What must be true afterwards is read from what the API servers said all the while.
func TestAnAgentThatIsKilledAtAnyStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	heard := func(says string, after bool) moment {
		return moment{side: toHome, verb: "PATCH", sub: "status", says: says, after: after}
	}
	for name, m := range map[string]moment{
		"before the remote pod is created":       {side: toAway, verb: "POST", sub: "pods"},
		"after the remote pod was created":       {side: toAway, verb: "POST", sub: "pods", after: true},
		"before home hears that the pod runs":    heard(saysRuns, false),
		"after home heard that the pod runs":     heard(saysRuns, true),
		"before home hears of a restart":         heard(saysRestarts, false),
		"after home heard of a restart":          heard(saysRestarts, true),
		"before home hears how the pod ended":    heard(saysEnds, false),
		"after home heard how the pod ended":     heard(saysEnds, true),
		"before the remote pod is deleted":       {side: toAway, verb: "DELETE"},
		"after the remote pod was deleted":       {side: toAway, verb: "DELETE", after: true},
		"before the home pod is deleted":         {side: toHome, verb: "DELETE"},
		"after the home pod was deleted":         {side: toHome, verb: "DELETE", after: true},
		"before an orphan is looked for at home": {side: toHome, verb: "GET"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := w.shop(t, fmt.Sprintf("shop-%02d", shops.Add(1)))
			many := kills
			if testing.Short() {
				many = fewKills
			}
			(&killing{shop: shop, killer: &killer{moment: m, armed: map[string]bool{}}}).run(many)
		})
	}
}

// killing is one moment, and the roles around it: users, the provider's kubelet, and one agent after the other.
type killing struct {
	*shop
	killer         *killer
	homes, remotes *history.Recorder

	mu      sync.Mutex
	broken  []string
	longest time.Duration
}

func (k *killing) run(many int) {
	k.Helper()
	foreign := must(k.T, k.away.CoreV1().Pods(k.twin).Create,
		build.Pod("foreign").Namespace(k.twin).Label(v1beta1.LabelOrigin, "home").Obj())
	k.homes, k.remotes = k.recorder(k.home, k.ns), k.recorder(k.away, k.twin)

	ctx, cancel := context.WithCancel(k.Context())
	defer cancel()
	roles, ctx := errgroup.WithContext(ctx)
	roles.Go(func() error { return untilDone(ctx, k.kubelet) })
	roles.Go(func() error { return untilDone(ctx, k.agents) })
	users, userCtx := errgroup.WithContext(ctx)
	for n := range together {
		name := fmt.Sprintf("%s-%d", []string{"db", jobs}[n%2], n)
		users.Go(func() error { return k.user(userCtx, name, many) })
	}
	err := users.Wait()
	if err == nil {
		k.eventually("nothing is left at the provider", func() error { return k.cleared(ctx) })
	}
	cancel()
	if err = errors.Join(err, roles.Wait()); err != nil {
		k.Fatal(err)
	}
	k.Logf("%d kills, %d incarnations, no pod took longer than %s to go on", k.killer.count(), k.killer.lived(),
		k.longest.Round(time.Millisecond))
	k.judge(many, foreign)
}

// cleared says what remote pods there are; the foreign one is no such pod.
func (k *killing) cleared(ctx context.Context) error {
	list, err := k.away.CoreV1().Pods(k.twin).List(ctx, metav1.ListOptions{})
	if err == nil && len(list.Items) > 1 {
		err = fmt.Errorf("%d pods", len(list.Items))
	}
	return err
}

// untilDone runs a role that ends with the test.
func untilDone(ctx context.Context, role func(context.Context) error) error {
	if err := role(ctx); ctx.Err() == nil {
		return err
	}
	return nil
}

func (k *killing) recorder(client kubernetes.Interface, namespace string) *history.Recorder {
	k.Helper()
	r, err := history.Record(k.Context(), namespace, client.CoreV1().Pods(namespace))
	if err != nil {
		k.Fatal(err)
	}
	return r
}

// judge checks the invariants of docs/acceptance.md. Which of two clusters' changes came first is the kubelet's to say:
// it looks before it ends a pod.
func (k *killing) judge(many int, foreign *corev1.Pod) {
	k.Helper()
	h := history.History{Slack: converges}
	for changes, r := range map[*[]history.Change]*history.Recorder{&h.Home: k.homes, &h.Away: k.remotes} {
		var err error
		if *changes, err = r.Changes(k.Context()); err != nil {
			k.Fatal(err)
		}
	}
	for _, sentence := range slices.Concat(h.Broken(), h.AtRest(k.node()), k.broken) {
		k.Error(sentence)
	}
	if n := k.killer.count(); n < many {
		k.Errorf("%d kills, want %d", n, many)
	}
	if got, err := k.awayPod(foreign.Name); err != nil || got.ResourceVersion != foreign.ResourceVersion {
		k.Errorf("I6: a foreign pod was touched: %v", err)
	}
}

func (k *killing) breaks(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.broken = append(k.broken, fmt.Sprintf(format, args...))
}

// agents lives one incarnation after the other, each as a process would: with nothing of what the last one knew.
func (k *killing) agents(ctx context.Context) error {
	homeward, awayward := k.line(0), k.line(1)
	for ctx.Err() == nil {
		i := k.killer.born()
		p := NewPods(PodsOptions{
			Home: i.client(k.T, homeward, toHome), Away: i.client(k.T, awayward, toAway),
			Origin: "home", Destination: provider, NodeIPs: []string{"192.0.2.1"}, Recorder: &events.FakeRecorder{},
		})
		p.TwinReady(k.ns, k.twin)
		p.Serve(k.node(), nil)
		life, end := context.WithCancel(ctx)
		stop := context.AfterFunc(i.ctx, end)
		err := p.Start(life)
		stop()
		end()
		i.end()
		if err != nil {
			return err
		}
	}
	return nil
}

// user makes pods of one name, one after the other, each armed once, until there were enough kills.
func (k *killing) user(ctx context.Context, name string, many int) error {
	pods := k.home.CoreV1().Pods(k.ns)
	for k.killer.count() < many {
		k.killer.arm(name)
		pod, err := pods.Create(ctx, build.Pod(name).Namespace(k.ns).Node(k.node()).Obj(), metav1.CreateOptions{})
		if err != nil {
			return fmt.Errorf("create %s: %w", name, err)
		}
		settled := func(c history.Change) bool { return settledDown(c.Pod) }
		if err := k.until(ctx, pod, "has done all it does", settled); err != nil {
			return err
		}
		err = pods.Delete(ctx, name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(pod.UID))})
		if err != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
		if err := k.until(ctx, pod, "goes", func(c history.Change) bool { return c.Gone }); err != nil {
			return err
		}
	}
	return nil
}

func seenAs(pod *corev1.Pod) string {
	if pod == nil {
		return "not heard of"
	}
	return fmt.Sprintf("%s (%s), deleted at %v, %+v", pod.Status.Phase, pod.Status.Reason, pod.DeletionTimestamp,
		pod.Status.Conditions)
}

// until waits for a change of one home pod.
func (k *killing) until(ctx context.Context, pod *corev1.Pod, what string, is func(history.Change) bool) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, converges)
	defer cancel()
	var last *corev1.Pod
	err := k.homes.Follow(ctx, func(c history.Change) (bool, error) {
		if c.Pod.UID != pod.UID {
			return false, nil
		}
		last = c.Pod
		return is(c), nil
	})
	if err != nil {
		return fmt.Errorf("wait until pod %s %s: %w; it is %s", pod.Name, what, err, seenAs(last))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.longest = max(k.longest, time.Since(began))
	return nil
}
