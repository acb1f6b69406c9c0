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
	"k8s.io/component-helpers/apimachinery/lease"
	"k8s.io/utils/clock"
)

// A kubelet's own numbers.
const (
	leaseSeconds = 40
	leaseRenewal = leaseSeconds * time.Second / 4
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
func (l *leases) ensure(ctx context.Context, n *Nodes, node *corev1.Node) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		return errors.New("keep lease: not running")
	}
	had, ok := l.held[node.Name]
	if ok && had.node == node.UID {
		return nil
	}
	floor, err := l.renewed(ctx, n, node.Name)
	if err != nil {
		return err
	}
	if ok {
		had.cancel()
	}
	ctx, cancel := context.WithCancel(l.ctx)
	if l.held == nil {
		l.held = map[string]heldLease{}
	}
	l.held[node.Name] = heldLease{node: node.UID, cancel: cancel}
	owner := metav1.OwnerReference{APIVersion: "v1", Kind: "Node", Name: node.Name, UID: node.UID}
	controller := lease.NewController(&steadyClock{Clock: n.Clock, floor: floor}, n.Home, node.Name, leaseSeconds, nil,
		leaseRenewal, node.Name, corev1.NamespaceNodeLease, func(obj *coordinationv1.Lease) error {
			obj.OwnerReferences = []metav1.OwnerReference{owner}
			return nil
		})
	l.running.Go(func() { controller.Run(ctx) })
	return nil
}

// renewed returns when somebody last renewed the lease.
func (l *leases) renewed(ctx context.Context, n *Nodes, name string) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	obj, err := n.Home.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read lease: %w", err)
	}
	if obj.Spec.RenewTime == nil {
		return time.Time{}, nil
	}
	return obj.Spec.RenewTime.Time, nil
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

// steadyClock never shows a time that is not after the last one: a lease whose time goes back, because the replica that
// renewed it before had another clock, makes the Node look dead.
type steadyClock struct {
	clock.Clock
	mu    sync.Mutex
	floor time.Time
}

// Now is the time, or a little after the last one.
func (c *steadyClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.Clock.Now()
	if !now.After(c.floor) {
		now = c.floor.Add(time.Millisecond)
	}
	c.floor = now
	return now
}
