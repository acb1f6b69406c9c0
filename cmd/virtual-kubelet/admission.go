package main

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// admission asks the scheduler's question again, about pods that somebody has bound to our Node without the scheduler.
// It only looks at what the caches hold, so it needs no copies.
type admission struct {
	home      client.Client
	live      client.Reader // of home, uncached
	clusterID string
}

// admit returns "" for a pod that may run on its Node, or must only wait for its twin; else the scheduler's sentence.
func (a *admission) admit(ctx context.Context, pod *corev1.Pod) (refusal string, err error) {
	facts, err := a.facts(ctx, pod)
	if err != nil {
		return "", err
	}
	node, err := a.node(ctx, pod)
	if err != nil {
		return "", err
	}
	rule := placement.Decide(facts)
	if verdict := rule.On(node); verdict.Outcome == placement.Refused {
		return verdict.Message, nil
	}
	return a.admitClaims(ctx, pod, node, facts)
}

// admitClaims asks about the pod's volumes, once the policy has nothing against the Node.
func (a *admission) admitClaims(
	ctx context.Context, pod *corev1.Pod, node *corev1.Node, facts placement.Facts,
) (refusal string, err error) {
	if facts.Claims, err = a.claims(ctx, pod); err != nil || len(facts.Claims) == 0 {
		return "", err
	}
	facts.Pod = pod
	rule := placement.Decide(facts)
	for _, verdict := range append([]placement.Verdict{rule.Policy(node)}, rule.Volumes(node)...) {
		if verdict.Outcome == placement.Refused {
			return verdict.Message, nil
		}
	}
	return "", nil
}

// fits returns "" for a pod that the provider has room for; else the scheduler's sentence. It must not be asked about a
// pod that has a remote pod: what that takes is part of what is no longer free.
func (a *admission) fits(ctx context.Context, pod *corev1.Pod) (refusal string, err error) {
	node, err := a.node(ctx, pod)
	if err != nil {
		return "", err
	}
	if misfits := placement.Misfits(pod, placement.ReadRoom(node)); len(misfits) > 0 {
		return misfits[0].Message, nil
	}
	return "", nil
}

func (a *admission) node(ctx context.Context, pod *corev1.Pod) (*corev1.Node, error) {
	var node corev1.Node
	at := client.ObjectKey{Name: pod.Spec.NodeName}
	if err := a.home.Get(ctx, at, &node, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("read Node %s: %w", pod.Spec.NodeName, err)
	}
	if provider := node.Labels[v1beta1.LabelRemoteClusterID]; provider != a.clusterID {
		return nil, fmt.Errorf("the Node %s is labelled to be of provider %q", pod.Spec.NodeName, provider)
	}
	return &node, nil
}

func (a *admission) facts(ctx context.Context, pod *corev1.Pod) (placement.Facts, error) {
	namespace := &metav1.PartialObjectMetadata{}
	namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := a.home.Get(ctx, client.ObjectKey{Name: pod.Namespace}, namespace, client.UnsafeDisableDeepCopy)
	if err != nil {
		return placement.Facts{}, fmt.Errorf("read namespace %s: %w", pod.Namespace, err)
	}
	off := &v1beta1.NamespaceOffloading{}
	key := client.ObjectKey{Namespace: pod.Namespace, Name: v1beta1.OffloadingName}
	switch err := a.home.Get(ctx, key, off, client.UnsafeDisableDeepCopy); {
	case apierrors.IsNotFound(err):
		off = nil
	case err != nil:
		return placement.Facts{}, fmt.Errorf("read the offloading of namespace %s: %w", pod.Namespace, err)
	}
	var twins v1beta1.NamespaceMap
	at := client.ObjectKey{Namespace: v1beta1.TenantNamespace(a.clusterID), Name: a.clusterID}
	if err := a.home.Get(ctx, at, &twins, client.UnsafeDisableDeepCopy); client.IgnoreNotFound(err) != nil {
		return placement.Facts{}, fmt.Errorf("read NamespaceMap %s: %w", a.clusterID, err)
	}
	return placement.Facts{
		Labels:       namespace.Labels,
		Policy:       placement.Compile(off),
		Twin:         func(string) v1beta1.TwinStatus { return twins.Status.CurrentMapping[pod.Namespace] },
		RuntimeClass: placement.RuntimeClass(pod),
	}, nil
}
