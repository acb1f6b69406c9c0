package suite

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

const (
	// crashes is how often in a row everything of ours is killed, crowd how many namespaces there are, movers how many
	// of them are being offloaded or un-offloaded meanwhile. What takes time is Kubernetes deleting namespaces.
	crashes = 10
	crowd   = 200
	movers  = 50
	// settled is how long it may take until all have arrived.
	settled = 5 * time.Minute
	// crowdPrefix begins the names of these namespaces.
	crowdPrefix = "crash-"
	// starts is how often a process is started that loses its lease on a busy machine.
	starts = 3
	// askers is how many requests the scenario itself has under way at once.
	askers = 16
)

// TestCrashesLoseNoTwinAndLeaveNone kills the controller-manager and both agents while some namespaces are being
// offloaded and others un-offloaded, a part of these by the deletion of the home namespace; ten times in a row. Each is
// killed when a number of namespaces, drawn anew, has arrived: so it dies in the middle, on any machine.
func TestCrashesLoseNoTwinAndLeaveNone(t *testing.T) {
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // G115: any number will do
	t.Logf("seed %d", seed)
	c := &churn{
		WithT: NewWithT(t), t: t, ctx: t.Context(), home: playground.Consumer().Client(),
		random: rand.New(rand.NewPCG(seed, 0)), //nolint:gosec // G404: no secret
		there:  sets.New[string](), offloaded: sets.New[string](),
	}
	c.processes = map[string]*process{env.Manager: {lease: client.ObjectKey{
		Namespace: v1beta1.SystemNamespace, Name: env.Manager,
	}}}
	for _, provider := range providers() {
		c.processes[env.AgentOf(provider)] = &process{lease: client.ObjectKey{
			Namespace: v1beta1.TenantNamespace(provider), Name: env.Agent,
		}}
	}
	t.Cleanup(c.clear)
	for round := range crashes {
		start := time.Now()
		c.move()
		c.crash()
		c.settles()
		t.Logf("round %d: %d came, %d went, %d are offloaded; %.1fs", round+1, c.rising.Len(), c.falling.Len(),
			c.offloaded.Len(), time.Since(start).Seconds())
	}
}

// churn is a crowd of namespaces on the move.
type churn struct {
	*WithT
	t      *testing.T
	ctx    context.Context
	home   client.Client
	random *rand.Rand
	// there are the namespaces that shall exist at home, offloaded those of them that shall have twins.
	there, offloaded sets.Set[string]
	// rising and falling are those on the move.
	rising, falling sets.Set[string]
	// processes are those of ours, by component.
	processes map[string]*process
}

// process is one of ours, and its lease. The lock is held while it is killed and started.
type process struct {
	sync.Mutex
	lease client.ObjectKey
}

// move asks for the next state of some: who was offloaded is taken back, who was not is offloaded.
func (c *churn) move() {
	c.t.Helper()
	c.rising, c.falling = sets.New[string](), sets.New[string]()
	var deleted []string
	for _, i := range c.random.Perm(crowd)[:movers] {
		switch name := fmt.Sprintf("%s%03d", crowdPrefix, i); {
		case !c.offloaded.Has(name):
			c.rising.Insert(name)
		default:
			c.falling.Insert(name)
			if c.random.IntN(4) == 0 {
				deleted = append(deleted, name)
			}
		}
	}
	fresh := c.rising.Difference(c.there)
	c.there = c.there.Union(fresh).Delete(deleted...)
	c.offloaded = c.offloaded.Difference(c.falling).Union(c.rising)
	c.each(fresh, func(ctx context.Context, name string) error {
		return c.home.Create(ctx, build.Namespace(name).Obj())
	})
	c.each(c.rising.Union(c.falling), func(ctx context.Context, name string) error {
		switch {
		case c.rising.Has(name):
			return c.home.Create(ctx, build.Offloading(name).Obj())
		case slices.Contains(deleted, name):
			return c.home.Delete(ctx, build.Namespace(name).Obj())
		default:
			return c.home.Delete(ctx, build.Offloading(name).Obj())
		}
	})
}

func (c *churn) each(names sets.Set[string], do func(context.Context, string) error) {
	c.t.Helper()
	group, ctx := errgroup.WithContext(c.ctx)
	group.SetLimit(askers)
	for name := range names {
		group.Go(func() error { return do(ctx, name) })
	}
	c.Expect(group.Wait()).To(Succeed())
}

// crash kills each of our processes once, at a moment of its own, and starts it again.
func (c *churn) crash() {
	c.t.Helper()
	group, ctx := errgroup.WithContext(c.ctx)
	for _, name := range slices.Sorted(maps.Keys(c.processes)) {
		moment := c.random.IntN(c.rising.Len() + c.falling.Len())
		c.t.Logf("%s is killed when %d have arrived", name, moment)
		group.Go(func() error {
			err := wait.PollUntilContextTimeout(ctx, poll, settled, true, func(ctx context.Context) (bool, error) {
				arrived, err := c.arrived(ctx)
				return arrived >= moment, errors.Join(err, c.revive(ctx))
			})
			if err != nil {
				return fmt.Errorf("wait for the moment to kill %s: %w", name, err)
			}
			p := c.processes[name]
			p.Lock()
			defer p.Unlock()
			if err := c.startAfterLostLease(ctx, name); err != nil { // to be killed, it must live
				return err
			}
			return errors.Join(playground.Kill(ctx, env.Consumer, name), c.start(ctx, name))
		})
	}
	c.Expect(group.Wait()).To(Succeed())
}

// start starts a process that is dead, again if it loses its lease as it begins.
func (c *churn) start(ctx context.Context, name string) error {
	err := c.startOnce(ctx, name)
	for range starts - 1 {
		if lost, _ := lostLease(name); err == nil || !lost {
			break
		}
		err = c.startOnce(ctx, name)
	}
	return err
}

// startOnce takes the dead process' lease away, which is nobody's: otherwise it would be waited for until it runs out.
func (c *churn) startOnce(ctx context.Context, name string) error {
	key := c.processes[name].lease
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if err := c.home.Delete(ctx, lease); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete the lease of %s: %w", name, err)
	}
	return playground.Start(ctx, env.Consumer, name)
}

// revive starts again, as a kubelet would, what ended because it could not renew its lease in time, which happens on a
// machine that is too busy. What ended for another reason is a failure.
func (c *churn) revive(ctx context.Context) error {
	for _, running := range playground.Processes() {
		p, ours := c.processes[running.Component]
		if !ours || running.Alive() || !p.TryLock() {
			continue // or it is being killed just now
		}
		err := c.startAfterLostLease(ctx, running.Component)
		p.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *churn) startAfterLostLease(ctx context.Context, name string) error {
	for _, now := range playground.Processes() {
		if now.Component == name && now.Alive() {
			return nil // somebody was faster
		}
	}
	if lost, err := lostLease(name); err != nil || !lost {
		return errors.Join(err, fmt.Errorf("%s ended by itself, and not because it lost its lease", name))
	}
	c.t.Logf("%s could not renew its lease in time, and is started again", name)
	return c.start(ctx, name)
}

// lostLease says that a process ended because it could not renew its lease.
func lostLease(name string) (bool, error) {
	path, err := playground.LogPath(env.Consumer, name)
	if err != nil {
		return false, err
	}
	log, err := os.ReadFile(path)
	return strings.HasSuffix(strings.TrimSpace(string(log)), "leader election lost"), err
}

// arrived counts those on the move that are where they shall be, as far as home says so.
func (c *churn) arrived(ctx context.Context) (int, error) {
	ready, leaving := 0, 0
	var list v1beta1.NamespaceOffloadingList
	if err := c.home.List(ctx, &list); err != nil {
		return 0, err
	}
	for _, off := range list.Items {
		switch {
		case c.falling.Has(off.Namespace):
			leaving++
		case c.rising.Has(off.Namespace) && off.Status.OffloadingPhase == v1beta1.PhaseReady:
			ready++
		}
	}
	return ready + c.falling.Len() - leaving, nil
}

// settles waits until everything is as it was asked for, everywhere, and nothing is besides.
func (c *churn) settles() {
	c.t.Helper()
	c.Eventually(func(g Gomega) {
		g.Expect(c.revive(c.ctx)).To(Succeed())
		namespaces := c.homeSide(g)
		c.contract(g)
		for _, provider := range providers() {
			c.awaySide(g, provider, namespaces)
		}
	}).WithTimeout(settled).WithPolling(5 * poll).Should(Succeed())
}

// homeSide looks at what users see, and at the rights of agents; it returns the namespaces' UIDs.
func (c *churn) homeSide(g Gomega) map[string]string {
	var all corev1.NamespaceList
	g.Expect(c.home.List(c.ctx, &all)).To(Succeed())
	there, labelled := map[string]string{}, sets.New[string]()
	for _, namespace := range all.Items {
		if strings.HasPrefix(namespace.Name, crowdPrefix) {
			there[namespace.Name] = string(namespace.UID)
			if namespace.Labels[v1beta1.LabelSchedulingEnabled] != "" {
				labelled.Insert(namespace.Name)
			}
		}
	}
	same(g, sets.KeySet(there), c.there, "namespaces at home")
	same(g, labelled, c.offloaded, "labelled namespaces")

	var offloadings v1beta1.NamespaceOffloadingList
	g.Expect(c.home.List(c.ctx, &offloadings)).To(Succeed())
	ready := sets.New[string]()
	for _, off := range offloadings.Items {
		if strings.HasPrefix(off.Namespace, crowdPrefix) {
			g.Expect(off.Status.OffloadingPhase).To(Equal(v1beta1.PhaseReady), "%s: %+v", off.Namespace, off.Status)
			ready.Insert(off.Namespace)
		}
	}
	same(g, ready, c.offloaded, "offloadings")

	var bindings rbacv1.RoleBindingList
	g.Expect(c.home.List(c.ctx, &bindings, client.HasLabels{v1beta1.LabelRemoteClusterID})).To(Succeed())
	bound, want := sets.New[string](), sets.New[string]()
	for _, binding := range bindings.Items {
		if strings.HasPrefix(binding.Namespace, crowdPrefix) {
			bound.Insert(binding.Namespace + " " + binding.Name)
		}
	}
	for name := range c.offloaded {
		for _, provider := range providers() {
			want.Insert(name + " " + v1beta1.TenantNamespace(provider))
		}
	}
	same(g, bound, want, "role bindings at home")
	return there
}

// contract looks at the maps.
func (c *churn) contract(g Gomega) {
	var all v1beta1.NamespaceMapList
	g.Expect(c.home.List(c.ctx, &all)).To(Succeed())
	for _, m := range all.Items {
		desired, accepted := sets.New[string](), sets.New[string]()
		for name := range m.Spec.DesiredMapping {
			if strings.HasPrefix(name, crowdPrefix) {
				desired.Insert(name)
			}
		}
		for name, entry := range m.Status.CurrentMapping {
			if strings.HasPrefix(name, crowdPrefix) {
				g.Expect(entry.Phase).To(Equal(v1beta1.MappingAccepted), "%s for %s: %+v", name, m.Name, entry)
				accepted.Insert(name)
			}
		}
		same(g, desired, c.offloaded, "desired in the map of "+m.Name)
		same(g, accepted, c.offloaded, "entries in the map of "+m.Name)
	}
}

// awaySide looks for a provider's twins: each namespace has one that is its own, and no other is there.
func (c *churn) awaySide(g Gomega, provider string, homes map[string]string) {
	var all corev1.NamespaceList
	g.Expect(away(provider).List(c.ctx, &all, client.HasLabels{v1beta1.LabelRemoteClusterID})).To(Succeed())
	twins := sets.New[string]()
	for _, twin := range all.Items {
		name := twin.Annotations[v1beta1.AnnotationTwinHomeName]
		if !strings.HasPrefix(name, crowdPrefix) {
			continue
		}
		g.Expect(twins.Has(name)).To(BeFalse(), "two twins of %s on %s", name, provider)
		g.Expect(twin.DeletionTimestamp).To(BeNil(), "%s on %s is on its way out", twin.Name, provider)
		if c.offloaded.Has(name) {
			uid := twin.Annotations[v1beta1.AnnotationTwinHomeUID]
			g.Expect(uid).To(Equal(homes[name]), "%s on %s", twin.Name, provider)
		}
		twins.Insert(name)
	}
	same(g, twins, c.offloaded, "twins on "+provider)
}

// same fails with what is missing and what is left over, not with two lists of hundreds.
func same(g Gomega, is, want sets.Set[string], what string) {
	g.Expect(sets.List(want.Difference(is))).To(BeEmpty(), what+": missing")
	g.Expect(sets.List(is.Difference(want))).To(BeEmpty(), what+": left over")
}

// clear deletes the crowd; nobody waits for it.
func (c *churn) clear() {
	for name := range c.there {
		// The test's own context is done by now.
		err := c.home.Delete(context.Background(), build.Namespace(name).Obj())
		if client.IgnoreNotFound(err) != nil {
			c.t.Errorf("delete namespace %s: %v", name, err)
		}
	}
}
