package namespacemap_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/namespacemap"
)

const (
	// patience is how long a state may take to come about; refused creations are tried every 30 s at the least.
	patience = 45 * time.Second
	poll     = 50 * time.Millisecond
	// managerUser and agentUser are who acts at home, peerUser on the providers.
	managerUser = "system:serviceaccount:liqo:controller-manager"
	agentUser   = ":virtual-kubelet"
	peerUser    = "system:serviceaccount:liqo-tenant-consumer:liqo-consumer"
)

// world is a home cluster with two providers and, in this process, the controller-manager and both agents: each with
// the rights that we ship and no others.
type world struct {
	t *testing.T
	// id is the home cluster's.
	id string
	// shop is the namespace of the story that is told, twin what it is called on the providers.
	shop, twin string
	home       *env.Cluster
	providers  []*env.Cluster
	identity   map[string]*rest.Config
	// race, on a provider, is run once between the read and the creation of a twin.
	race *race
	// stories counts those that were told.
	stories *atomic.Int32
	stop    func()
}

// race holds what shall happen right before the next creation of a namespace of that name.
type race struct {
	mu   sync.Mutex
	name string
	do   func()
}

func (r *race) arm(name string, do func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.name, r.do = name, do
}

func (r *race) before(object client.Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := object.(*corev1.Namespace); ok && r.do != nil && object.GetName() == r.name {
		r.do()
		r.do = nil
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	e := env.Start(t, env.Options{Providers: 2})
	w := &world{
		t: t, id: env.Consumer, home: e.Consumer(), providers: e.Providers(), stories: &atomic.Int32{},
	}
	w.begin()
	return w
}

// begin peers with the providers and starts everything.
func (w *world) begin() {
	w.t.Helper()
	w.identity, w.race = map[string]*rest.Config{}, &race{}
	w.identity["manager"] = w.identify(w.home, v1beta1.SystemNamespace, "controller-manager")
	for _, provider := range w.providers {
		if err := provider.Apply(w.t.Context(), "provider"); err != nil {
			w.t.Fatal(err)
		}
		w.peer(provider)
	}
	w.start()
	w.t.Cleanup(func() { w.stop() })
}

// peer gives both sides of a peering their namespaces, accounts and rights, as liqoctl would.
func (w *world) peer(provider *env.Cluster) {
	w.t.Helper()
	home, away := v1beta1.TenantNamespace(provider.Name), v1beta1.TenantNamespace(w.id)
	agent := rbacv1.Subject{Kind: "ServiceAccount", Namespace: home, Name: v1beta1.AgentServiceAccount}
	peer := rbacv1.Subject{Kind: "ServiceAccount", Namespace: away, Name: v1beta1.PeerServiceAccount}
	w.create(w.home,
		build.Namespace(home).Label(v1beta1.LabelTenantNamespace, "true").
			Label(v1beta1.LabelRemoteClusterID, provider.Name).Obj(),
		account(home, v1beta1.AgentServiceAccount),
		everywhere("agent-"+provider.Name, "liqo-virtual-kubelet", agent),
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: "agent"},
			RoleRef:    clusterRole("liqo-virtual-kubelet-tenant"), Subjects: []rbacv1.Subject{agent},
		})
	w.create(provider,
		build.Namespace(away).Label(v1beta1.LabelTenantNamespace, "true").
			Label(v1beta1.LabelRemoteClusterID, w.id).Obj(),
		account(away, v1beta1.PeerServiceAccount), everywhere("peer-"+w.id, "liqo-peer", peer))
	w.identity["agent of "+provider.Name] = w.identify(w.home, home, v1beta1.AgentServiceAccount)
	w.identity["peer on "+provider.Name] = w.identify(provider, away, v1beta1.PeerServiceAccount)
}

func account(namespace, name string) client.Object {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func clusterRole(name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
}

func everywhere(name, role string, subject rbacv1.Subject) client.Object {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: clusterRole(role), Subjects: []rbacv1.Subject{subject},
	}
}

func (w *world) identify(c *env.Cluster, namespace, name string) *rest.Config {
	w.t.Helper()
	identity, err := c.ConfigFor(w.t.Context(), namespace, name)
	if err != nil {
		w.t.Fatal(err)
	}
	identity.QPS = -1
	return identity
}

// start runs the controller-manager and the agents as their processes would; stop ends them without goodbye.
func (w *world) start() {
	w.t.Helper()
	byObject, err := namespacemap.CacheOptions()
	if err != nil {
		w.t.Fatal(err)
	}
	managers := []manager.Manager{w.manager("manager", byObject)}
	w.setUpHome(managers[0])
	for _, provider := range w.providers {
		tenant := map[string]cache.Config{v1beta1.TenantNamespace(provider.Name): {}}
		mgr := w.manager("agent of "+provider.Name, map[client.Object]cache.ByObject{
			&v1beta1.NamespaceMap{}: {Namespaces: tenant},
		})
		w.setUpAgent(mgr, provider)
		managers = append(managers, mgr)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, mgr := range managers {
		running.Go(func() {
			if err := mgr.Start(ctx); err != nil {
				w.t.Errorf("manager: %v", err)
			}
		})
	}
	w.stop = func() {
		cancel()
		running.Wait()
	}
}

func (w *world) manager(identity string, byObject map[client.Object]cache.ByObject) manager.Manager {
	w.t.Helper()
	scheme, err := env.Scheme()
	if err != nil {
		w.t.Fatal(err)
	}
	mgr, err := ctrl.NewManager(w.identity[identity], manager.Options{
		Scheme: scheme, Cache: cache.Options{ByObject: byObject},
		Metrics:                 metricsserver.Options{BindAddress: "0"},
		Controller:              config.Controller{SkipNameValidation: ptr.To(true)},
		GracefulShutdownTimeout: ptr.To(30 * time.Second),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return mgr
}

func (w *world) setUpHome(mgr manager.Manager) {
	w.t.Helper()
	home, live := mgr.GetClient(), mgr.GetAPIReader()
	for _, setUp := range []func(manager.Manager) error{
		(&namespacemap.Offloadings{
			Home: home, Live: live, ClusterID: w.id, Clock: clock.RealClock{},
			Events: mgr.GetEventRecorder("controller-manager"),
		}).SetupWithManager,
		(&namespacemap.Maps{Home: home, Live: live, Clock: clock.RealClock{}}).SetupWithManager,
		(&namespacemap.Quick{Home: home, Events: mgr.GetEventRecorder("controller-manager")}).SetupWithManager,
	} {
		if err := setUp(mgr); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) setUpAgent(mgr manager.Manager, provider *env.Cluster) {
	w.t.Helper()
	identity := w.identity["peer on "+provider.Name]
	plain, err := client.NewWithWatch(identity, client.Options{Scheme: mgr.GetScheme()})
	if err != nil {
		w.t.Fatal(err)
	}
	away := interceptor.NewClient(plain, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			w.race.before(o)
			return c.Create(ctx, o, opts...)
		},
	})
	watch, err := metadata.NewForConfig(identity)
	if err != nil {
		w.t.Fatal(err)
	}
	twins := &namespacemap.Twins{
		Home: mgr.GetClient(), Live: mgr.GetAPIReader(), Away: away,
		Origin: w.id, ClusterID: provider.Name, Resync: 2 * time.Second,
	}
	if err := twins.SetupWithManager(mgr, watch); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) create(c *env.Cluster, objects ...client.Object) {
	w.t.Helper()
	for _, object := range objects {
		if err := c.Client().Create(w.t.Context(), object); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) delete(c *env.Cluster, objects ...client.Object) {
	w.t.Helper()
	for _, object := range objects {
		if err := c.Client().Delete(w.t.Context(), object); err != nil {
			w.t.Fatal(err)
		}
	}
}

// read returns an object that must exist.
func read[T client.Object](w *world, c *env.Cluster, namespace, name string, object T) T {
	w.t.Helper()
	if err := c.Client().Get(w.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		w.t.Fatal(err)
	}
	return object
}

// change updates an object as a user would, against whoever else writes it.
func change[T client.Object](w *world, c *env.Cluster, object T, change func(T)) {
	w.t.Helper()
	w.eventually("a change of "+object.GetName(), func(ctx context.Context) bool {
		if c.Client().Get(ctx, client.ObjectKeyFromObject(object), object) != nil {
			return false
		}
		change(object)
		return c.Client().Update(ctx, object) == nil
	})
}

// eventually waits for a state.
func (w *world) eventually(what string, is func(context.Context) bool) {
	w.t.Helper()
	err := wait.PollUntilContextTimeout(w.t.Context(), poll, patience, true,
		func(ctx context.Context) (bool, error) { return is(ctx), nil })
	if err != nil {
		w.t.Fatalf("%s did not come about within %v", what, patience)
	}
}

func (w *world) gone(c *env.Cluster, namespace, name string, object client.Object) {
	w.t.Helper()
	w.eventually("the end of "+name+" on "+c.Name, func(ctx context.Context) bool {
		return apierrors.IsNotFound(c.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, object))
	})
}

// phase waits until an offloading is in a phase, and returns it.
func (w *world) phase(home string, want v1beta1.OffloadingPhase) *v1beta1.NamespaceOffloading {
	w.t.Helper()
	off := &v1beta1.NamespaceOffloading{}
	err := wait.PollUntilContextTimeout(w.t.Context(), poll, patience, true, func(ctx context.Context) (bool, error) {
		err := w.home.Client().Get(ctx, client.ObjectKey{Namespace: home, Name: v1beta1.OffloadingName}, off)
		return err == nil && off.Status.OffloadingPhase == want && off.Status.ObservedGeneration == off.Generation, nil
	})
	if err != nil {
		w.t.Fatalf("%s is not %s: %+v", home, want, off.Status)
	}
	return off
}

// offload makes a namespace with an offloading, and waits until it is ready.
func (w *world) offload(home string) *v1beta1.NamespaceOffloading {
	w.t.Helper()
	w.create(w.home, build.Namespace(home).Obj(), build.Offloading(home).Obj())
	return w.phase(home, v1beta1.PhaseReady)
}

// clean un-offloads a namespace, waits until nothing is left of that, and deletes it.
func (w *world) clean(home string) {
	w.t.Helper()
	w.delete(w.home, build.Offloading(home).Obj())
	w.gone(w.home, home, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
	w.delete(w.home, build.Namespace(home).Obj())
}
