package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/env"
)

// idealRunner is the word that makes this program the ideal loop: what anybody needs who runs pods elsewhere, and
// nothing besides. It watches, creates a remote pod, and writes its status back once; it knows no policy, asks nobody
// whether the provider is well, and gets everything wrong that goes wrong. How long it takes is the floor on this
// machine, today.
const idealRunner = "ideal-loop"

// idealNode is the node whose pods it runs.
const idealNode = "ideal"

// idealTask says between which clusters, by kubeconfigs, and where the second one's API server is reached.
type idealTask struct{ Home, Away, AwayServer string }

type idealLoop struct {
	home, away       kubernetes.Interface
	homePods, theirs cache.SharedIndexInformer
	queue            workqueue.TypedRateLimitingInterface[cache.ObjectName]
}

// runIdeal runs the loop until ctx ends.
func runIdeal(ctx context.Context, task string) error {
	var t idealTask
	if err := json.Unmarshal([]byte(task), &t); err != nil {
		return fmt.Errorf("read task: %w", err)
	}
	l, err := newIdealLoop(t)
	if err != nil {
		return err
	}
	go l.homePods.RunWithContext(ctx)
	go l.theirs.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), l.homePods.HasSynced, l.theirs.HasSynced) {
		return ctx.Err()
	}
	for range 16 { // as many as the agent has
		go func() {
			for l.next(ctx) {
			}
		}()
	}
	defer l.queue.ShutDown()
	for ctx.Err() == nil {
		if err := l.beat(ctx); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "ideal loop:", err) // the next one is in time
		}
		_ = pause(ctx, 10*time.Second)
	}
	return nil
}

func newIdealLoop(t idealTask) (*idealLoop, error) {
	here, err := hurried("", t.Home)
	if err != nil {
		return nil, err
	}
	there, err := hurried(t.AwayServer, t.Away)
	if err != nil {
		return nil, err
	}
	l := &idealLoop{home: here, away: there, queue: workqueue.NewTypedRateLimitingQueue(
		workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](50*time.Millisecond, time.Second))}
	own := fields.OneTermEqualSelector("spec.nodeName", idealNode).String()
	l.homePods = coreinformers.NewFilteredPodInformer(here, metav1.NamespaceAll, 0, cache.Indexers{},
		func(o *metav1.ListOptions) { o.FieldSelector = own })
	l.theirs = coreinformers.NewFilteredPodInformer(there, metav1.NamespaceAll, 0, cache.Indexers{},
		func(o *metav1.ListOptions) { o.LabelSelector = idealNode })
	return l, errors.Join(l.follow(l.homePods, ""), l.follow(l.theirs, idealSuffix))
}

// idealSuffix makes the name of a namespace on the provider. It is that of a twin, so that requests are counted as with
// the agent.
const idealSuffix = "-" + env.Consumer

// follow has the pods of an informer looked at, by their names at home.
func (l *idealLoop) follow(informer cache.SharedIndexInformer, suffix string) error {
	add := func(obj any) {
		if name, err := cache.DeletionHandlingObjectToName(obj); err == nil {
			name.Namespace = name.Namespace[:len(name.Namespace)-len(suffix)]
			l.queue.Add(name)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: add, UpdateFunc: func(_, obj any) { add(obj) }, DeleteFunc: add,
	})
	return err
}

func (l *idealLoop) next(ctx context.Context) bool {
	name, down := l.queue.Get()
	if down {
		return false
	}
	defer l.queue.Done(name)
	if err := l.step(ctx, name); err != nil {
		l.queue.AddRateLimited(name)
	} else {
		l.queue.Forget(name)
	}
	return true
}

// step does the one thing that is next for a pod.
func (l *idealLoop) step(ctx context.Context, name cache.ObjectName) error {
	away := cache.NewObjectName(name.Namespace+idealSuffix, name.Name)
	here, there := cached(l.homePods, name.String()), cached(l.theirs, away.String())
	var err error
	switch {
	case here == nil && there == nil:
	case here == nil || here.DeletionTimestamp != nil:
		err = l.end(ctx, name, away, there)
	case there == nil:
		_, err = l.away.CoreV1().Pods(away.Namespace).Create(ctx, remoteOf(here), metav1.CreateOptions{})
	case there.Status.Phase == corev1.PodRunning && here.Status.Phase != corev1.PodRunning:
		err = l.tell(ctx, name, &there.Status)
	}
	if apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) { // a watch is late
		return nil
	}
	return err
}

// end deletes the remote pod and, once that is gone, the one at home.
func (l *idealLoop) end(ctx context.Context, home, away cache.ObjectName, there *corev1.Pod) error {
	switch {
	case there == nil:
		return l.home.CoreV1().Pods(home.Namespace).Delete(ctx, home.Name,
			metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)})
	case there.DeletionTimestamp == nil:
		return l.away.CoreV1().Pods(away.Namespace).Delete(ctx, away.Name, metav1.DeleteOptions{})
	}
	return nil
}

// tell writes a remote pod's status back.
func (l *idealLoop) tell(ctx context.Context, home cache.ObjectName, status *corev1.PodStatus) error {
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	_, err = l.home.CoreV1().Pods(home.Namespace).Patch(ctx, home.Name, types.MergePatchType, patch,
		metav1.PatchOptions{}, "status")
	return err
}

func cached(informer cache.SharedIndexInformer, key string) *corev1.Pod {
	obj, exists, _ := informer.GetIndexer().GetByKey(key) // fails only with a store that can
	if !exists {
		return nil
	}
	return obj.(*corev1.Pod)
}

// remoteOf returns the remote pod of one of the benchmark's pods.
func remoteOf(home *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: home.Namespace + idealSuffix, Name: home.Name, Labels: map[string]string{idealNode: "true"},
		},
		Spec: *home.Spec.DeepCopy(),
	}
	s := &out.Spec
	s.NodeName, s.NodeSelector, s.Tolerations, s.Volumes = "", nil, nil, nil
	for i := range s.Containers {
		s.Containers[i].VolumeMounts = nil
	}
	return out
}

// beat says that the node is well.
func (l *idealLoop) beat(ctx context.Context) error {
	leases := l.home.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	spec := coordinationv1.LeaseSpec{
		HolderIdentity: ptr.To(idealNode), LeaseDurationSeconds: ptr.To[int32](40),
		RenewTime: ptr.To(metav1.NowMicro()),
	}
	patch, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		return fmt.Errorf("describe the node's lease: %w", err)
	}
	_, err = leases.Patch(ctx, idealNode, types.MergePatchType, patch, metav1.PatchOptions{})
	if apierrors.IsNotFound(err) {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: idealNode}, Spec: spec}
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renew the node's lease: %w", err)
	}
	return nil
}
