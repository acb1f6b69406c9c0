package namespacemap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// retryConflict is when a write that lost a race is tried again, should the winner's event not come first.
const retryConflict = time.Second

// Offloadings turns every NamespaceOffloading into keys of NamespaceMaps, the label of its namespace and the agents'
// rights there, and the agents' answers into its status. It also takes back what a lost NamespaceOffloading left.
type Offloadings struct {
	// Home reads from caches made with [CacheOptions], Live from the API server.
	Home client.Client
	Live client.Reader
	// ClusterID is the home cluster's.
	ClusterID string
	// Clock dates conditions.
	Clock clock.PassiveClock
	// Events tells users what changed.
	Events events.EventRecorder
	// Tenants are asked before a twin goes whose namespace evicts pods when the policy changes; nil keeps none.
	Tenants Tenants

	// MaxNamespaces is how many namespaces a NamespaceMap takes: [MaxNamespaces] unless set.
	MaxNamespaces int

	views   mapView
	commits groupCommit
	room    room
	rests   rests
	own     ownWrites
}

// step is one part of a reconcile, tested alone.
type step func(context.Context, *pass) error

// Reconcile brings one namespace from what is to what is asked.
func (o *Offloadings) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	if request.Name != v1beta1.OffloadingName {
		return reconcile.Result{}, nil // refused by the API server; nothing to do about one that got through
	}
	p, err := o.look(ctx, request.Namespace)
	switch {
	case err != nil:
		return reconcile.Result{}, err
	case p.off == nil:
		return settle(o.sweep(ctx, p))
	case p.leaving():
		return o.release(ctx, p)
	}
	before := p.off.DeepCopy()
	if err := o.marks(ctx, p); err != nil { // nothing may be begun before the finalizer stands
		p.off = before.DeepCopy()
		return settle(errors.Join(p.blame("", err), o.conditions(ctx, p), o.patchStatus(ctx, before, p)))
	}
	before.ObjectMeta = p.off.ObjectMeta
	var errs []error
	for _, do := range []step{o.keep, o.label, o.admit, o.grant, o.mappings, o.revoke, o.conditions} {
		errs = append(errs, do(ctx, p))
	}
	return p.patient(settle(errors.Join(append(errs, o.patchStatus(ctx, before, p))...)))
}

// settle keeps lost races out of the logs: whoever won has made an event that brings us back.
func settle(err error) (reconcile.Result, error) {
	if lostRace(err) {
		return reconcile.Result{RequeueAfter: retryConflict}, nil
	}
	return reconcile.Result{}, err
}

// lostRace says that all that went wrong are lost races.
func lostRace(err error) bool {
	var many interface{ Unwrap() []error }
	if !errors.As(err, &many) {
		return apierrors.IsConflict(err)
	}
	return !slices.ContainsFunc(many.Unwrap(), func(one error) bool { return !lostRace(one) })
}

// release is the way out: the label goes first, so that no pod is scheduled abroad any more; then the keys, and with
// the last entry of the maps, or by force before that, the finalizer.
func (o *Offloadings) release(ctx context.Context, p *pass) (reconcile.Result, error) {
	before := p.off.DeepCopy()
	var errs []error
	for _, do := range []step{o.label, o.mappings, o.revoke} {
		errs = append(errs, do(ctx, p))
	}
	err := errors.Join(errs...)
	var again time.Duration
	if err == nil {
		var gone bool
		if gone, again, err = o.goodbye(ctx, p); gone {
			return reconcile.Result{}, nil
		}
	}
	result, err := settle(errors.Join(err, o.conditions(ctx, p), o.patchStatus(ctx, before, p)))
	if err == nil && result.RequeueAfter == 0 {
		result.RequeueAfter = again
	}
	return p.patient(result, err)
}

// sweep takes back what is left of a namespace without NamespaceOffloading: one that was force-finalized, or a key that
// somebody wrote into a map by hand. It believes no cache that there is none.
func (o *Offloadings) sweep(ctx context.Context, p *pass) error {
	bound, err := o.bindings(ctx, p.home)
	if err != nil {
		return err
	}
	if len(p.clusters()) == 0 && len(bound) == 0 {
		return nil
	}
	key := client.ObjectKey{Namespace: p.home, Name: v1beta1.OffloadingName}
	switch err := o.Live.Get(ctx, key, &v1beta1.NamespaceOffloading{}); {
	case err == nil:
		return nil // not in our cache yet; its event is on the way
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("get offloading of %s: %w", p.home, err)
	}
	return errors.Join(o.label(ctx, p), o.mappings(ctx, p), o.revoke(ctx, p))
}

// patchStatus writes the status, if there is anything new in it.
func (o *Offloadings) patchStatus(ctx context.Context, before *v1beta1.NamespaceOffloading, p *pass) error {
	if equality.Semantic.DeepEqual(before.Status, p.off.Status) {
		return nil
	}
	now := o.Clock.Now()
	if len(p.trouble) == 0 { // which is said at once
		if left := o.rests.left(p.home, now, &before.Status, &p.off.Status); left > 0 {
			p.again = left
			return nil
		}
	}
	after := p.off.DeepCopy()
	// The lists of conditions are replaced as a whole: never on top of a state that we have not seen.
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := o.Home.Status().Patch(ctx, p.off, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("patch status of offloading of %s: %w", p.home, err)
	}
	o.own.wrote(p.off)
	o.rests.wrote(p.home, now, &after.Status)
	o.announce(before, after)
	return nil
}
