package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

const (
	// roundTimeout bounds one round, without what its pods take.
	roundTimeout = 10 * time.Minute
	// calm is for how long nothing is measured after the last pod is gone, so that one round does not pay for another.
	calm = 5 * time.Second
	poll = 100 * time.Millisecond
)

// Sides, and servers.
const (
	home = "home"
	away = "away"
)

// bench measures what happens in a playground.
type bench struct {
	env *env.Env
	// ideal is the process of the ideal loop, or 0.
	ideal int
}

// prepare makes a namespace, offloaded or not, and returns when its pods could run.
func (b *bench) prepare(ctx context.Context, side, namespace string) error {
	c := b.env.Consumer().Client()
	if err := c.Create(ctx, build.Namespace(namespace).Obj()); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	switch side {
	case home:
		return pause(ctx, calm)
	case ideal:
		if err := b.env.Providers()[0].Client().Create(ctx, build.Namespace(namespace+idealSuffix).Obj()); err != nil {
			return fmt.Errorf("create namespace of the ideal loop: %w", err)
		}
		return pause(ctx, calm)
	}
	off := build.Offloading(namespace).Strategy(v1beta1.Remote).Obj()
	if err := c.Create(ctx, off); err != nil {
		return fmt.Errorf("offload namespace: %w", err)
	}
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(off), off)
		return off.Status.OffloadingPhase == v1beta1.PhaseReady, err
	})
	if err != nil {
		return fmt.Errorf("wait for the twin: %w", err)
	}
	return pause(ctx, calm)
}

// clear deletes a namespace and waits until nothing of it is left anywhere, or the next round would pay for that.
func (b *bench) clear(ctx context.Context, namespace string) error {
	err := erase(ctx, b.env.Consumer().Client(), build.Namespace(namespace).Obj())
	for _, p := range b.env.Providers() { // a twin is gone by now; what the ideal loop had is not
		err = errors.Join(err, erase(ctx, p.Client(), build.Namespace(namespace+idealSuffix).Obj()))
	}
	return errors.Join(err, pause(ctx, calm))
}

// erase deletes an object if it is there, with what belongs to it first, and returns when it is gone.
func erase(ctx context.Context, c client.Client, obj client.Object) error {
	err := c.Delete(ctx, obj, client.PropagationPolicy("Foreground"))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %s: %w", obj.GetName(), err)
	}
	err = wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("wait until %s is gone: %w", obj.GetName(), err)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// audits returns readers of what happens from now on.
func (b *bench) audits() (map[string]*env.Audit, error) {
	audits := map[string]*env.Audit{}
	for _, c := range b.env.Clusters() {
		audit, err := c.Audit()
		if err != nil {
			return nil, err
		}
		audits[c.Name] = audit
	}
	return audits, nil
}

// cpu returns the CPU time of each process until now.
func (b *bench) cpu() map[string]time.Duration {
	used := map[string]time.Duration{}
	for _, u := range b.env.Usage() {
		used[u.Cluster+" "+u.Component] = u.CPU
	}
	if u, err := env.UsageOf(b.ideal); b.ideal > 0 && err == nil {
		used[idealProcess] = u.CPU
	}
	return used
}

func (b *bench) cpuSince(before map[string]time.Duration) map[string]float64 {
	used := map[string]float64{}
	for process, now := range b.cpu() {
		used[process] = (now - before[process]).Seconds()
	}
	return used
}

// peaks returns the most memory that each process had at once.
func (b *bench) peaks() []memory {
	var all []memory
	for _, u := range b.env.Usage() {
		all = append(all, memory{u.Cluster, u.Component, u.PeakRSS})
	}
	if u, err := env.UsageOf(b.ideal); b.ideal > 0 && err == nil {
		all = append(all, memory{env.Consumer, ideal, u.PeakRSS})
	}
	return all
}

// memory is the most that a process had at once.
type memory struct {
	Cluster, Component string
	Bytes              int64
}
