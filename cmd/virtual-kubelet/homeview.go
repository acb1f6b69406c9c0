package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

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
	homeID    string
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

// clusterOf returns the id of the cluster where the pods of a Node run: its provider's, whichever that is, or home's.
func (v *homeView) clusterOf(name string) string {
	var node corev1.Node
	err := v.home.Get(context.Background(), client.ObjectKey{Name: name}, &node, client.UnsafeDisableDeepCopy)
	if provider := node.Labels[v1beta1.LabelRemoteClusterID]; err == nil && provider != "" {
		return provider
	}
	return v.homeID
}

// nodes returns the names of the Nodes that we are asked for, and whether these are all.
func (v *homeView) nodes() ([]string, bool) {
	all, known := v.virtualNodes()
	var names []string
	for i := range all {
		if create := all[i].Spec.CreateNode; create == nil || *create {
			names = append(names, all[i].Name)
		}
	}
	return names, known
}

// loadBalancerClasses returns what the provider's VirtualNodes offer.
func (v *homeView) loadBalancerClasses() []v1beta1.LoadBalancerType {
	return offered(v, func(spec *v1beta1.VirtualNodeSpec) []v1beta1.LoadBalancerType {
		return spec.LoadBalancerClasses
	})
}

// ingressClasses returns what the provider's VirtualNodes offer.
func (v *homeView) ingressClasses() []v1beta1.IngressType {
	return offered(v, func(spec *v1beta1.VirtualNodeSpec) []v1beta1.IngressType { return spec.IngressClasses })
}

// offered returns what the provider's VirtualNodes offer, in the order of their names.
func offered[T any](v *homeView, of func(*v1beta1.VirtualNodeSpec) []T) []T {
	all, _ := v.virtualNodes()
	slices.SortFunc(all, func(a, b v1beta1.VirtualNode) int { return strings.Compare(a.Name, b.Name) })
	var out []T
	for i := range all {
		out = append(out, of(&all[i].Spec)...)
	}
	return out
}

// virtualNodes returns those of the provider, shared with the cache, and whether these are all.
func (v *homeView) virtualNodes() ([]v1beta1.VirtualNode, bool) {
	var list v1beta1.VirtualNodeList
	err := v.home.List(context.Background(), &list, client.InNamespace(v1beta1.TenantNamespace(v.clusterID)),
		client.UnsafeDisableDeepCopy)
	return list.Items, err == nil
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
