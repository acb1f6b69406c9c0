package provider

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/reflection/remote"
)

// Delays of the pod loop.
const (
	backoffBase = 50 * time.Millisecond
	backoffMax  = 30 * time.Second
	// maxRetryAfter bounds what a server may ask for.
	maxRetryAfter = 2 * time.Minute
	// callTimeout bounds every call of either API server.
	callTimeout = 10 * time.Second
	// settle is for how long "pending" is kept to ourselves: most pods start within it, and are then told of once.
	settle = 2 * time.Second
	// lateWatch is when a remote pod is asked for whose creation or deletion the watch does not show.
	lateWatch = 5 * time.Second
)

// Health tells whether the provider can be reached. It is nil when it can, after the first answer.
type Health interface {
	Err() error
	// Notify makes f be called after each change of Err.
	Notify(f func())
}

// PodsOptions are what the pod loop needs.
type PodsOptions struct {
	// Home acts as the agent, Away as our identity on the provider. Both should speak protobuf, and neither should
	// limit its rate tightly: the loop has as many calls under way as it has workers.
	Home, Away kubernetes.Interface
	// Origin and Destination are the ids of the home cluster and of the provider.
	Origin, Destination string
	// NodeIPs are the addresses of our Nodes, which home pods show as their host's; at most one per family.
	NodeIPs []string
	// Mapped tells whether a home namespace has, or shall have, a twin on this provider.
	Mapped func(ctx context.Context, namespace string) (bool, error)
	// Admit returns the sentence by which a pod is refused that is bound to our Node but may not run there, or "". An
	// error means that it cannot be said yet. A nil Admit lets every pod run.
	Admit func(ctx context.Context, pod *corev1.Pod) (refusal string, err error)
	// Fits returns the sentence by which the provider has no room for a pod that no scheduler bound to our Node, or "".
	// It is asked before the remote pod is created, never afterwards. With nil there is always room.
	Fits func(ctx context.Context, pod *corev1.Pod) (refusal string, err error)
	// Baggage names something that a pod refers to, that shall be in the twin and is not there yet; or "". With nil
	// nothing is waited for.
	Baggage func(pod *corev1.Pod) string
	// ReleaseAfter is for how long no node of the provider may have taken a pod that has a controller before the home
	// pod is evicted; 0 means for ever. UnfitFor is for how long its Node then takes no more pods of that controller.
	ReleaseAfter, UnfitFor time.Duration
	// Wide has one watch for the pods of all twins, which needs the right to watch pods in all namespaces of the
	// provider; else there is one for each twin.
	Wide bool
	// Address returns where home reaches an address of the provider's pods, or false for one that is none of theirs;
	// nil means as it is.
	Address func(away netip.Addr) (home netip.Addr, ok bool)
	// Access is how pods reach an API server; the zero value gives them none.
	Access translate.Access
	// Health of the provider; nil means always healthy.
	Health Health
	// Throttle is what Away works through; nil means that it waits inside its calls when the provider asks for that.
	Throttle *Throttle
	// Recorder writes events about home pods.
	Recorder events.EventRecorder
	Metrics  *Metrics
	Clock    clock.Clock
	// Workers is how many pods are worked on at the same time; 16 unless given.
	Workers int
}

// Pods keeps home pods and remote pods in step. It is one queue of pod names; everything that happens on either side
// only adds a name, and what is to be done about it follows from how things are (decide).
type Pods struct {
	opts  PodsOptions
	queue workqueue.TypedDelayingInterface[key]
	// limiter has a delay per name only: a global rate would make an agent that starts after a burst wait for minutes.
	limiter *remote.Retries[key]
	memory  *memory
	// lanes are the turns to call the provider.
	lanes  *lanes
	unfits *unfits
	tokens *Tokens // set by NewTokens; nil means that pods get none

	mu      sync.Mutex
	ctx     context.Context //nolint:containedctx // what watches started later end with; nil unless we run
	log     logr.Logger
	started time.Time
	running sync.WaitGroup
	nodes   map[string]*node
	// released: a Node was let go. Without one left, no watch is to come that completes what is known.
	released bool
	twins    map[string]*twin
	twinned  twinned
	wide     wideWatch
	// listeners are told of home pods; the slice is replaced, never changed.
	listeners []func(pod *corev1.Pod)
}

// node is a virtual Node whose pods we run.
type node struct {
	name  string
	patch *v1beta1.OffloadingPatch
	watch *watch
}

// NewPods returns the pod loop, which does nothing before Start.
func NewPods(o PodsOptions) *Pods {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Workers == 0 {
		o.Workers = 16
	}
	p := &Pods{
		opts: o, memory: newMemory(), unfits: newUnfits(), log: logr.Discard(),
		nodes: map[string]*node{}, twins: map[string]*twin{},
	}
	p.lanes = newLanes(o.Workers)
	p.limiter = remote.NewRetries(workqueue.NewTypedItemExponentialFailureRateLimiter[key](backoffBase, backoffMax))
	p.queue = workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[key]{Name: "pods"})
	if o.Health != nil {
		o.Health.Notify(p.healthChanged)
	}
	return p
}

// Retry looks again, now, at what has failed. Call it when the provider answers again.
func (p *Pods) Retry() { p.limiter.Hurry(p.queue.Add) }

// Start runs the loop until ctx is done, and returns when nothing of it runs any more.
func (p *Pods) Start(ctx context.Context) error {
	p.mu.Lock()
	p.log = log.FromContext(ctx).WithName("pods")
	ctx = log.IntoContext(ctx, p.log)
	p.ctx, p.started = ctx, p.opts.Clock.Now()
	for _, n := range p.nodes {
		p.watchNode(n)
	}
	for _, t := range p.twins {
		if t.phase != twinGone {
			p.watchTwin(t)
		}
	}
	p.mu.Unlock()

	var workers sync.WaitGroup
	for range p.opts.Workers {
		workers.Go(func() {
			for p.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	p.queue.ShutDown()
	workers.Wait()
	p.mu.Lock()
	p.ctx = nil // from here on no watch is started: it would be one more to wait for while we wait
	p.mu.Unlock()
	p.running.Wait()
	return nil
}

// Serve makes the loop run the pods that are bound to a Node. Repeated calls only take over the patch: labels,
// annotations and tolerations of remote pods follow it, all else is for those created from then on.
func (p *Pods) Serve(name string, patch *v1beta1.OffloadingPatch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.nodes[name]; n != nil {
		if !equality.Semantic.DeepEqual(n.patch, patch) {
			n.patch = patch
			p.enqueueNode(n, metav1.NamespaceAll)
		}
		return
	}
	n := &node{name: name, patch: patch}
	p.nodes[name] = n
	p.watchNode(n)
}

// Release makes the loop leave the pods of a Node alone. It looks once more at all there is: a pod may have been bound,
// and its remote pod created, after the Node seemed empty, and the watch that would tell of its end is no more.
func (p *Pods) Release(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[name]
	if n == nil && p.released {
		return
	}
	p.released = true
	p.enqueueNamespace(metav1.NamespaceAll)
	if n != nil {
		n.watch.stop()
		delete(p.nodes, name)
	}
}

// Live returns the names of the pods of a Node that are not finished, and whether all its pods are known.
func (p *Pods) Live(name string) ([]string, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[name]
	if n == nil || !n.watch.hasSynced() {
		return nil, false
	}
	var out []string
	for _, pod := range n.watch.pods(metav1.NamespaceAll) {
		if !translate.Finished(pod.Status.Phase) || pod.DeletionTimestamp != nil {
			out = append(out, pod.Namespace+"/"+pod.Name)
		}
	}
	return out, true
}

// Wake looks again at the pods of a home namespace, because something that Admit reads has changed.
func (p *Pods) Wake(namespace string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enqueueNamespace(namespace)
}

// watchNode needs the lock. It does nothing before Start, which catches up, and nothing after it.
func (p *Pods) watchNode(n *node) {
	if p.ctx == nil {
		return
	}
	selector := fields.OneTermEqualSelector("spec.nodeName", n.name).String()
	w, err := p.startWatch(watchOptions{
		client: p.opts.Home, cluster: "home",
		namespace: metav1.NamespaceAll,
		tweak:     func(o *metav1.ListOptions) { o.FieldSelector = selector },
		transform: withoutManagedFields,
		handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    p.homeChanged,
			UpdateFunc: func(_, obj any) { p.homeChanged(obj) },
			DeleteFunc: p.homeChanged,
		},
		synced: p.enqueueAll, // what looked like an orphan until now is looked at again
	})
	if err != nil {
		p.log.Error(err, "Cannot watch the pods of a Node", "node", n.name)
		return
	}
	n.watch = w
}

func (p *Pods) enqueueAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.enqueueNamespace(metav1.NamespaceAll)
}

// enqueueNamespace needs the lock. It adds the pods of a home namespace, or of all, on both sides.
func (p *Pods) enqueueNamespace(namespace string) {
	for _, n := range p.nodes {
		p.enqueueNode(n, namespace)
	}
	for home, t := range p.twins {
		if namespace != metav1.NamespaceAll && home != namespace {
			continue
		}
		for _, pod := range t.watch.pods(metav1.NamespaceAll) {
			p.queue.Add(key{Namespace: home, Name: pod.Name})
		}
	}
}

// enqueueNode adds a Node's home pods of a namespace, or of all.
func (p *Pods) enqueueNode(n *node, namespace string) {
	for _, pod := range n.watch.pods(namespace) {
		p.queue.Add(key{Namespace: pod.Namespace, Name: pod.Name})
	}
}
