package provider

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/watching"
)

// Offer is what a provider's nodes have to give.
type Offer struct {
	// OS and Arch are those of most nodes.
	OS, Arch string
	// Capacity and Allocatable are sums over the nodes that are ready and take pods.
	Capacity, Allocatable corev1.ResourceList
}

// Offers watches the nodes of a provider.
type Offers struct {
	informer cache.SharedIndexInformer

	mu        sync.Mutex
	current   *Offer
	listeners []func()
}

// NewOffers returns a watch of the nodes of the provider with the given id, which begins with Start.
func NewOffers(away kubernetes.Interface, provider string) *Offers {
	nodes := watching.Through(away.CoreV1().Nodes(), away, nil)
	return &Offers{informer: watching.Informers(provider)(nodes, &corev1.Node{}, 0, cache.Indexers{})}
}

// Current returns the latest offer; false before all nodes are known.
func (o *Offers) Current() (Offer, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.current == nil {
		return Offer{}, false
	}
	return *o.current, true
}

// Notify makes f be called after each change of Current. It must not block.
func (o *Offers) Notify(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.listeners = append(o.listeners, f)
}

// Start watches until ctx is done.
func (o *Offers) Start(ctx context.Context) error {
	if err := o.informer.SetTransform(onlyOffer); err != nil {
		return fmt.Errorf("watch the provider's nodes: %w", err)
	}
	dirty := make(chan struct{}, 1)
	mark := func() {
		select {
		case dirty <- struct{}{}:
		default:
		}
	}
	registration, err := o.informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { mark() },
		UpdateFunc: func(_, _ any) { mark() },
		DeleteFunc: func(any) { mark() },
	})
	if err != nil {
		return fmt.Errorf("watch the provider's nodes: %w", err)
	}
	var running sync.WaitGroup
	running.Go(func() { o.informer.RunWithContext(ctx) })
	defer running.Wait()
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return nil
	}
	o.update()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-dirty:
			o.update()
		}
	}
}

// nodes returns the provider's nodes; false before all are known.
func (o *Offers) nodes() ([]*corev1.Node, bool) {
	o.mu.Lock()
	known := o.current != nil
	o.mu.Unlock()
	return o.list(), known
}

func (o *Offers) list() []*corev1.Node {
	var nodes []*corev1.Node
	for _, obj := range o.informer.GetStore().List() {
		nodes = append(nodes, obj.(*corev1.Node))
	}
	return nodes
}

func (o *Offers) update() {
	next := offerOf(o.list())
	o.mu.Lock()
	changed := o.current == nil || !equality.Semantic.DeepEqual(*o.current, next)
	o.current = &next
	listeners := o.listeners
	o.mu.Unlock()
	if !changed {
		return
	}
	for _, f := range listeners {
		f()
	}
}

// onlyOffer keeps of a node what an offer needs: a cluster may have thousands.
func onlyOffer(obj any) (any, error) {
	n, ok := obj.(*corev1.Node)
	if !ok {
		return obj, nil
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: n.Name, UID: n.UID, ResourceVersion: n.ResourceVersion, DeletionTimestamp: n.DeletionTimestamp,
		},
		Spec: corev1.NodeSpec{Unschedulable: n.Spec.Unschedulable},
		Status: corev1.NodeStatus{
			Capacity: n.Status.Capacity, Allocatable: n.Status.Allocatable,
			Conditions: slices.DeleteFunc(slices.Clone(n.Status.Conditions), func(c corev1.NodeCondition) bool {
				return c.Type != corev1.NodeReady
			}),
			NodeInfo: corev1.NodeSystemInfo{
				OperatingSystem: n.Status.NodeInfo.OperatingSystem, Architecture: n.Status.NodeInfo.Architecture,
			},
		},
	}, nil
}

// offerOf sums up what the nodes offer.
func offerOf(nodes []*corev1.Node) Offer {
	o := Offer{Capacity: corev1.ResourceList{}, Allocatable: corev1.ResourceList{}}
	systems, architectures := map[string]int{}, map[string]int{}
	for _, n := range nodes {
		if !takesPods(n) {
			continue
		}
		add(o.Capacity, n.Status.Capacity)
		add(o.Allocatable, n.Status.Allocatable)
		systems[n.Status.NodeInfo.OperatingSystem]++
		architectures[n.Status.NodeInfo.Architecture]++
	}
	o.OS, o.Arch = most(systems, "linux"), most(architectures, "amd64")
	return o
}

// takesPods says that a node is up and not closed. Taints do not close it, since pods may tolerate them.
func takesPods(n *corev1.Node) bool {
	return !n.Spec.Unschedulable && n.DeletionTimestamp == nil && isReady(n)
}

func isReady(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

func add(sum, more corev1.ResourceList) {
	for name, q := range more {
		total := sum[name]
		total.Add(q)
		sum[name] = total
	}
}

// most returns the most frequent value, of equals the first by name, so that it does not flap.
func most(counts map[string]int, otherwise string) string {
	delete(counts, "")
	best := otherwise
	for value, n := range counts {
		if c := cmp.Compare(n, counts[best]); c > 0 || c == 0 && value < best {
			best = value
		}
	}
	return best
}
