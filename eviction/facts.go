package eviction

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// page is how many objects one answer to a list has at most.
const page = 500

// rules returns what the policy says, given a NamespaceOffloading and, from caches, the namespace and its twins.
func (r *Reconciler) rules(ctx context.Context, off *v1beta1.NamespaceOffloading) (rules, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Home.Get(ctx, client.ObjectKey{Name: off.Namespace}, namespace); err != nil {
		return nil, fmt.Errorf("get namespace %s: %w", off.Namespace, err)
	}
	var maps v1beta1.NamespaceMapList
	if err := r.Home.List(ctx, &maps, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list namespace maps: %w", err)
	}
	twins := map[string]v1beta1.TwinStatus{}
	for i := range maps.Items {
		m := &maps.Items[i]
		if twin, ok := m.Status.CurrentMapping[off.Namespace]; ok && m.Namespace == v1beta1.TenantNamespace(m.Name) {
			twins[m.Name] = twin
		}
	}
	facts := placement.Facts{
		Labels: namespace.Labels, Policy: placement.Compile(off),
		Twin: func(cluster string) v1beta1.TwinStatus { return twins[cluster] },
	}
	made := map[string]*placement.Rule{}
	return func(class string) *placement.Rule {
		if made[class] == nil {
			facts.RuntimeClass = class
			rule := placement.Decide(facts)
			made[class] = &rule
		}
		return made[class]
	}, nil
}

// pods reads pods live, page by page: nothing of them is kept when the round is over.
func (r *Reconciler) pods(ctx context.Context, options ...client.ListOption) ([]corev1.Pod, error) {
	var all []corev1.Pod
	for more := ""; ; {
		var list corev1.PodList
		if err := r.Live.List(ctx, &list, append(options, client.Limit(page), client.Continue(more))...); err != nil {
			return nil, fmt.Errorf("list pods: %w", err)
		}
		all = append(all, list.Items...)
		if more = list.Continue; more == "" {
			return all, nil
		}
	}
}

// nodes reads all nodes live, sorted by name.
func (r *Reconciler) nodes(ctx context.Context) ([]corev1.Node, error) {
	var all []corev1.Node
	for more := ""; ; {
		var list corev1.NodeList
		if err := r.Live.List(ctx, &list, client.Limit(page), client.Continue(more)); err != nil {
			return nil, fmt.Errorf("list nodes: %w", err)
		}
		all = append(all, list.Items...)
		if more = list.Continue; more == "" {
			break
		}
	}
	slices.SortFunc(all, func(a, b corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// virtual returns, from the cache, the labels of the virtual nodes by their names.
func (r *Reconciler) virtual(ctx context.Context, more client.MatchingLabels) (map[string]*corev1.Node, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NodeList"))
	err := r.Home.List(ctx, list, client.MatchingLabels{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual}, more,
		client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("list virtual nodes: %w", err)
	}
	nodes := make(map[string]*corev1.Node, len(list.Items))
	for i := range list.Items {
		meta := &list.Items[i]
		nodes[meta.Name] = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: meta.Name, Labels: meta.Labels}}
	}
	return nodes, nil
}

// room returns what there is room for, reading more as it is asked.
func (r *Reconciler) room(ctx context.Context, nodes []corev1.Node, of rules) *room {
	return &room{
		nodes: nodes, of: of,
		bound: func(node string) ([]corev1.Pod, error) {
			return r.pods(ctx, client.MatchingFields{"spec.nodeName": node})
		},
		pins: func(pod *corev1.Pod) ([]*nodeaffinity.NodeSelector, error) { return r.pins(ctx, pod) },
	}
}

// pins returns what the volumes of a pod demand of its node. A claim that is not bound yet, or is not there, demands
// nothing.
func (r *Reconciler) pins(ctx context.Context, pod *corev1.Pod) ([]*nodeaffinity.NodeSelector, error) {
	var pins []*nodeaffinity.NodeSelector
	for _, volume := range pod.Spec.Volumes {
		if volume.PersistentVolumeClaim == nil {
			continue
		}
		pin, err := r.pin(ctx, client.ObjectKey{
			Namespace: pod.Namespace, Name: volume.PersistentVolumeClaim.ClaimName,
		})
		if err != nil {
			return nil, fmt.Errorf("look at volume %s of pod %s: %w", volume.Name, pod.Name, err)
		}
		if pin != nil {
			pins = append(pins, pin)
		}
	}
	return pins, nil
}

func (r *Reconciler) pin(ctx context.Context, key client.ObjectKey) (*nodeaffinity.NodeSelector, error) {
	var claim corev1.PersistentVolumeClaim
	err := r.Live.Get(ctx, key, &claim)
	if err != nil || claim.Spec.VolumeName == "" {
		return nil, client.IgnoreNotFound(err)
	}
	var volume corev1.PersistentVolume
	err = r.Live.Get(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, &volume)
	if err != nil || volume.Spec.NodeAffinity == nil || volume.Spec.NodeAffinity.Required == nil {
		return nil, client.IgnoreNotFound(err)
	}
	return nodeaffinity.NewNodeSelector(volume.Spec.NodeAffinity.Required)
}

// Staying returns how many pods of a namespace are to leave a cluster, which is no longer selected, before the
// namespace's twin there may go: those on its virtual nodes that a controller would replace elsewhere, until they are
// gone. Who would come back is never evicted, so the twin would wait for ever.
func (r *Reconciler) Staying(ctx context.Context, home, clusterID string) (int, error) {
	nodes, err := r.virtual(ctx, client.MatchingLabels{v1beta1.LabelRemoteClusterID: clusterID})
	if err != nil || len(nodes) == 0 {
		return 0, err
	}
	pods, err := r.pods(ctx, client.InNamespace(home))
	if err != nil {
		return 0, err
	}
	count := 0
	for i := range pods {
		if nodes[pods[i].Spec.NodeName] != nil && movable(&pods[i]) && owner(&pods[i]) != "" &&
			scheduledBy(&pods[i], r.schedulers()) {
			count++
		}
	}
	return count, nil
}
