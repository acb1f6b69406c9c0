package storage

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// Options are what [Volumes] is made of. Workers and Clock have defaults.
type Options struct {
	// Origin is the id of the home cluster, Provider that of the provider.
	Origin, Provider string
	// Home and Away are uncached clients of both clusters, whose schemes have core/v1 and storage/v1.
	Home client.WithWatch
	Away client.Client
	// Offered returns the storage classes that one of the provider's virtual Nodes offers, none when it does not say,
	// and false when the Node is not the provider's.
	Offered func(node string) ([]v1beta1.StorageType, bool)
	// Events tells the users of claims what could not be done.
	Events record.EventRecorder
	// Workers is how many claims and volumes are worked on at once (4).
	Workers int
	// Clock is the real one unless a test says otherwise.
	Clock clock.WithTicker
}

// Volumes are the home volumes whose data are on one provider.
type Volumes struct {
	opts    Options
	queue   workqueue.TypedRateLimitingInterface[item]
	retries *remote.Retries[item]
	volumes cache.Indexer
	runs    cache.Controller
	synced  atomic.Bool

	mu        sync.Mutex
	twins     map[string]string // by home namespace
	listeners []func(namespace, name string)
}

// item is a claim or, without a namespace, a volume to look at.
type item struct{ namespace, name string }

// Pauses between two looks at one object.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 30 * time.Second
	// soon is when to look again at what is about to change: an older claim on its way.
	soon = time.Second
	// heldFor is how long an older claim may take to go before the pod is let go elsewhere.
	heldFor = 30 * time.Second
	// reconsider is when to ask a provider again that could not have a claim's volume.
	reconsider = time.Minute
)

// patience is how many times in a row, which takes some twelve seconds, a provider may fail to answer before the pod
// is let go elsewhere.
const patience = 6

// byClaim finds volumes by the namespace/name of their claim.
const byClaim = "claim"

// New returns Volumes that do nothing until [Volumes.Start].
func New(opts Options) (*Volumes, error) {
	if opts.Origin == "" || opts.Provider == "" || opts.Home == nil || opts.Away == nil || opts.Offered == nil ||
		opts.Events == nil {
		return nil, errors.New("storage needs both cluster ids, both clients, what is on offer and an event recorder")
	}
	if opts.Workers < 1 {
		opts.Workers = 4
	}
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	v := &Volumes{
		opts: opts, twins: map[string]string{}, retries: remote.NewRetries(
			workqueue.NewTypedItemExponentialFailureRateLimiter[item](firstRetry, lastRetry)),
	}
	v.queue = workqueue.NewTypedRateLimitingQueueWithConfig[item](v.retries,
		workqueue.TypedRateLimitingQueueConfig[item]{Name: "volumes", Clock: opts.Clock})
	v.watch()
	return v, nil
}

// Retry looks again, now, at what has failed. Call it when the provider answers again.
func (v *Volumes) Retry() { v.retries.Hurry(v.queue.Add) }

// watch prepares the watch of the provider's volumes at home.
func (v *Volumes) watch() {
	ours := labels.SelectorFromSet(labels.Set{v1beta1.LabelRemoteClusterID: v.opts.Provider})
	changed := func(obj any) {
		if gone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
			obj = gone.Obj
		}
		if pv, ok := obj.(*corev1.PersistentVolume); ok {
			v.changed(pv)
		}
	}
	store, runs := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: listWatch(v.opts.Home, ours, v.opts.Clock), ObjectType: &corev1.PersistentVolume{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc: changed, DeleteFunc: changed, UpdateFunc: func(_, obj any) { changed(obj) },
		},
		Indexers: cache.Indexers{byClaim: claimOf},
	})
	v.volumes, v.runs = store.(cache.Indexer), runs //nolint:forcetypeassert // with Indexers it is one
}

func claimOf(obj any) ([]string, error) {
	if pv, ok := obj.(*corev1.PersistentVolume); ok && pv.Spec.ClaimRef != nil {
		return []string{pv.Spec.ClaimRef.Namespace + "/" + pv.Spec.ClaimRef.Name}, nil
	}
	return nil, nil
}

// changed has a volume that may have to go looked at, and tells whoever makes copies.
func (v *Volumes) changed(pv *corev1.PersistentVolume) {
	if pv.Status.Phase == corev1.VolumeReleased {
		v.queue.Add(item{name: pv.Name})
	}
	ref := pv.Spec.ClaimRef
	if ref == nil {
		return
	}
	v.mu.Lock()
	listeners := v.listeners
	v.mu.Unlock()
	for _, f := range listeners {
		f(ref.Namespace, ref.Name)
	}
}

// OnChange makes f be called with the claim of each volume that changes.
func (v *Volumes) OnChange(f func(namespace, name string)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.listeners = append(v.listeners, f)
}

// TwinReady takes note of the twin of a namespace.
func (v *Volumes) TwinReady(home, away string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.twins[home] = away
}

// TwinLeaving forgets the twin of a namespace.
func (v *Volumes) TwinLeaving(home string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.twins, home)
}

// TwinGone is TwinLeaving: whatever the twin had is lost, which is seen when there is one again.
func (v *Volumes) TwinGone(home string) { v.TwinLeaving(home) }

func (v *Volumes) twin(home string) (string, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	away, ok := v.twins[home]
	return away, ok
}

// Start works until ctx is done.
func (v *Volumes) Start(ctx context.Context) error {
	var running sync.WaitGroup
	running.Go(func() { v.runs.RunWithContext(ctx) })
	if cache.WaitForCacheSync(ctx.Done(), v.runs.HasSynced) {
		v.synced.Store(true)
		for _, obj := range v.volumes.List() {
			if pv, ok := obj.(*corev1.PersistentVolume); ok {
				v.changed(pv)
			}
		}
	}
	for range v.opts.Workers {
		running.Go(func() { v.work(ctx) })
	}
	<-ctx.Done()
	v.queue.ShutDown()
	running.Wait()
	return nil
}

func (v *Volumes) work(ctx context.Context) {
	for {
		it, shutdown := v.queue.Get()
		if shutdown {
			return
		}
		v.pass(ctx, it)
		v.queue.Done(it)
	}
}

// passTimeout bounds one look, which is a handful of calls.
const passTimeout = 30 * time.Second

// pass looks at one object and decides when to look at it next.
func (v *Volumes) pass(ctx context.Context, it item) {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	look := v.lookAtClaim
	if it.namespace == "" {
		look = v.lookAtVolume
	}
	after, err := look(ctx, it)
	if err != nil {
		log.FromContext(ctx).V(1).Info("cannot look after a volume yet",
			"namespace", it.namespace, "name", it.name, "err", err.Error())
		v.queue.AddRateLimited(it)
		return
	}
	v.queue.Forget(it)
	if after > 0 {
		v.queue.AddAfter(it, after)
	}
}

// known returns the volume of that name if it is one of ours.
func (v *Volumes) known(name string) *corev1.PersistentVolume {
	obj, exists, _ := v.volumes.GetByKey(name) // fails never
	pv, ok := obj.(*corev1.PersistentVolume)
	if !exists || !ok || !v.ours(pv) {
		return nil
	}
	return pv
}

// ours says that a volume stands for data on our provider.
func (v *Volumes) ours(pv *corev1.PersistentVolume) bool {
	at, ok := handleOf(pv)
	return ok && at.provider == v.opts.Provider && pv.Labels[v1beta1.LabelRemoteClusterID] == v.opts.Provider &&
		pv.Annotations[v1beta1.AnnotationProvisionedBy] == v1beta1.StorageProvisioner
}

// VolumeOf returns the volume that a claim is bound to, nil when it has none on this provider.
func (v *Volumes) VolumeOf(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	pv := v.known(claim.Spec.VolumeName)
	if pv == nil || pv.Spec.ClaimRef.UID != claim.UID || Another(claim, pv) != "" {
		return nil
	}
	return pv
}

// Another says that a volume of ours has the data of a claim of another name: whoever bound this one to it would get an
// empty copy. "" means that it has not.
func Another(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) string {
	at, ok := handleOf(pv)
	if !ok || at.claim == claim.Name {
		return ""
	}
	return fmt.Sprintf("its volume %s has the data of a claim %q: only a claim of that name in the same namespace can "+
		"have them", pv.Name, at.claim)
}

// Class returns the storage class of the copy of a claim, "" for the provider's default.
func (v *Volumes) Class(claim *corev1.PersistentVolumeClaim) string {
	offered, _ := v.opts.Offered(claim.Annotations[v1beta1.AnnotationSelectedNode])
	class, _ := classFor(claim, offered)
	return class
}

// Stay says why a claim has no copy on the provider, or none yet; "" when its volume is there. A claim that waits for a
// volume here, or has something to be done about it, is looked after.
func (v *Volumes) Stay(claim *corev1.PersistentVolumeClaim) string {
	it := item{claim.Namespace, claim.Name}
	if !v.synced.Load() {
		if claim.Status.Phase != corev1.ClaimBound && v.place(claim) != "" {
			v.queue.Add(it) // which is not worked on before they are
		}
		return "the volumes at home are not known yet"
	}
	if pv := v.VolumeOf(claim); pv != nil {
		if unattended(claim, pv) {
			v.queue.Add(it)
		}
		return ""
	}
	if v.place(claim) != "" {
		v.queue.Add(it)
	}
	return Elsewhere(claim, v.known(claim.Spec.VolumeName), func(node string) bool {
		_, ok := v.opts.Offered(node)
		return ok
	})
}

// Elsewhere says why a claim without a volume on a provider has no copy there. pv is the volume of ours that it is
// bound to all the same, nil if it is not; ours says whether a Node is the provider's.
func Elsewhere(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume, ours func(node string) bool) string {
	refused := Refusals(claim)
	maps.DeleteFunc(refused, func(node, _ string) bool { return !ours(node) })
	node := claim.Annotations[v1beta1.AnnotationSelectedNode]
	switch {
	case pv != nil && Another(claim, pv) != "":
		return Another(claim, pv)
	case claim.Spec.VolumeName != "" && (claim.Spec.VolumeName != volumeName(claim.UID) || !ours(chosen(claim))):
		return fmt.Sprintf("its volume %s is not on this provider", claim.Spec.VolumeName)
	case chosen(claim) != "" && ours(node):
		return "its volume on virtual node " + node + " is not made yet"
	case len(refused) > 0:
		return refusedMessage(refused)
	case node == "":
		return "no pod that uses it has been placed yet"
	}
	return "its volume is made elsewhere"
}

// place returns the virtual Node of ours that a claim without a volume waits for, or is refused by.
func (v *Volumes) place(claim *corev1.PersistentVolumeClaim) string {
	if node := chosen(claim); node != "" {
		// One that is bound to a volume of the name that we give has lost it: to somebody who deleted it by force.
		mine := claim.Spec.VolumeName == "" || claim.Spec.VolumeName == volumeName(claim.UID)
		if _, ok := v.opts.Offered(node); ok && mine {
			return node
		}
	}
	for node := range Refusals(claim) {
		if _, ok := v.opts.Offered(node); ok {
			return node
		}
	}
	return ""
}

// unattended says that a volume does not know yet which copy has its data, or how large it is, or that a loss may not
// have been told.
func unattended(claim *corev1.PersistentVolumeClaim, pv *corev1.PersistentVolume) bool {
	return pv.Annotations[v1beta1.AnnotationRemoteClaimUID] == "" || outgrown(claim, pv) || lost(claim) != nil ||
		claim.Annotations[v1beta1.AnnotationVolumeRefused] != ""
}

// Kept says why the copy of a claim that is gone, or is to stay at home, is not deleted with it; "" lets it go.
func (v *Volumes) Kept(namespace, name string) (string, error) {
	if !v.synced.Load() {
		return "", errors.New("the volumes at home are not known yet")
	}
	objs, err := v.volumes.ByIndex(byClaim, namespace+"/"+name)
	if err != nil {
		return "", fmt.Errorf("find the volumes of claim %s/%s: %w", namespace, name, err)
	}
	for _, obj := range objs {
		if pv, ok := obj.(*corev1.PersistentVolume); ok && v.ours(pv) {
			return standsFor(pv), nil
		}
	}
	return v.retained(namespace, name)
}

func standsFor(pv *corev1.PersistentVolume) string {
	return "volume " + pv.Name + " at home stands for its data"
}
