package schedplugin

import (
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/schedplugin/spread"
)

// boundIndex finds the pods of a namespace that have a node, in the scheduler's cache of all pods.
const boundIndex = "liqo.io/bound"

func boundIn(obj any) ([]string, error) {
	if pod, ok := obj.(*corev1.Pod); ok && bound(pod) {
		return []string{pod.Namespace}, nil
	}
	return nil, nil
}

// bound says whether a pod takes up room on a node.
func bound(pod *corev1.Pod) bool {
	return pod.Spec.NodeName != "" && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// counts knows how many pods of a namespace are in which place, the ones on their way included. The scheduler's view of
// nodes has those too, but asking it would be a look at all pods of all nodes; this looks at the namespace's own.
type counts struct {
	pods  cache.Indexer // with boundIndex
	nodes corelisters.NodeLister

	mu sync.Mutex
	// expected are the pods that were given a node and were not seen there yet.
	expected map[types.UID]expected
}

type expected struct{ namespace, name, node string }

func newCounts(factory informers.SharedInformerFactory) (*counts, error) {
	pods := factory.Core().V1().Pods().Informer()
	if err := pods.AddIndexers(cache.Indexers{boundIndex: boundIn}); err != nil {
		return nil, fmt.Errorf("index bound pods: %w", err)
	}
	return &counts{
		pods: pods.GetIndexer(), nodes: factory.Core().V1().Nodes().Lister(), expected: map[types.UID]expected{},
	}, nil
}

// expect counts a pod on a node before it is seen there.
func (c *counts) expect(pod *corev1.Pod, node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expected[pod.UID] = expected{pod.Namespace, pod.Name, node}
}

// forget undoes expect.
func (c *counts) forget(pod *corev1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.expected, pod.UID)
}

// of returns the number of pods of a namespace in each place. Pods that are being deleted count no more, so that what
// remains is even, and neither do those whose node is gone.
func (c *counts) of(namespace string) (map[spread.Place]int, error) {
	byNode := map[string]int{}
	c.mu.Lock()
	seen, err := c.pods.ByIndex(boundIndex, namespace)
	if err != nil {
		c.mu.Unlock()
		return nil, fmt.Errorf("count the pods of %s: %w", namespace, err)
	}
	for _, obj := range seen {
		on(obj, func(pod *corev1.Pod) {
			delete(c.expected, pod.UID)
			if pod.DeletionTimestamp == nil {
				byNode[pod.Spec.NodeName]++
			}
		})
	}
	for uid, e := range c.expected {
		pod := c.current(uid, e)
		if pod == nil || pod.Spec.NodeName != "" { // gone, or it arrived after the others were looked up
			delete(c.expected, uid)
		}
		if pod != nil && e.namespace == namespace {
			byNode[e.node]++
		}
	}
	c.mu.Unlock()
	return c.byPlace(byNode), nil
}

// current returns an expected pod as it is now, nil if it is on its way no more. It is asked for the pods of all
// namespaces, or those of one that is quiet now would be kept for ever.
func (c *counts) current(uid types.UID, e expected) *corev1.Pod {
	obj, _, err := c.pods.GetByKey(e.namespace + "/" + e.name)
	if err != nil {
		return nil
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok || pod.UID != uid || pod.DeletionTimestamp != nil {
		return nil
	}
	return pod
}

func (c *counts) byPlace(byNode map[string]int) map[spread.Place]int {
	pods := map[spread.Place]int{}
	for name, n := range byNode {
		if node, err := c.nodes.Get(name); err == nil { // the only error is that there is none
			pods[spread.PlaceOf(node)] += n
		}
	}
	return pods
}
