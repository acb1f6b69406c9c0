package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// podsTimeout is what a round with so many pods may take besides roundTimeout.
func podsTimeout(pods int) time.Duration { return time.Duration(pods) * 200 * time.Millisecond }

// podSides are in the order in which they take turns.
func podSides() []string { return []string{home, ideal, away} }

// pair starts a home cluster and one provider that have room for so many pods.
func pair(ctx context.Context, o options, pods int) (*bench, func() error, error) {
	nodes := o.pods.nodesFor(pods)
	fmt.Fprintf(os.Stderr, "starting a home cluster and one provider, %d nodes each ...\n", nodes)
	up, down, err := playground(ctx, env.Options{
		Bin: o.bin, Providers: 1, Nodes: nodes, Peer: true, PlainProviders: true,
	})
	if err != nil {
		return nil, nil, err
	}
	return &bench{env: up}, down, nil
}

// measurePods runs all sizes, each in a playground of its own: a process keeps the memory that it once had.
func measurePods(ctx context.Context, o options) (report, error) {
	r := &podsResult{}
	for i, pods := range o.pods.sizes {
		single := 0
		if i == 0 {
			single = o.pods.single
		}
		s := podsSize{Pods: pods, Rounds: map[string][]podsRound{}}
		if err := r.size(ctx, o, s, o.pods.roundsOf(i), single); err != nil {
			return nil, fmt.Errorf("%d pods: %w", pods, err)
		}
	}
	return r, nil
}

// size measures rounds of one size and, before, a single pod at a time.
func (r *podsResult) size(ctx context.Context, o options, s podsSize, rounds, single int) (err error) {
	b, down, err := pair(ctx, o, s.Pods)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, down()) }()
	end, err := b.idealize(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(end(), err) }()
	fmt.Fprintln(os.Stderr, "warming up ...")
	for _, side := range podSides() {
		if _, err := b.round(ctx, side, "warm-"+side, min(50, s.Pods)); err != nil {
			return fmt.Errorf("warm up %s: %w", side, err)
		}
	}
	if single > 0 {
		r.One = map[string]spread{}
		for _, side := range podSides() {
			if r.One[side], err = b.single(ctx, side, single); err != nil {
				return fmt.Errorf("one pod, %s: %w", side, err)
			}
		}
	}
	for n := range rounds {
		for _, side := range podSides() {
			var m podsRound
			err := b.attended(ctx, func(ctx context.Context) (err error) {
				m, err = b.round(ctx, side, fmt.Sprintf("bench-%s-%d", side, n), s.Pods)
				return err
			})
			if err != nil {
				return fmt.Errorf("round %d, %s: %w", n+1, side, err)
			}
			fmt.Fprintf(os.Stderr, "round %d of %d, %s: %d pods run after %.1fs, are gone after %.1fs\n",
				n+1, rounds, side, s.Pods, m.Up.Seconds, m.Down.Seconds)
			s.Rounds[side] = append(s.Rounds[side], m)
		}
	}
	s.Memory = b.peaks()
	r.Sizes = append(r.Sizes, s)
	return nil
}

// round brings pods to Running in a new namespace, deletes them, and returns what both took.
func (b *bench) round(ctx context.Context, side, namespace string, pods int) (m podsRound, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout+podsTimeout(pods))
	defer cancel()
	if err := b.prepare(ctx, side, namespace); err != nil {
		return m, err
	}
	watch, err := b.watch(ctx, namespace)
	if err != nil {
		return m, err
	}
	task := errand{
		Kubeconfig: b.env.Consumer().Kubeconfig, Namespaces: []string{namespace}, Node: nodeFor(side), Prefix: "pod",
		Pods: pods,
	}
	if m.Up, err = b.phase(ctx, watch, task); err != nil {
		return m, fmt.Errorf("bring pods to Running: %w", err)
	}
	task.Delete = true
	if m.Down, err = b.phase(ctx, watch, task); err != nil {
		return m, fmt.Errorf("delete pods: %w", err)
	}
	return m, b.clear(ctx, namespace)
}

// phase has another process ask for pods, or for their end, waits until all are as they should be, and returns what
// that took.
func (b *bench) phase(ctx context.Context, watch *podWatch, task errand) (p phase, err error) {
	want, verb := task.Pods, "create"
	if task.Delete {
		want, verb = 0, "delete"
	}
	w, err := b.open()
	if err != nil {
		return p, err
	}
	both, working := errgroup.WithContext(ctx)
	both.Go(func() error { return task.run(working) })
	both.Go(func() error { return watch.wait(working, want) })
	if err := both.Wait(); err != nil {
		return p, err
	}
	// What follows the last pod, such as late events, belongs to the round as well.
	if err := pause(ctx, calm); err != nil {
		return p, err
	}
	requests := asked{namespace: task.Namespaces[0], verb: verb, at: map[string]time.Time{}}
	wanted := about(task.Namespaces[0])
	p.usage, err = w.close(func(c call, e auditv1.Event) bool {
		requests.take(c, e)
		return wanted(c, e)
	})
	done := watch.moments(task.Delete)
	p.Asked, p.Seconds = requests.lasted(done)
	p.Each = spreadOf(requests.took(done))
	return p, err
}

// single starts one pod after the other, each on a system that does nothing else.
func (b *bench) single(ctx context.Context, side string, times int) (spread, error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	namespace := "single-" + side
	if err := b.prepare(ctx, side, namespace); err != nil {
		return spread{}, err
	}
	watch, err := b.watch(ctx, namespace)
	if err != nil {
		return spread{}, err
	}
	core, err := cheapClient(b.env.Consumer())
	if err != nil {
		return spread{}, err
	}
	pods := core.CoreV1().Pods(namespace)
	var all []time.Duration
	for i := range times {
		pod := build.Pod(fmt.Sprintf("pod-%d", i)).Namespace(namespace).Obj()
		tie(pod, nodeFor(side))
		start := time.Now()
		if _, err := pods.Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return spread{}, fmt.Errorf("create pod: %w", err)
		}
		if err := watch.wait(ctx, 1); err != nil {
			return spread{}, err
		}
		all = append(all, watch.moments(false)[pod.Name].Sub(start))
		if err := pods.Delete(ctx, pod.Name, metav1.DeleteOptions{}); err != nil {
			return spread{}, fmt.Errorf("delete pod: %w", err)
		}
		if err := errors.Join(watch.wait(ctx, 0), pause(ctx, rest)); err != nil {
			return spread{}, err
		}
	}
	fmt.Fprintf(os.Stderr, "one pod, %s: median %.1f ms\n", side, spreadOf(all).P50)
	return spreadOf(all), b.clear(ctx, namespace)
}

// rest is between one pod alone and the next, so that the first one's events are written.
const rest = 300 * time.Millisecond
