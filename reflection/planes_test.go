package reflection_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/reflection"
	"github.com/twinspace/twinspace/reflection/remote"
)

const (
	origin      = "consumer"
	destination = "provider-1"
	patience    = 2 * time.Minute
	peer        = "system:serviceaccount:liqo-tenant-consumer:liqo-consumer"
)

// world is two API servers, and a Mirror between them that has the rights which we ship and no others.
type world struct {
	t          *testing.T
	home, away *env.Cluster
	agent      *rest.Config
	provider   remote.Credential
	pods       *pods
	events     *record.FakeRecorder
	policies   reflection.Policies
	scope      reflection.Scope
	classes    []v1beta1.IngressType
	stop       func()
	mirror     *reflection.Mirror
}

func TestReflectionBetweenAPIServers(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	planes := env.Planes(t, 2)
	w := &world{t: t, home: planes[0], away: planes[1], pods: &pods{}, events: record.NewFakeRecorder(1000)}
	w.prepare()
	audit, err := w.away.Audit()
	if err != nil {
		t.Fatal(err)
	}
	afterPlanes := goleak.IgnoreCurrent()
	w.start()
	for _, story := range []struct {
		name string
		tell func(*world)
	}{
		{"the four kinds are created, changed and deleted", (*world).fourKinds},
		{"a foreign object is never touched", (*world).foreign},
		{"a copy that others change is put right", (*world).drift},
		{"large objects are carried", (*world).large},
		{"what cannot be changed is replaced", (*world).immutable},
		{"a restart of a steady system writes nothing", (*world).restart},
		{"endpoints are what the provider can reach", (*world).endpoints},
		{"a Service becomes any other", (*world).services},
		{"a twin that leaves is not written into, and can come again", (*world).again},
	} {
		t.Run(story.name, func(t *testing.T) {
			told := *w
			told.t = t
			story.tell(&told)
			w.stop, w.mirror = told.stop, told.mirror
		})
	}
	w.stop()
	for _, event := range w.audited(audit, func(user string, _ bool) bool { return user == peer }) {
		// A watch may be a moment earlier than the API server's notice of the role binding.
		if strings.HasSuffix(event, " 403") && !strings.HasPrefix(event, "watch ") {
			t.Errorf("the peer's rights do not suffice: %s", event)
		}
	}
	// Connections close in their own time after the last watch on them has ended.
	goleak.VerifyNone(t, ignore, afterPlanes, goleak.IgnoreAnyFunction("internal/poll.(*FD).Read"))
}

// prepare installs the rights on both sides and becomes the agent and the peer.
func (w *world) prepare() {
	w.t.Helper()
	ctx := w.t.Context()
	for cluster, folder := range map[*env.Cluster]string{w.home: "base", w.away: "provider"} {
		if err := cluster.Apply(ctx, folder); err != nil {
			w.t.Fatal(err)
		}
	}
	tenantAtHome, tenantAway := v1beta1.TenantNamespace(destination), v1beta1.TenantNamespace(origin)
	w.create(w.home, build.Namespace(tenantAtHome).Obj(), account(tenantAtHome, v1beta1.AgentServiceAccount))
	w.create(w.away, build.Namespace(tenantAway).Obj(), account(tenantAway, v1beta1.PeerServiceAccount))
	var err error
	if w.agent, err = w.home.ConfigFor(ctx, tenantAtHome, v1beta1.AgentServiceAccount); err != nil {
		w.t.Fatal(err)
	}
	w.agent.QPS, w.agent.Burst = 200, 400
	peer, err := w.away.ConfigFor(ctx, tenantAway, v1beta1.PeerServiceAccount)
	if err != nil {
		w.t.Fatal(err)
	}
	ca := peer.CAData
	if len(ca) == 0 {
		if ca, err = os.ReadFile(peer.CAFile); err != nil {
			w.t.Fatal(err)
		}
	}
	w.provider = remote.Credential{Server: peer.Host, CA: ca, Token: peer.BearerToken}
}

// start runs a Mirror as a process would.
func (w *world) start() {
	w.t.Helper()
	cluster, err := remote.New(w.provider, remote.Options{UserAgent: "reflection-test"})
	if err != nil {
		w.t.Fatal(err)
	}
	away, err := reflection.NewClient(cluster.Config(), cluster.HTTPClient())
	if err != nil {
		w.t.Fatal(err)
	}
	hc, err := rest.HTTPClientFor(w.agent)
	if err != nil {
		w.t.Fatal(err)
	}
	home, err := reflection.NewClient(w.agent, hc)
	if err != nil {
		w.t.Fatal(err)
	}
	metrics, err := reflection.NewMetrics(prometheus.NewRegistry())
	if err != nil {
		w.t.Fatal(err)
	}
	facts := reflection.Facts{
		OurNode:   func(name string) bool { return name == "vn-1" },
		ClusterOf: clusterOf,
		Pods:      w.pods,
		Reach:     w.reach(),

		IngressClasses: func() []v1beta1.IngressType { return w.classes },
		LoadBalancerClasses: func() []v1beta1.LoadBalancerType {
			return []v1beta1.LoadBalancerType{{LoadBalancerClassName: "provider.example/lb", Default: true}}
		},
	}
	w.mirror, err = reflection.New(reflection.Options{
		Origin: origin, Destination: destination,
		Home:  reflection.NewSources(reflection.SourceOptions{Client: home, Cluster: "home", Scope: w.scope}),
		Away:  reflection.NewSources(reflection.SourceOptions{Client: away, Cluster: destination, Scope: w.scope}),
		Kinds: reflection.Kinds(facts), Policies: w.policies, Events: w.events, Metrics: metrics,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(log.IntoContext(context.Background(), logr.Discard()))
	var running sync.WaitGroup
	running.Go(func() { _ = w.mirror.Start(ctx) })
	running.Go(func() { _ = cluster.Run(ctx) })
	w.stop = func() {
		cancel()
		running.Wait()
		utilnet.CloseIdleConnectionsFor(hc.Transport)
		utilnet.CloseIdleConnectionsFor(cluster.HTTPClient().Transport)
	}
}

// offload makes a namespace, its twin, and the rights in both; the one at home comes late, as it does in life.
func (w *world) offload(name string) (home, away string) {
	w.t.Helper()
	twin := name + "-" + origin
	w.create(w.home, build.Namespace(name).Obj())
	w.create(w.away, build.Namespace(twin).Label(v1beta1.LabelRemoteClusterID, origin).Obj(),
		binding(twin, v1beta1.TwinRole, v1beta1.TenantNamespace(origin), v1beta1.PeerServiceAccount))
	w.mirror.TwinReady(name, twin)
	w.create(w.home, binding(name, v1beta1.OffloadedNamespaceRole,
		v1beta1.TenantNamespace(destination), v1beta1.AgentServiceAccount))
	return name, twin
}

func account(namespace, name string) client.Object {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

func binding(namespace, role, accountNamespace, accountName string) client.Object {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: accountNamespace, Name: accountName}},
	}
}

func (w *world) create(c *env.Cluster, objs ...client.Object) {
	w.t.Helper()
	for _, obj := range objs {
		if err := c.Client().Create(w.t.Context(), obj); err != nil {
			w.t.Fatal(err)
		}
	}
}

// change updates an object as a user of that cluster.
func change[T client.Object](w *world, c *env.Cluster, obj T, change func(T)) {
	w.t.Helper()
	if err := c.Client().Get(w.t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
		w.t.Fatal(err)
	}
	change(obj)
	if err := c.Client().Update(w.t.Context(), obj); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) delete(c *env.Cluster, objs ...client.Object) {
	w.t.Helper()
	for _, obj := range objs {
		if err := c.Client().Delete(w.t.Context(), obj); err != nil {
			w.t.Fatal(err)
		}
	}
}

func at(namespace, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: namespace, Name: name}
}

// eventually waits until the object in the twin is as the test says.
func eventually[T client.Object](w *world, obj T, key client.ObjectKey, what string, is func(T) bool) {
	w.t.Helper()
	err := wait.PollUntilContextTimeout(w.t.Context(), 50*time.Millisecond, patience, true,
		func(ctx context.Context) (bool, error) {
			err := w.away.Client().Get(ctx, key, obj)
			return err == nil && is(obj), client.IgnoreNotFound(err)
		})
	if err != nil {
		w.t.Fatalf("%s is not %s: %v\n%+v", key, what, err, obj)
	}
}

func (w *world) eventuallyGone(obj client.Object, namespace, name string) {
	w.t.Helper()
	err := wait.PollUntilContextTimeout(w.t.Context(), 50*time.Millisecond, patience, true,
		func(ctx context.Context) (bool, error) {
			err := w.away.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, obj)
			return err != nil, client.IgnoreNotFound(err)
		})
	if err != nil {
		w.t.Fatalf("%s/%s is still there: %v", namespace, name, err)
	}
}

// audited returns what the users that match did since the audit began.
func (w *world) audited(audit *env.Audit, match func(user string, write bool) bool) []string {
	w.t.Helper()
	events, err := audit.Events()
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, e := range events {
		if match(e.User.Username, env.IsWrite(e)) && e.ObjectRef != nil && e.ResponseStatus != nil {
			out = append(out, fmt.Sprintf("%s %s %s/%s %d",
				e.Verb, e.ObjectRef.Resource, e.ObjectRef.Namespace, e.ObjectRef.Name, e.ResponseStatus.Code))
		}
	}
	return out
}

// pods are the pods at home.
type pods struct {
	mu     sync.Mutex
	all    []*corev1.Pod
	onEach []func(*corev1.Pod)
}

func (p *pods) List(namespace string) ([]*corev1.Pod, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*corev1.Pod
	for _, pod := range p.all {
		if pod.Namespace == namespace {
			out = append(out, pod)
		}
	}
	return out, true
}

func (p *pods) OnChange(f func(*corev1.Pod)) { p.onEach = append(p.onEach, f) }

func (p *pods) add(pod *corev1.Pod) {
	p.mu.Lock()
	p.all = append(p.all, pod)
	p.mu.Unlock()
	for _, f := range p.onEach {
		f(pod)
	}
}

func configMap(namespace, name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data}
}

func one(key, value string) map[string]string { return map[string]string{key: value} }

func is(key, value string) func(*corev1.ConfigMap) bool {
	return func(c *corev1.ConfigMap) bool { return c.Data[key] == value }
}

func slice(namespace, name string, addresses ...string) *discoveryv1.EndpointSlice {
	return build.EndpointSlice(namespace, name, "web", "worker-1", addresses...)
}
