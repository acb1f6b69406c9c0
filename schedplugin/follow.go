package schedplugin

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// follow subscribes to what the scheduler watches anyway.
func follow(factory informers.SharedInformerFactory, p *policies, proofs *proofs) error {
	nodes := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { on(obj, p.putNode) },
		UpdateFunc: func(_, obj any) { on(obj, p.putNode) },
		DeleteFunc: func(obj any) { on(last(obj), func(node *corev1.Node) { p.dropNode(node.Name) }) },
	}
	if _, err := factory.Core().V1().Nodes().Informer().AddEventHandler(nodes); err != nil {
		return fmt.Errorf("follow nodes: %w", err)
	}
	namespaces := cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(obj any, initial bool) {
			if !initial { // no pod was looked at before the first list was complete
				on(obj, func(ns *corev1.Namespace) { p.relabel(nil, ns) })
			}
		},
		UpdateFunc: func(before, after any) {
			on(before, func(before *corev1.Namespace) {
				on(after, func(after *corev1.Namespace) {
					if before.Labels[v1beta1.LabelSchedulingEnabled] != after.Labels[v1beta1.LabelSchedulingEnabled] {
						p.relabel(before, after)
					}
				})
			})
		},
		DeleteFunc: func(obj any) { on(last(obj), func(ns *corev1.Namespace) { proofs.forget(ns.Name) }) },
	}
	if _, err := factory.Core().V1().Namespaces().Informer().AddEventHandler(namespaces); err != nil {
		return fmt.Errorf("follow namespaces: %w", err)
	}
	return nil
}

func on[T any](obj any, do func(*T)) {
	if t, ok := obj.(*T); ok {
		do(t)
	}
}

// last returns the object that a deletion is about, as it was seen last.
func last(obj any) any {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		return tombstone.Obj
	}
	return obj
}
