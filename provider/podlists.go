package provider

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/provider/translate"
)

// errNotListed says that a list would lack pods.
var errNotListed = errors.New("the pods of this node are not all known yet")

// bound returns the home pods that are bound to the Nodes that we serve: /pods of the kubelet API. A request does not
// say which of our Nodes it came through, so these are the pods of all of them.
func (p *Pods) bound(context.Context) ([]*corev1.Pod, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*corev1.Pod
	for _, n := range p.nodes {
		if !n.watch.hasSynced() {
			return nil, errNotListed
		}
		out = append(out, n.watch.pods(metav1.NamespaceAll)...)
	}
	return out, nil
}

// executed returns those of them whose remote pod is there, and which are neither finished nor being deleted:
// /runningpods of the kubelet API.
func (p *Pods) executed(ctx context.Context) ([]*corev1.Pod, error) {
	all, err := p.bound(ctx)
	if err != nil {
		return nil, err
	}
	var out []*corev1.Pod
	for _, home := range all {
		if home.DeletionTimestamp != nil || translate.Finished(home.Status.Phase) {
			continue
		}
		if p.shown(home) != nil {
			out = append(out, home)
		}
	}
	return out, nil
}

// shown returns the remote pod of a home pod as the watch of the twin shows it, or nil.
func (p *Pods) shown(home *corev1.Pod) *corev1.Pod {
	space, _ := p.twinOf(home.Namespace)
	away := space.watch.pod(key{Namespace: space.away, Name: home.Name})
	if away == nil || translate.HomeUID(away, p.opts.Origin) != string(home.UID) {
		return nil
	}
	return away
}
