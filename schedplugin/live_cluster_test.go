package schedplugin_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/kubernetes/pkg/scheduler"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	configscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	configv1 "k8s.io/kubernetes/pkg/scheduler/apis/config/v1"
	"k8s.io/kubernetes/pkg/scheduler/profile"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin"
)

const (
	// settles is long enough for anything that happens by itself, on a busy machine.
	settles = 20 * time.Second
	poll    = 20 * time.Millisecond
	// quiet is how long a pod is watched that must not move.
	quiet = 700 * time.Millisecond
)

// register has kube-scheduler know the arguments of the plugin, as its command does.
var register = sync.OnceFunc(func() {
	schedplugin.AddToScheme(configscheme.Scheme, configv1.GetPluginArgConversionScheme())
})

// profiles reads one of the configurations that the project ships, as strictly as kube-scheduler does.
func profiles(t *testing.T, file string) *config.KubeSchedulerConfiguration {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "manifests", "scheduler", file))
	if err != nil {
		t.Fatal(err)
	}
	register()
	obj, _, err := configscheme.Codecs.UniversalDecoder().Decode(data, nil, nil)
	if err != nil {
		t.Fatalf("decode %s: %v", file, err)
	}
	return obj.(*config.KubeSchedulerConfiguration)
}

// startScheduler runs a scheduler inside the test, with one of the shipped configurations and with the rights that
// kube-scheduler has on a home cluster. A test may change the configuration beforehand.
func startScheduler(t *testing.T, admin *rest.Config, configuration string,
	changes ...func(*config.KubeSchedulerProfile),
) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cfg := profiles(t, configuration)
	for _, change := range changes {
		change(&cfg.Profiles[0])
	}
	c := rest.CopyConfig(admin)
	c.Impersonate = rest.ImpersonationConfig{UserName: "system:kube-scheduler"}
	c.QPS, c.Burst = cfg.ClientConnection.QPS, int(cfg.ClientConnection.Burst)
	core, err := kubernetes.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	anything, err := dynamic.NewForConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: core.EventsV1()})
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		t.Fatal(err)
	}
	factory := scheduler.NewInformerFactory(core, 0)
	s, err := scheduler.New(ctx, core, factory, dynamicinformer.NewDynamicSharedInformerFactory(anything, 0),
		profile.NewRecorderFactory(broadcaster),
		scheduler.WithKubeConfig(c), scheduler.WithProfiles(cfg.Profiles...),
		scheduler.WithFrameworkOutOfTreeRegistry(schedplugin.Plugins()),
		scheduler.WithPodInitialBackoffSeconds(cfg.PodInitialBackoffSeconds),
		scheduler.WithPodMaxBackoffSeconds(cfg.PodMaxBackoffSeconds),
	)
	if err != nil {
		t.Fatalf("make scheduler: %v", err)
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	if err := s.WaitForHandlersSync(ctx); err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { s.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		done.Wait()
		broadcaster.Shutdown()
	})
}

// cluster is a home cluster, as a test sees it.
type cluster struct {
	t *testing.T
	client.Client
}

func (c *cluster) create(objs ...client.Object) {
	c.t.Helper()
	for _, obj := range objs {
		if err := c.Create(context.Background(), obj); err != nil && !apierrors.IsAlreadyExists(err) {
			c.t.Fatalf("create %T %s: %v", obj, obj.GetName(), err)
		}
	}
}

// namespace makes a namespace that pods can be created in.
func (c *cluster) namespace(b *build.NamespaceBuilder) string {
	c.t.Helper()
	ns := b.Obj()
	c.create(ns)
	c.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "default"}})
	return ns.Name
}

// node makes a node that is ready, also in the eyes of admission, which taints every new one.
func (c *cluster) node(node *corev1.Node) {
	c.t.Helper()
	taints, status := node.Spec.Taints, node.Status.DeepCopy()
	c.create(node)
	node.Status = *status
	if err := c.Status().Update(context.Background(), node); err != nil {
		c.t.Fatalf("update status of node %s: %v", node.Name, err)
	}
	node.Spec.Taints = taints
	if err := c.Update(context.Background(), node); err != nil {
		c.t.Fatalf("remove admission's taint from node %s: %v", node.Name, err)
	}
}

// offload makes a NamespaceOffloading that is processed.
func (c *cluster) offload(off *v1beta1.NamespaceOffloading) {
	c.t.Helper()
	phase := off.Status.OffloadingPhase
	c.create(off)
	if off.Status.OffloadingPhase = phase; phase == "" {
		off.Status.OffloadingPhase = v1beta1.PhaseReady
	}
	if err := c.Status().Update(context.Background(), off); err != nil {
		c.t.Fatalf("update status of offloading in %s: %v", off.Namespace, err)
	}
}

// twin says that a namespace's twin on a cluster is in a phase.
func (c *cluster) twin(clusterID, namespace string, phase v1beta1.MappingPhase) {
	c.t.Helper()
	m := build.Map(clusterID).Obj()
	c.create(build.Namespace(m.Namespace).Obj(), m)
	patch := `{"status":{"currentMapping":{"` + namespace + `":{"remoteNamespace":"` + namespace + `-home","phase":"` +
		string(phase) + `"}}}}`
	err := c.Status().Patch(context.Background(), m, client.RawPatch(types.MergePatchType, []byte(patch)))
	if err != nil {
		c.t.Fatalf("update map of %s: %v", clusterID, err)
	}
}

func (c *cluster) get(pod *corev1.Pod) *corev1.Pod {
	c.t.Helper()
	var live corev1.Pod
	if err := c.Get(context.Background(), client.ObjectKeyFromObject(pod), &live); err != nil {
		c.t.Fatalf("get pod %s: %v", pod.Name, err)
	}
	return &live
}

// decided waits until the scheduler has bound the pod or said why not, and returns it.
func (c *cluster) decided(pod *corev1.Pod) *corev1.Pod {
	c.t.Helper()
	return c.until(pod, "is decided about", func(pod *corev1.Pod) bool {
		return pod.Spec.NodeName != "" || refusal(pod) != ""
	})
}

// runsOn waits until the pod is bound to a node.
func (c *cluster) runsOn(pod *corev1.Pod, node string) *corev1.Pod {
	c.t.Helper()
	live := c.until(pod, "is bound", func(pod *corev1.Pod) bool { return pod.Spec.NodeName != "" })
	if live.Spec.NodeName != node {
		c.t.Errorf("pod %s/%s is on %s, want %s", pod.Namespace, pod.Name, live.Spec.NodeName, node)
	}
	return live
}

// waits checks that the pod is pending for a reason, and still is after a while.
func (c *cluster) waits(pod *corev1.Pod, why string) {
	c.t.Helper()
	c.until(pod, "waits because "+why, func(pod *corev1.Pod) bool { return strings.Contains(refusal(pod), why) })
	deadline := time.After(quiet)
	for tick := time.NewTicker(poll); ; {
		select {
		case <-deadline:
			return
		case <-tick.C:
			if live := c.get(pod); live.Spec.NodeName != "" {
				c.t.Fatalf("pod %s/%s went to %s", pod.Namespace, pod.Name, live.Spec.NodeName)
			}
		}
	}
}

func (c *cluster) until(pod *corev1.Pod, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	c.t.Helper()
	deadline := time.After(settles)
	for tick := time.NewTicker(poll); ; {
		live := c.get(pod)
		if ok(live) {
			return live
		}
		select {
		case <-deadline:
			c.t.Fatalf("pod %s/%s never %s; it is on node %q, refusal %q",
				pod.Namespace, pod.Name, what, live.Spec.NodeName, refusal(live))
		case <-tick.C:
		}
	}
}

// refusal returns why the scheduler could not place the pod.
func refusal(pod *corev1.Pod) string {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			return condition.Message
		}
	}
	return ""
}

// traffic counts requests and can hold up what watches of one resource hear.
type traffic struct {
	mu   sync.Mutex
	seen map[string]int // by "VERB path"
	slow string
	late time.Duration
}

// delay holds up every piece of news of watches whose path ends so, until it is called again.
func (r *traffic) delay(suffix string, by time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.slow, r.late = suffix, by
}

func (r *traffic) lateness(path string) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.slow == "" || !strings.HasSuffix(path, r.slow) {
		return 0
	}
	return r.late
}

func (r *traffic) wrap(cfg *rest.Config) *rest.Config {
	r.seen = map[string]int{}
	cfg = rest.CopyConfig(cfg)
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(q *http.Request) (*http.Response, error) {
			r.mu.Lock()
			r.seen[q.Method+" "+q.URL.Path]++
			r.mu.Unlock()
			resp, err := next.RoundTrip(q)
			if err == nil && q.URL.Query().Get("watch") != "" {
				late := func() time.Duration { return r.lateness(q.URL.Path) }
				resp.Body = &lateBody{ReadCloser: resp.Body, late: late}
			}
			return resp, err
		})
	})
	return cfg
}

// count returns how many requests of a verb went to a path that ends so.
func (r *traffic) count(verb, suffix string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for request, times := range r.seen {
		if strings.HasPrefix(request, verb+" ") && strings.HasSuffix(request, suffix) {
			n += times
		}
	}
	return n
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

type lateBody struct {
	io.ReadCloser
	late func() time.Duration
}

func (b *lateBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if late := b.late(); late > 0 {
		<-time.After(late)
	}
	return n, err
}
