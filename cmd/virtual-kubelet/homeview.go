package main

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/provider"
)

// homeView tells reflection of the pods and Nodes of this provider, from caches that others keep. The manager starts
// nothing that asks it before those are filled.
type homeView struct {
	home      client.Client
	clusterID string
	pods      *provider.Pods
}

// List returns the pods of a namespace that are bound to our Nodes, and whether these are all.
func (v *homeView) List(namespace string) ([]*corev1.Pod, bool) {
	nodes, known := v.nodes()
	for _, node := range nodes {
		known = known && v.pods.Synced(node)
	}
	return v.pods.List(namespace), known
}

// OnChange makes f be called for each pod on our Nodes that changes.
func (v *homeView) OnChange(f func(pod *corev1.Pod)) { v.pods.OnChange(f) }

func (v *homeView) ourNode(name string) bool {
	nodes, _ := v.nodes()
	return slices.Contains(nodes, name)
}

// nodes returns the names of the Nodes that we are asked for, and whether these are all.
func (v *homeView) nodes() ([]string, bool) {
	var list v1beta1.VirtualNodeList
	err := v.home.List(context.Background(), &list, client.InNamespace(v1beta1.TenantNamespace(v.clusterID)),
		client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, false
	}
	var names []string
	for i := range list.Items {
		if create := list.Items[i].Spec.CreateNode; create == nil || *create {
			names = append(names, list.Items[i].Name)
		}
	}
	return names, true
}

// onChange calls f with each object of a kind that the manager's cache sees added, changed or deleted.
func onChange[T client.Object](mgr manager.Manager, kind T, f func(T)) error {
	return mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		informer, err := mgr.GetCache().GetInformer(ctx, kind)
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind, err)
		}
		changed := func(obj any) {
			if gone, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = gone.Obj
			}
			if known, ok := obj.(T); ok {
				f(known)
			}
		}
		_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc:    changed,
			UpdateFunc: func(_, obj any) { changed(obj) },
			DeleteFunc: changed,
		})
		if err != nil {
			return fmt.Errorf("watch %T: %w", kind, err)
		}
		<-ctx.Done()
		return nil
	}))
}
