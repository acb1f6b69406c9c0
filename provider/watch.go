package provider

import (
	"context"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/watching"
)

// watch is one informer that can be stopped. Its store lives as long as it does.
type watch struct {
	informer cache.SharedIndexInformer
	cancel   context.CancelFunc
	// synced keeps what the informer said: it is asked for every pod that is looked at, and answers under its own lock.
	synced atomic.Bool
	// namespace is the one that this is about, of those that the informer has; empty means all.
	namespace string
}

// watchOptions say what a watch of pods selects and keeps.
type watchOptions struct {
	client    kubernetes.Interface
	cluster   string // what the client talks to, in the log
	namespace string
	tweak     func(*metav1.ListOptions)
	transform cache.TransformFunc
	handler   cache.ResourceEventHandlerFuncs
	// synced is called once when the first list is in.
	synced func()
}

// startWatch begins watching pods, after Start. It needs the lock.
func (p *Pods) startWatch(o watchOptions) (*watch, error) {
	informer := cache.NewSharedIndexInformer(p.listWatch(o), &corev1.Pod{}, 0, byNamespace())
	if err := informer.SetTransform(o.transform); err != nil {
		return nil, err
	}
	registration, err := informer.AddEventHandler(o.handler)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(p.ctx)
	p.running.Add(2)
	go func() {
		defer p.running.Done()
		informer.RunWithContext(ctx)
	}()
	go func() {
		defer p.running.Done()
		if cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
			o.synced()
		}
	}()
	return &watch{informer: informer, cancel: cancel}, nil
}

// listWatch asks for the pods, patiently.
func (p *Pods) listWatch(o watchOptions) cache.ListerWatcher {
	attempts := &watching.Attempts{
		Cluster: o.cluster, Namespace: o.namespace, Resource: "pods", Clock: p.opts.Clock,
		Count: p.opts.Metrics.failure,
	}
	return attempts.ListWatch(watching.Through(o.client.CoreV1().Pods(o.namespace), o.client, o.tweak))
}

func byNamespace() cache.Indexers {
	return cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
}

// pod returns a pod of the store, or nil.
func (w *watch) pod(k key) *corev1.Pod {
	if w == nil {
		return nil
	}
	obj, ok, err := w.informer.GetStore().GetByKey(k.String())
	if err != nil || !ok {
		return nil
	}
	return obj.(*corev1.Pod)
}

// pods returns the pods of a namespace, or of all, that the store has.
func (w *watch) pods(namespace string) []*corev1.Pod {
	if w == nil {
		return nil
	}
	if namespace == corev1.NamespaceAll {
		namespace = w.namespace
	}
	var out []*corev1.Pod
	// Without an index it would list all, so there is no error to tell of.
	_ = cache.ListAllByNamespace(w.informer.GetIndexer(), namespace, labels.Everything(), func(obj any) {
		out = append(out, obj.(*corev1.Pod))
	})
	return out
}

func (w *watch) hasSynced() bool {
	if w == nil {
		return false
	}
	if !w.synced.Load() && w.informer.HasSynced() {
		w.synced.Store(true)
	}
	return w.synced.Load()
}

func (w *watch) stop() {
	if w != nil {
		w.cancel()
	}
}

// withoutManagedFields is the transform of home pods: the managed fields are a third of a pod, and nobody reads them.
func withoutManagedFields(obj any) (any, error) {
	if pod, ok := obj.(*corev1.Pod); ok {
		pod.ManagedFields = nil
	}
	return obj, nil
}

// onlyStatus is the transform of remote pods: their status, their marks, what deleting them needs, what they take of
// which node, and what tells whether they have taken all that home has changed.
func onlyStatus(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	m := pod.ObjectMeta
	pod.ObjectMeta = metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, ResourceVersion: m.ResourceVersion, Generation: m.Generation,
		CreationTimestamp: m.CreationTimestamp, Finalizers: m.Finalizers,
		DeletionTimestamp: m.DeletionTimestamp, DeletionGracePeriodSeconds: m.DeletionGracePeriodSeconds,
		Labels: m.Labels, Annotations: translate.Shrink(m.Annotations),
	}
	var debug []corev1.EphemeralContainer
	for _, c := range pod.Spec.EphemeralContainers {
		debug = append(debug, corev1.EphemeralContainer{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: c.Name},
		})
	}
	pod.Spec = corev1.PodSpec{
		TerminationGracePeriodSeconds: pod.Spec.TerminationGracePeriodSeconds,
		NodeName:                      pod.Spec.NodeName, Resources: requested(pod),
		EphemeralContainers: debug,
	}
	return pod, nil
}
