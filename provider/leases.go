package provider

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// A kubelet's own numbers, but for how soon a renewal is tried again that failed.
const (
	leaseSeconds = 40
	leaseRenewal = leaseSeconds * time.Second / 4
	leaseRetry   = time.Second
)

// leases keeps the leases of the Nodes, which say that somebody looks after them. Whether the provider can be reached
// is said by the Node's Ready condition instead.
type leases struct {
	mu      sync.Mutex
	ctx     context.Context //nolint:containedctx // what leases started later end with; nil unless we run
	running sync.WaitGroup
	held    map[string]heldLease
}

type heldLease struct {
	node   types.UID
	cancel context.CancelFunc
}

// Start lets leases be kept until ctx is done.
func (l *leases) Start(ctx context.Context) error {
	l.mu.Lock()
	l.ctx = ctx
	l.mu.Unlock()
	<-ctx.Done()
	l.mu.Lock()
	l.ctx = nil // from here on no lease is begun: it would be one more to wait for while we wait
	l.mu.Unlock()
	l.running.Wait()
	return nil
}

// ensure keeps the lease of this Node from now on.
func (l *leases) ensure(n *Nodes, node *corev1.Node) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		return errors.New("keep lease: not running")
	}
	had, ok := l.held[node.Name]
	if ok && had.node == node.UID {
		return nil
	}
	if ok {
		had.cancel()
	}
	ctx, cancel := context.WithCancel(l.ctx)
	if l.held == nil {
		l.held = map[string]heldLease{}
	}
	l.held[node.Name] = heldLease{node: node.UID, cancel: cancel}
	k := &keeper{
		api: n.Home.CoordinationV1().Leases(corev1.NamespaceNodeLease), clock: n.Clock, name: node.Name, node: node.UID,
	}
	l.running.Go(func() { k.run(ctx) })
	return nil
}

// release lets the lease of a Node be; it goes with the Node, which owns it.
func (l *leases) release(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if had, ok := l.held[name]; ok {
		had.cancel()
		delete(l.held, name)
	}
}

// keeper renews the lease of one Node.
type keeper struct {
	api   coordinationclient.LeaseInterface
	clock clock.Clock
	name  string
	node  types.UID
	// latest is the lease as our last write left it; nil when that is not known.
	latest *coordinationv1.Lease
}

func (k *keeper) run(ctx context.Context) {
	for {
		rest := leaseRenewal
		if err := k.renew(ctx); err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Info("Cannot renew the lease of a Node, will try again", "node", k.name,
				"err", err.Error())
			rest = leaseRetry
		}
		select {
		case <-ctx.Done():
			return
		case <-k.clock.After(rest):
		}
	}
}

// renew writes the lease. It only ever replaces the one that it has seen, so of all who write to it, each writes a
// later time than the one before, whatever their clocks say.
func (k *keeper) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	had := k.latest
	k.latest = nil // as long as it is not known what came of this
	if had == nil {
		got, err := k.api.Get(ctx, k.name, metav1.GetOptions{})
		switch {
		case err == nil:
			had = got
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("read lease: %w", err)
		}
	}
	want := renewed(had, k.name, k.node, k.clock.Now())
	var got *coordinationv1.Lease
	var err error
	if had == nil {
		got, err = k.api.Create(ctx, want, metav1.CreateOptions{FieldManager: fieldManager})
	} else {
		got, err = k.api.Update(ctx, want, metav1.UpdateOptions{FieldManager: fieldManager})
	}
	if err != nil {
		return fmt.Errorf("write lease: %w", err)
	}
	k.latest = got
	return nil
}

// renewed returns a Node's lease as it is to be written, given the one that is there, nil for none. Its time never goes
// back: when the clock of whoever renewed it before was ahead of ours, it is a little later than theirs, because a
// lease whose time does not increase makes the Node look dead.
func renewed(had *coordinationv1.Lease, name string, node types.UID, now time.Time) *coordinationv1.Lease {
	out := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: corev1.NamespaceNodeLease}}
	if had != nil {
		out = had.DeepCopy()
		if last := had.Spec.RenewTime; last != nil && !now.After(last.Time) {
			now = last.Add(time.Millisecond)
		}
	}
	out.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: node}}
	out.Spec.HolderIdentity = ptr.To(name)
	out.Spec.LeaseDurationSeconds = ptr.To[int32](leaseSeconds)
	out.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now))
	return out
}
