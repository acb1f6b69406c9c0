package eviction

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// fewNodes is up to how many nodes are read one by one.
const fewNodes = 20

// round finds the pods that are where they may not be and evicts those whose turn it is. It returns the policy that it
// went by: where there is something to do, that of the API server at this moment.
func (r *Reconciler) round(ctx context.Context, off *v1beta1.NamespaceOffloading) (
	*v1beta1.NamespaceOffloading, []violation, error,
) {
	pods, err := r.pods(ctx, client.InNamespace(off.Namespace))
	if err != nil {
		return off, nil, err
	}
	of, err := r.rules(ctx, off)
	if err != nil {
		return off, nil, err
	}
	found, err := r.glance(ctx, of, pods)
	if err != nil || len(found) == 0 {
		return off, nil, err
	}
	live := &v1beta1.NamespaceOffloading{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(off), live); err != nil {
		return off, found, fmt.Errorf("get offloading of %s: %w", off.Namespace, err)
	}
	if !asked(live) || !live.DeletionTimestamp.IsZero() {
		return live, nil, nil // its event is on the way
	}
	if of, err = r.rules(ctx, live); err != nil {
		return live, found, err
	}
	found, err = r.closely(ctx, live, of, pods)
	if err != nil {
		return live, found, err
	}
	return live, found, r.evict(ctx, live, found)
}

// closely finds violations with the nodes as they are, and decides about them. All nodes are read only when that takes
// knowing where pods could go.
func (r *Reconciler) closely(ctx context.Context, live *v1beta1.NamespaceOffloading, of rules, pods []corev1.Pod) (
	[]violation, error,
) {
	memory, now := r.remember(live.Namespace), r.Clock.Now()
	found, err := r.glance(ctx, of, pods)
	if err != nil || len(found) == 0 {
		return found, err
	}
	memory.mark(found, live.Generation, now)
	read := r.nodesOf
	evictable := has(found, queued)
	if evictable {
		read = r.allNodes
	}
	nodes, err := read(ctx, found)
	if err != nil {
		return found, err
	}
	found = violations(pods, of, byName(nodes), r.schedulers())
	memory.mark(found, live.Generation, now)
	if !evictable {
		return found, nil // what a cache did not know yet has its turn in the next round
	}
	return found, decide(found, pods, memory.moved(), r.Pace, r.room(ctx, nodes, of))
}

// glance looks for violations with what is in caches. A node that is not there is taken for an ordinary one.
func (r *Reconciler) glance(ctx context.Context, of rules, pods []corev1.Pod) ([]violation, error) {
	virtual, err := r.virtual(ctx, nil)
	if err != nil {
		return nil, err
	}
	return violations(pods, of, func(name string) *corev1.Node {
		if node := virtual[name]; node != nil {
			return node
		}
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	}, r.schedulers()), nil
}

// schedulers returns the names of those that apply the policy. Where the default one is not ours, its pods come back,
// which is noticed.
func (r *Reconciler) schedulers() []string {
	if len(r.Schedulers) > 0 {
		return r.Schedulers
	}
	return []string{corev1.DefaultSchedulerName, v1beta1.SchedulerName}
}

func (r *Reconciler) allNodes(ctx context.Context, _ []violation) ([]corev1.Node, error) {
	return r.nodes(ctx)
}

// nodesOf reads the nodes that the violations are on, one by one as long as they are few.
func (r *Reconciler) nodesOf(ctx context.Context, found []violation) ([]corev1.Node, error) {
	names := map[string]bool{}
	for _, v := range found {
		names[v.pod.Spec.NodeName] = true
	}
	if len(names) > fewNodes {
		return r.nodes(ctx)
	}
	var nodes []corev1.Node
	for name := range names {
		var node corev1.Node
		switch err := r.Live.Get(ctx, client.ObjectKey{Name: name}, &node); {
		case apierrors.IsNotFound(err): // its pods go with it
		case err != nil:
			return nil, fmt.Errorf("get node %s: %w", name, err)
		default:
			nodes = append(nodes, node)
		}
	}
	return nodes, nil
}

func byName(nodes []corev1.Node) func(string) *corev1.Node {
	index := make(map[string]*corev1.Node, len(nodes))
	for i := range nodes {
		index[nodes[i].Name] = &nodes[i]
	}
	return func(name string) *corev1.Node { return index[name] }
}
