package namespacemap

import (
	"cmp"
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap/naming"
	"github.com/twinspace/twinspace/reflection/remote"
)

const (
	// callTimeout bounds every call to a provider, so that a black hole holds a worker no longer.
	callTimeout = 10 * time.Second
	// DefaultResync is how often a twin that nothing happened to is looked at again: role bindings cannot be watched.
	DefaultResync = time.Minute
	// resyncPace keeps the looks at thousands of twins from being load: there are no more than one in this time.
	resyncPace = 100 * time.Millisecond
	// resyncJitter spreads them.
	resyncJitter = 0.5
	// retryRequired is when a twin that still is required, though its key is gone, is looked at again.
	retryRequired = time.Second
	// retryTerminating is when a twin on its way out is looked at again, should no event come first. Of thousands that
	// leave together, each is looked at less often, as with resyncPace.
	retryTerminating = 5 * time.Second
)

// TwinKey is one item of work of [Twins]: everything about the twins of one home namespace.
type TwinKey struct {
	// Home is the name of the home namespace.
	Home string
}

// Listener is told what happens to the twins of one provider. Its methods are called while a reconcile waits: they must
// not block.
type Listener interface {
	// TwinReady says that the twin exists, is ours, and our rights in it are in place. Repeated calls are no-ops; it
	// may come again after TwinLeaving.
	TwinReady(home, away string)
	// TwinLeaving says that the twin is about to be deleted: nothing may be written into it any more.
	TwinLeaving(home string)
	// TwinGone says that the twin is gone, or never was.
	TwinGone(home string)
}

// Twins makes the namespaces on one provider that the provider's NamespaceMap at home asks for, deletes those that it
// no longer asks for, and answers in the map's status. It runs in the agent.
//
// What it does on the provider it decides by reading there and then, never by a cache: a namespace is ours only if it
// carries all our marks, which are in its first write, and only such a one is ever bound to, written to or deleted.
type Twins struct {
	// Home reads NamespaceMaps and the metadata of namespaces from caches; Live reads from the API server at home.
	Home client.Client
	Live client.Reader
	// Away is the provider, uncached.
	Away client.Client
	// Origin is the id of the home cluster, ClusterID that of the provider.
	Origin    string
	ClusterID string
	// Listeners are told what happens to the twins.
	Listeners []Listener
	// PodSecurity is the level enforced in twins, baseline unless set.
	PodSecurity string
	// Resync is [DefaultResync] unless set. With many twins it takes longer.
	Resync time.Duration
	// OnRecovery has a function called whenever the provider answers again after it did not; nil is never.
	OnRecovery func(func())
	// OnRefusal has a function called with a namespace of the provider whenever a request in it is refused for want of
	// a right; nil is never.
	OnRefusal func(func(namespace string))
	// Metrics counts what is done on the provider; nil counts nothing.
	Metrics *Metrics

	// strays returns the namespaces on the provider that carry our marks for a home namespace, as far as the watch has
	// seen them: a hint what to read, not what to do.
	strays func(home string) []string
	// homes returns the home namespaces that there are strays of.
	homes func() []string

	views   mapView
	commits groupCommit
	// begun are the twins that are being made, and that no map tells of yet; going those that listeners were told are
	// leaving, and not yet that they are gone.
	begun, going twinNames
}

// visit is one look at one home namespace.
type visit struct {
	home string
	m    client.ObjectKey
	// want is the name that the map asks for, entry what it says is there.
	want  string
	entry *v1beta1.TwinStatus
	// words is how long a message may be, twins how many the map asks for or still has.
	words, twins int
	// homeUID is the incarnation of the home namespace.
	homeUID string
}

func (v *visit) accepted() bool { return v.entry != nil && v.entry.Phase == v1beta1.MappingAccepted }

// lost says that the twin was accepted once, and then was not ours any more.
func (v *visit) lost() bool { return v.entry != nil && v.entry.Reason == reasonTwinLost }

// Reconcile brings the twin of one home namespace from what is to what is asked.
func (t *Twins) Reconcile(ctx context.Context, key TwinKey) (reconcile.Result, error) {
	name := client.ObjectKey{Namespace: v1beta1.TenantNamespace(t.ClusterID), Name: t.ClusterID}
	m, err := t.views.get(ctx, t.Home, name)
	switch {
	case apierrors.IsNotFound(err):
		return t.tidy(ctx, key.Home)
	case err != nil:
		return reconcile.Result{}, err
	}
	v := &visit{home: key.Home, m: name, want: m.Spec.DesiredMapping[key.Home], entry: entryOf(m, key.Home),
		words: messageLimit(m), twins: max(len(m.Spec.DesiredMapping), len(m.Status.CurrentMapping))}
	switch {
	case v.entry != nil && v.entry.RemoteNamespace != "" && v.entry.RemoteNamespace != v.want:
		return t.remove(ctx, v, v.entry.RemoteNamespace)
	case v.want != "":
		return t.ensure(ctx, v)
	case v.entry != nil: // written by hand, and about nothing
		return reconcile.Result{}, t.forget(ctx, v)
	}
	for _, stray := range t.straysOf(key.Home) {
		return t.remove(ctx, v, stray) // one at a time; its going brings us back for the next
	}
	if going := t.going.of(key.Home); going != "" { // and the map that told of it is no more
		return t.remove(ctx, v, going)
	}
	return reconcile.Result{}, nil
}

// ensure makes the twin, or finds it, and gives us our rights in it.
func (t *Twins) ensure(ctx context.Context, v *visit) (reconcile.Result, error) {
	if err := naming.Check(v.want); err != nil {
		return reconcile.Result{}, t.record(ctx, v, failed(v.want, reasonOfRefusal(err), err.Error()))
	}
	there, err := t.homeThere(ctx, v)
	if err != nil || !there {
		return reconcile.Result{}, err
	}
	twin, err := t.acquire(ctx, v)
	if err != nil {
		return t.fail(ctx, v, err)
	}
	if why := t.unusable(v, twin); why != "" {
		return t.renew(ctx, v, twin, why)
	}
	if err := t.bind(ctx, v.want); err != nil {
		return t.fail(ctx, v, err)
	}
	if err := t.accept(ctx, v); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: spread(cmp.Or(t.Resync, DefaultResync), v.twins)}, nil
}

// accept tells everybody that the twin is ready, and clears away what it stands in for.
func (t *Twins) accept(ctx context.Context, v *visit) error {
	for _, listener := range t.Listeners {
		listener.TwinReady(v.home, v.want)
	}
	t.going.end(v.home)
	accepted := v1beta1.TwinStatus{RemoteNamespace: v.want, Phase: v1beta1.MappingAccepted}
	if err := t.record(ctx, v, accepted); err != nil {
		return err
	}
	for _, stray := range t.straysOf(v.home) {
		if stray == v.want {
			continue
		}
		if err := t.discard(ctx, v, stray); err != nil {
			return err
		}
	}
	return nil
}

// homeThere says whether the home namespace is there to have a twin, and learns its incarnation.
func (t *Twins) homeThere(ctx context.Context, v *visit) (bool, error) {
	namespace := namespaceMeta(v.home)
	err := t.Home.Get(ctx, client.ObjectKeyFromObject(namespace), namespace)
	if apierrors.IsNotFound(err) && v.entry == nil { // perhaps it is only too new for our cache
		err = t.Live.Get(ctx, client.ObjectKeyFromObject(namespace), namespace)
	}
	switch {
	case remote.Absent(err):
		if v.entry != nil {
			return false, nil // whoever asked for it will take it back
		}
		return false, t.record(ctx, v, failed(v.want, v1beta1.ReasonCreationLoopBackOff,
			fmt.Sprintf("namespace %s does not exist at home", v.home)))
	case err != nil:
		return false, fmt.Errorf("get namespace %s: %w", v.home, err)
	case !namespace.DeletionTimestamp.IsZero() && !v.accepted():
		return false, nil
	}
	v.homeUID = string(namespace.UID)
	return true, nil
}

// fail records why a twin could not be made, and has it tried again with growing delays. A twin that is there is not
// given up because of a failure that passes.
func (t *Twins) fail(ctx context.Context, v *visit, err error) (reconcile.Result, error) {
	if v.accepted() && passing(err) {
		return reconcile.Result{}, err
	}
	reason, message := explain(err)
	var stranger *foreignError
	lost := v.accepted() && asForeign(err, &stranger)
	if lost {
		t.leaving(v.home, v.want)
	}
	if lost || v.lost() { // whatever went wrong since
		reason = reasonTwinLost
	}
	if recordErr := t.record(ctx, v, failed(v.want, reason, message)); recordErr != nil {
		return reconcile.Result{}, fmt.Errorf("%w (after: %w)", recordErr, err)
	}
	return reconcile.Result{}, err
}

// record answers in the map's status, if that is anything new.
func (t *Twins) record(ctx context.Context, v *visit, status v1beta1.TwinStatus) error {
	status.Message = bounded(status.Message, v.words)
	if v.entry != nil && *v.entry == status {
		return nil
	}
	return t.answer(ctx, v, &status)
}

// forget takes the answer back: there is nothing to say of this namespace any more.
func (t *Twins) forget(ctx context.Context, v *visit) error { return t.answer(ctx, v, nil) }

func (t *Twins) answer(ctx context.Context, v *visit, entry *v1beta1.TwinStatus) error {
	now, err := t.commits.setEntry(ctx, t.Home, v.m, v.home, entry)
	if err != nil {
		return err
	}
	t.begun.end(v.home)
	t.views.wrote(now)
	return nil
}

func (t *Twins) leaving(home, away string) {
	t.going.begin(home, away)
	for _, listener := range t.Listeners {
		listener.TwinLeaving(home)
	}
}

func (t *Twins) gone(home string) {
	t.begun.end(home)
	t.going.end(home)
	for _, listener := range t.Listeners {
		listener.TwinGone(home)
	}
}

func (t *Twins) straysOf(home string) []string {
	if t.strays == nil {
		return nil
	}
	return t.strays(home)
}

// spread is how long a twin is left alone that is one of many.
func spread(period time.Duration, twins int) time.Duration {
	return wait.Jitter(max(period, time.Duration(twins)*resyncPace), resyncJitter)
}

func failed(twin, reason, message string) v1beta1.TwinStatus {
	return v1beta1.TwinStatus{
		RemoteNamespace: twin, Phase: v1beta1.MappingCreationLoopBackOff, Reason: reason,
		Message: truncate(message, maxMessage),
	}
}
