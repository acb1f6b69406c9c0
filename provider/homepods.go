package provider

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"
)

// List returns the home pods of a namespace that are bound to the Nodes served, as far as they are known (see
// [Pods.Synced]). They are shared with the cache and must not be changed.
func (p *Pods) List(namespace string) []*corev1.Pod {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []*corev1.Pod
	for _, n := range p.nodes {
		out = append(out, n.watch.pods(namespace)...)
	}
	return out
}

// Synced says whether a Node is served and all its pods are known.
func (p *Pods) Synced(node string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.nodes[node]
	return n != nil && n.watch.hasSynced()
}

// OnChange makes f be called with each home pod on our Nodes that is added, changed (its new state) or deleted (its
// last one). f must not block. Call it before Start.
func (p *Pods) OnChange(f func(pod *corev1.Pod)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listeners = append(slices.Clone(p.listeners), f)
}

// homeChanged is the handler of the home watches.
func (p *Pods) homeChanged(obj any) {
	if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = d.Obj
	}
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	p.queue.Add(key{Namespace: pod.Namespace, Name: pod.Name})
	p.mu.Lock()
	listeners := p.listeners
	p.mu.Unlock()
	for _, f := range listeners {
		f(pod)
	}
}
