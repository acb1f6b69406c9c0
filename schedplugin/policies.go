package schedplugin

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// identity tells versions of a namespace's policy apart; the zero value stands for no NamespaceOffloading. Status is no
// part of it: users do not edit it.
type identity struct {
	UID        types.UID `json:",omitempty"`
	Generation int64     `json:",omitempty"`
	Deleting   bool      `json:",omitempty"`
}

func identify(off *v1beta1.NamespaceOffloading) identity {
	return identity{UID: off.UID, Generation: off.Generation, Deleting: off.DeletionTimestamp != nil}
}

type offloading struct {
	identity identity
	policy   *placement.Policy
	spread   *v1beta1.Spread // nil when it is for the scheduler's configuration to say
}

func compile(off *v1beta1.NamespaceOffloading) offloading {
	return offloading{identity: identify(off), policy: placement.Compile(off), spread: off.Spec.Spread}
}

// twins are the states of twins by cluster id and home namespace. Neither level of the map is ever written after it was
// made, so a scheduling cycle keeps the one that it started with.
type twins map[string]map[string]v1beta1.TwinStatus

// policies are what the plugins know of the cluster. Reading them costs no API call; changing them wakes the pods that
// the change helps, and no others.
type policies struct {
	logger     klog.Logger
	namespaces corelisters.NamespaceLister
	nodes      corelisters.NodeLister
	pods       cache.Indexer // with pendingIndex
	queue      fwk.PodActivator
	rooms      *rooms
	claims     claims

	// changing is held during a change, so that before and after are compared with nothing in between.
	changing sync.Mutex

	mu          sync.RWMutex // guards what follows
	read        bool         // the API server has said which NamespaceOffloadings there are
	offloadings map[string]offloading
	twins       twins
	virtual     map[string]*corev1.Node
	bare        bool // a virtual node lacks the taint
}

func newPolicies(ctx context.Context, factory informers.SharedInformerFactory, queue fwk.PodActivator) (
	*policies, error,
) {
	pods := factory.Core().V1().Pods().Informer()
	if err := pods.AddIndexers(cache.Indexers{pendingIndex: pendingIn}); err != nil {
		return nil, fmt.Errorf("index pending pods: %w", err)
	}
	return &policies{
		logger:      klog.FromContext(ctx),
		namespaces:  factory.Core().V1().Namespaces().Lister(),
		nodes:       factory.Core().V1().Nodes().Lister(),
		pods:        pods.GetIndexer(),
		queue:       queue,
		rooms:       newRooms(),
		claims:      newClaims(factory),
		offloadings: map[string]offloading{},
		twins:       twins{},
		virtual:     map[string]*corev1.Node{},
	}, nil
}

// rule returns what placement decides about a pod, and for which version of its namespace's policy.
func (p *policies) rule(pod *corev1.Pod) (placement.Rule, identity) {
	ns, err := p.namespaces.Get(pod.Namespace)
	if err != nil { // the only error is that the cache lacks it, and a pod's namespace comes before the pod
		return placement.Unknown("the scheduler has not seen this namespace yet"), identity{}
	}
	return p.decide(pod.Namespace, placement.Facts{
		Labels: ns.Labels, RuntimeClass: placement.RuntimeClass(pod), Pod: pod, Room: p.rooms.of,
		Claims: p.claims.of(pod),
	})
}

// decide adds to the facts about a pod those about its namespace's policy.
func (p *policies) decide(namespace string, f placement.Facts) (placement.Rule, identity) {
	p.mu.RLock()
	read, off, twins := p.read, p.offloadings[namespace], p.twins
	p.mu.RUnlock()
	if !read {
		return placement.Unknown("the scheduler has not read the NamespaceOffloadings yet"), identity{}
	}
	f.Policy = off.policy
	f.Twin = func(cluster string) v1beta1.TwinStatus { return twins[cluster][namespace] }
	return placement.Decide(f), off.identity
}

// misfits returns the virtual nodes that cannot take the pod, however much the policy permits it, in order.
func (p *policies) misfits(rule *placement.Rule) []string {
	p.mu.RLock()
	defer p.mu.RUnlock()
	var nodes []string
	for name, node := range p.virtual {
		if len(rule.Misfits(node)) > 0 {
			nodes = append(nodes, name)
		}
	}
	slices.Sort(nodes)
	return nodes
}

// anyBare says whether some virtual node lacks the taint, so that the taint alone keeps nobody away.
func (p *policies) anyBare() bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.bare
}

// tellVirtual returns what tells virtual nodes from ordinary ones. While all virtual nodes have the taint, which they
// nearly always do, nodes without any taint need no look at their labels: that is most of what such a look costs.
func (p *policies) tellVirtual() func(*corev1.Node) bool {
	if p.anyBare() {
		return placement.IsVirtual
	}
	return func(node *corev1.Node) bool { return len(node.Spec.Taints) > 0 && placement.IsVirtual(node) }
}

// putOffloading takes note of a NamespaceOffloading that is new or changed.
func (p *policies) putOffloading(off *v1beta1.NamespaceOffloading) {
	if off.Name != v1beta1.OffloadingName {
		return
	}
	entry := compile(off)
	p.change([]string{off.Namespace}, func() { p.offloadings[off.Namespace] = entry })
}

// dropOffloading takes note of a NamespaceOffloading that is gone.
func (p *policies) dropOffloading(off *v1beta1.NamespaceOffloading) {
	if off.Name != v1beta1.OffloadingName {
		return
	}
	p.change([]string{off.Namespace}, func() { delete(p.offloadings, off.Namespace) })
}

// replaceOffloadings takes note of all NamespaceOffloadings that there are.
func (p *policies) replaceOffloadings(all []*v1beta1.NamespaceOffloading) {
	fresh := map[string]offloading{}
	for _, off := range all {
		if off.Name == v1beta1.OffloadingName {
			fresh[off.Namespace] = compile(off)
		}
	}
	affected := maps.Clone(fresh)
	p.mu.RLock()
	maps.Copy(affected, p.offloadings)
	first := !p.read
	p.mu.RUnlock()
	p.change(keys(affected), func() { p.offloadings, p.read = fresh, true })
	if first {
		p.wakeAll()
	}
}

// noOffloadings takes note that the API server answered and has none to show: the kind does not exist, or is not for us
// to see. What was known before stays, since definitions do not vanish before their objects do.
func (p *policies) noOffloadings() {
	p.mu.RLock()
	first := !p.read
	p.mu.RUnlock()
	p.change(nil, func() { p.read = true })
	if first {
		p.wakeAll()
	}
}

// putMap takes note of the twins on one cluster. Only the map in the cluster's own tenant namespace counts, or anybody
// who may create one anywhere could declare twins ready.
func (p *policies) putMap(m *v1beta1.NamespaceMap) {
	if m.Namespace == v1beta1.TenantNamespace(m.Name) {
		p.setTwins(m.Name, m.Status.CurrentMapping)
	}
}

// dropMap takes note that a cluster has no twins any more.
func (p *policies) dropMap(m *v1beta1.NamespaceMap) {
	if m.Namespace == v1beta1.TenantNamespace(m.Name) {
		p.setTwins(m.Name, nil)
	}
}

// replaceMaps takes note of the twins on all clusters.
func (p *policies) replaceMaps(all []*v1beta1.NamespaceMap) {
	p.mu.RLock()
	gone := maps.Clone(p.twins)
	p.mu.RUnlock()
	for _, m := range all {
		delete(gone, m.Name)
		p.putMap(m)
	}
	for cluster := range gone {
		p.setTwins(cluster, nil)
	}
}

func (p *policies) setTwins(cluster string, states map[string]v1beta1.TwinStatus) {
	p.mu.RLock()
	before := p.twins[cluster]
	p.mu.RUnlock()
	p.change(changed(before, states), func() {
		fresh := maps.Clone(p.twins)
		if fresh[cluster] = states; states == nil {
			delete(fresh, cluster)
		}
		p.twins = fresh
	})
}

// changed returns the namespaces whose twins differ.
func changed(before, after map[string]v1beta1.TwinStatus) []string {
	var namespaces []string
	for ns, state := range after {
		if before[ns] != state {
			namespaces = append(namespaces, ns)
		}
	}
	for ns := range before {
		if _, still := after[ns]; !still {
			namespaces = append(namespaces, ns)
		}
	}
	return namespaces
}

// putNode takes note of a node that is new or changed. The scheduler's own events wake the pods that it helps.
func (p *policies) putNode(node *corev1.Node) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if placement.IsVirtual(node) {
		p.virtual[node.Name] = node
	} else if _, was := p.virtual[node.Name]; was {
		delete(p.virtual, node.Name)
	} else {
		return
	}
	p.recountBare()
}

// dropNode takes note of a node that is gone.
func (p *policies) dropNode(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.virtual, name)
	p.rooms.forget(name)
	p.recountBare()
}

func (p *policies) recountBare() {
	p.bare = false
	for _, node := range p.virtual {
		p.bare = p.bare || !tainted(node)
	}
}

func keys[V any](m map[string]V) []string {
	all := make([]string, 0, len(m))
	for key := range m {
		all = append(all, key)
	}
	return all
}
