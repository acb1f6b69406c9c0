package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// checkChanges tells what becomes different for a namespace that is offloaded already, and asks before something is
// taken away.
func (a *app) checkChanges(
	ctx context.Context, home *cluster, existing *v1beta1.NamespaceOffloading, spec v1beta1.NamespaceOffloadingSpec,
) error {
	if existing == nil {
		return nil
	}
	before := &existing.Spec
	strategy := before.PodOffloadingStrategy != spec.PodOffloadingStrategy
	if strategy {
		a.progress(fmt.Sprintf("the pod strategy changes from %s to %s",
			before.PodOffloadingStrategy, spec.PodOffloadingStrategy))
	}
	selector := !equality.Semantic.DeepEqual(before.ClusterSelector, spec.ClusterSelector)
	if selector {
		a.progress(fmt.Sprintf("the clusters change from %s to %s",
			explanation.SelectorText(before.ClusterSelector), explanation.SelectorText(spec.ClusterSelector)))
	}
	narrower := selector || strategy && spec.PodOffloadingStrategy != v1beta1.LocalAndRemote
	if !narrower || a.skipConfirm {
		return nil
	}
	lost, err := look(ctx, home, existing.Namespace)
	if err != nil {
		return err
	}
	if text := lost.losses(existing, spec); text != "" {
		return a.confirm(text)
	}
	return nil
}

// scene is what a change of a namespace's policy could take something from.
type scene struct {
	nodes []corev1.Node
	pods  []corev1.Pod
	// blind says why it could not be seen.
	blind string
}

func look(ctx context.Context, home *cluster, namespace string) (*scene, error) {
	var nodes corev1.NodeList
	var pods corev1.PodList
	if err := home.List(ctx, &nodes); apierrors.IsForbidden(err) {
		return &scene{blind: "you may not list nodes"}, nil
	} else if err != nil {
		return nil, fmt.Errorf("list nodes: %w", err)
	}
	if err := home.List(ctx, &pods, client.InNamespace(namespace)); apierrors.IsForbidden(err) {
		return &scene{blind: "you may not list pods in namespace " + namespace}, nil
	} else if err != nil {
		return nil, fmt.Errorf("list pods in namespace %s: %w", namespace, err)
	}
	return &scene{nodes: nodes.Items, pods: pods.Items}, nil
}

// losses says what a change takes away, "" if that is nothing.
func (s *scene) losses(existing *v1beta1.NamespaceOffloading, spec v1beta1.NamespaceOffloadingSpec) string {
	if s.blind != "" {
		return fmt.Sprintf("This may delete twins of namespace %s with everything in them, or forbid pods where "+
			"they run; which ones cannot be seen (%s).", existing.Namespace, s.blind)
	}
	changed := existing.DeepCopy()
	changed.Spec.PodOffloadingStrategy, changed.Spec.ClusterSelector = spec.PodOffloadingStrategy, spec.ClusterSelector
	before, after := placement.Compile(existing), placement.Compile(changed)
	var text []string
	if lost := s.twins(before, after); len(lost) > 0 {
		text = append(text, s.farewell(existing, lost))
	}
	if n := s.strays(before, after); n > 0 {
		what := "they stay there until they are deleted"
		if existing.Spec.PodEvictionStrategy == v1beta1.EvictOnPolicyChange {
			what = "they are evicted while other permitted nodes could take them"
		}
		text = append(text, fmt.Sprintf("Pods that run where that is no longer permitted: %d; %s.", n, what))
	}
	return strings.Join(text, " ")
}

// farewell says what becomes of the twins on clusters that are not selected any more.
func (s *scene) farewell(existing *v1beta1.NamespaceOffloading, lost []string) string {
	clusters := strings.Join(lost, ", ")
	if existing.Spec.PodEvictionStrategy != v1beta1.EvictOnPolicyChange {
		return fmt.Sprintf("This deletes the twins of namespace %s on %s and everything in them.", existing.Namespace,
			clusters)
	}
	return fmt.Sprintf("Pods of namespace %s that are evicted from %s first: %d. When they have left, this deletes "+
		"the twins there and everything that is left in them.", existing.Namespace, clusters, s.movers(lost))
}

// movers counts the pods on clusters that are evicted before the twins there go. The others go with them: those that
// nothing would replace, and those that their scheduler would put back.
func (s *scene) movers(clusters []string) (n int) {
	on := map[string]bool{}
	for i := range s.nodes {
		node := &s.nodes[i]
		id := node.Labels[v1beta1.LabelRemoteClusterID]
		on[node.Name] = placement.IsVirtual(node) && slices.Contains(clusters, id)
	}
	for i := range s.pods {
		pod := &s.pods[i]
		if on[pod.Spec.NodeName] && !done(pod) && explanation.Evictable(pod) {
			n++
		}
	}
	return n
}

func done(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// twins returns the clusters that are selected before and not after.
func (s *scene) twins(before, after *placement.Policy) []string {
	lost, kept := map[string]bool{}, map[string]bool{}
	for i := range s.nodes {
		node := &s.nodes[i]
		if !placement.IsVirtual(node) {
			continue
		}
		cluster := node.Labels[v1beta1.LabelRemoteClusterID]
		kept[cluster] = kept[cluster] || after.Selects(node)
		lost[cluster] = lost[cluster] || before.Selects(node)
	}
	maps.DeleteFunc(lost, func(cluster string, had bool) bool { return !had || kept[cluster] })
	return slices.Sorted(maps.Keys(lost))
}

// strays counts the pods that may be where they are before and not after, besides those that go with a twin.
func (s *scene) strays(before, after *placement.Policy) (n int) {
	gone := s.twins(before, after)
	ready := func(string) v1beta1.TwinStatus { return v1beta1.TwinStatus{Phase: v1beta1.MappingAccepted} }
	for i := range s.pods {
		pod := &s.pods[i]
		at := slices.IndexFunc(s.nodes, func(node corev1.Node) bool { return node.Name == pod.Spec.NodeName })
		if at < 0 || done(pod) || slices.Contains(gone, s.nodes[at].Labels[v1beta1.LabelRemoteClusterID]) {
			continue
		}
		class := placement.RuntimeClass(pod)
		was := placement.Decide(placement.Facts{Policy: before, RuntimeClass: class, Twin: ready})
		is := placement.Decide(placement.Facts{Policy: after, RuntimeClass: class, Twin: ready})
		if was.On(&s.nodes[at]).Outcome == placement.Permitted && is.On(&s.nodes[at]).Outcome != placement.Permitted {
			n++
		}
	}
	return n
}
