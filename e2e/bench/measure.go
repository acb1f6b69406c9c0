package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

const (
	// roundTimeout bounds one round.
	roundTimeout = 10 * time.Minute
	// calm is for how long nothing is measured after the last pod is gone, so that one round does not pay for another.
	calm = 5 * time.Second
	poll = 100 * time.Millisecond
)

// Sides.
const (
	home = "home"
	away = "away"
)

// bench is one run of the program.
type bench struct {
	env  *env.Env
	opts options
}

// measurePods runs all rounds and sums them up.
func measurePods(ctx context.Context, o options) (_ report, err error) {
	fmt.Fprintln(os.Stderr, "starting a home cluster and one provider ...")
	up, down, err := playground(ctx, env.Options{Bin: o.bin, Providers: 1, Nodes: o.nodes, Peer: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	b := &bench{env: up, opts: o}
	r := &result{Pods: o.pods, Rounds: map[string][]round{}}
	fmt.Fprintln(os.Stderr, "warming up ...")
	for _, side := range []string{home, away} {
		if _, err := b.round(ctx, side, "warm-"+side, min(50, o.pods)); err != nil {
			return nil, fmt.Errorf("warm up %s: %w", side, err)
		}
	}
	for n := range o.rounds {
		for _, side := range []string{home, away} {
			m, err := b.round(ctx, side, fmt.Sprintf("bench-%s-%d", side, n), o.pods)
			if err != nil {
				return nil, fmt.Errorf("round %d, %s: %w", n+1, side, err)
			}
			fmt.Fprintf(os.Stderr, "round %d of %d, %s: %d pods in %.1fs\n", n+1, o.rounds, side, o.pods, m.Seconds)
			r.Rounds[side] = append(r.Rounds[side], m)
		}
	}
	for _, u := range up.Usage() {
		r.Memory = append(r.Memory, memory{u.Cluster, u.Component, u.PeakRSS})
	}
	return r, nil
}

// round brings pods to Running in a new namespace and returns what that took.
func (b *bench) round(ctx context.Context, side, namespace string, pods int) (round, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	c := b.env.Consumer().Client()
	if err := b.prepare(ctx, side, namespace); err != nil {
		return round{}, err
	}
	watch, err := b.watch(ctx, namespace)
	if err != nil {
		return round{}, err
	}
	audits, err := b.audits()
	if err != nil {
		return round{}, err
	}
	cpu := b.cpu()
	start := time.Now()
	work := build.Deployment("work").Namespace(namespace).Replicas(int32(pods)).PodSpec(func(s *corev1.PodSpec) {
		s.TerminationGracePeriodSeconds = ptr.To[int64](0)
	}).Obj()
	if err := c.Create(ctx, work); err != nil {
		return round{}, fmt.Errorf("create pods: %w", err)
	}
	err = wait.PollUntilContextCancel(ctx, poll, true, func(context.Context) (bool, error) {
		return watch.running() == pods, nil
	})
	if err != nil {
		return round{}, fmt.Errorf("%d of %d pods run: %w", watch.running(), pods, err)
	}
	m := round{Seconds: time.Since(start).Seconds(), Writes: map[string]int{}, Reads: map[string]int{}}
	// What follows the last pod, such as late events, belongs to the round as well.
	if err := pause(ctx, calm); err != nil {
		return round{}, err
	}
	m.CPU = b.cpuSince(cpu)
	if err := m.count(audits, namespace); err != nil {
		return round{}, err
	}
	return m, b.clean(ctx, namespace, work)
}

func (b *bench) prepare(ctx context.Context, side, namespace string) error {
	c := b.env.Consumer().Client()
	if err := c.Create(ctx, build.Namespace(namespace).Obj()); err != nil {
		return fmt.Errorf("create namespace: %w", err)
	}
	if side == home {
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

// clean deletes the pods and the namespace, and waits until nothing of them is left anywhere.
func (b *bench) clean(ctx context.Context, namespace string, work *appsv1.Deployment) error {
	c := b.env.Consumer().Client()
	if err := c.Delete(ctx, work, client.PropagationPolicy("Foreground")); err != nil {
		return fmt.Errorf("delete pods: %w", err)
	}
	gone := func(obj client.Object) error {
		return wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
			err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj)
			return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
		})
	}
	if err := gone(work); err != nil {
		return fmt.Errorf("wait until the pods are gone: %w", err)
	}
	ns := build.Namespace(namespace).Obj()
	if err := c.Delete(ctx, ns); err != nil {
		return fmt.Errorf("delete namespace: %w", err)
	}
	if err := gone(ns); err != nil {
		return fmt.Errorf("wait until the namespace is gone: %w", err)
	}
	return pause(ctx, calm)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// podWatch counts running pods without asking the API server again and again.
type podWatch struct{ store cache.Store }

func (b *bench) watch(ctx context.Context, namespace string) (*podWatch, error) {
	c, err := kubernetes.NewForConfig(b.env.Consumer().Config())
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	informer := coreinformers.NewPodInformer(c, namespace, 0, cache.Indexers{})
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil, errors.New("watch pods: it was not answered in time")
	}
	return &podWatch{informer.GetStore()}, nil
}

func (w *podWatch) running() int {
	n := 0
	for _, obj := range w.store.List() {
		if pod, ok := obj.(*corev1.Pod); ok && pod.Status.Phase == corev1.PodRunning {
			n++
		}
	}
	return n
}

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

// count takes from the audit logs what concerned the namespace and its twin. Requests that hold a connection open, and
// the deployment controllers' status of the whole, are not per pod and still counted: they are few.
func (m *round) count(audits map[string]*env.Audit, namespace string) error {
	for cluster, audit := range audits {
		events, err := audit.Events()
		if err != nil {
			return err
		}
		for _, event := range events {
			if event.Stage != auditv1.StageResponseComplete || event.ObjectRef == nil || event.Verb == "watch" ||
				event.ObjectRef.Namespace != namespace && event.ObjectRef.Namespace != namespace+"-"+env.Consumer {
				continue
			}
			what := cluster + " " + event.Verb + " " + event.ObjectRef.Resource
			if sub := event.ObjectRef.Subresource; sub != "" {
				what += "/" + sub
			}
			if env.IsWrite(event) {
				m.Writes[what]++
			} else {
				m.Reads[what]++
			}
		}
	}
	return nil
}

// cpu returns the CPU time of each process until now.
func (b *bench) cpu() map[string]time.Duration {
	used := map[string]time.Duration{}
	for _, u := range b.env.Usage() {
		used[u.Cluster+" "+u.Component] = u.CPU
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
