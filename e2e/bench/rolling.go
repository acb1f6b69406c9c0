package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// rolled is what it took to replace all pods of a Deployment.
type rolled struct {
	Seconds float64
	usage
}

// rollingResult is what part rolling measured.
type rollingResult struct {
	Pods   int
	Sides  map[string]rolled
	Memory []memory
}

// measureRolling replaces all pods of a Deployment, at home and away.
func measureRolling(ctx context.Context, o options) (_ report, err error) {
	b, down, err := pair(ctx, o, o.pods.rolled*5/4) // a quarter comes before the old ones go
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	r := &rollingResult{Pods: o.pods.rolled, Sides: map[string]rolled{}}
	for _, side := range []string{home, away} {
		if _, err := b.rolling(ctx, side, "warm-"+side, min(50, o.pods.rolled)); err != nil {
			return nil, fmt.Errorf("warm up %s: %w", side, err)
		}
	}
	for _, side := range []string{home, away} {
		err := b.attended(ctx, func(ctx context.Context) (err error) {
			r.Sides[side], err = b.rolling(ctx, side, "rolling-"+side, o.pods.rolled)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", side, err)
		}
		fmt.Fprintf(os.Stderr, "rolling update, %s: %d pods in %.1fs\n", side, r.Pods, r.Sides[side].Seconds)
	}
	r.Memory = b.peaks()
	return r, nil
}

// rolling makes a Deployment in a new namespace, replaces its pods, and returns what that took.
func (b *bench) rolling(ctx context.Context, side, namespace string, pods int) (r rolled, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout+2*podsTimeout(pods))
	defer cancel()
	if err := b.prepare(ctx, side, namespace); err != nil {
		return r, err
	}
	watch, err := b.watch(ctx, namespace)
	if err != nil {
		return r, err
	}
	c := b.env.Consumer().Client()
	work := build.Deployment("work").Namespace(namespace).Replicas(int32(pods)).Obj() //nolint:gosec // G115: of a flag
	if err := c.Create(ctx, work); err != nil {
		return r, fmt.Errorf("create deployment: %w", err)
	}
	if err := errors.Join(watch.wait(ctx, pods), b.complete(ctx, work), pause(ctx, calm)); err != nil {
		return r, err
	}
	w, err := b.open()
	if err != nil {
		return r, err
	}
	patch := client.RawPatch(types.MergePatchType,
		[]byte(`{"spec":{"template":{"metadata":{"annotations":{"bench.twinspace/version":"2"}}}}}`))
	if err := c.Patch(ctx, work, patch); err != nil {
		return r, fmt.Errorf("change deployment: %w", err)
	}
	if err := errors.Join(b.complete(ctx, work), watch.wait(ctx, pods)); err != nil {
		return r, err
	}
	r.Seconds = time.Since(w.start).Seconds()
	if err := pause(ctx, calm); err != nil {
		return r, err
	}
	if r.usage, err = w.close(about(namespace)); err != nil {
		return r, err
	}
	return r, errors.Join(erase(ctx, c, work), b.clear(ctx, namespace))
}

// complete waits until all pods of a Deployment are of its present kind and available, and no others are left.
func (b *bench) complete(ctx context.Context, work *appsv1.Deployment) error {
	err := wait.PollUntilContextCancel(ctx, 2*poll, true, func(ctx context.Context) (bool, error) {
		if err := b.env.Consumer().Client().Get(ctx, client.ObjectKeyFromObject(work), work); err != nil {
			return false, err
		}
		s, want := work.Status, *work.Spec.Replicas
		return s.ObservedGeneration >= work.Generation && s.UpdatedReplicas == want && s.AvailableReplicas == want &&
			s.Replicas == want, nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d pods are updated, %d available: %w", work.Status.UpdatedReplicas,
			*work.Spec.Replicas, work.Status.AvailableReplicas, err)
	}
	return nil
}

// perPod counts the requests per pod of a server, or of both.
func (r *rollingResult) perPod(side, server string) float64 {
	return sumOf(r.Sides[side].Calls, func(c call) bool { return server == "" || c.Server == server }) / float64(r.Pods)
}

func (r *rollingResult) figures() []figure {
	name := func(text string) string { return fmt.Sprintf("rolling update of %d pods: %s", r.Pods, text) }
	h, a := r.Sides[home], r.Sides[away]
	return []figure{
		{Name: name("home, s"), Kind: ofTime, Value: h.Seconds},
		{Name: name("away, s"), Kind: ofTime, Value: a.Seconds},
		{Name: name("time, away as a multiple of home"), Kind: ofRatio, Value: a.Seconds / h.Seconds},
		{Name: name("home, requests per pod"), Kind: ofCount, Value: r.perPod(home, home)},
		{Name: name("away, requests per pod of the home API server"), Kind: ofCount, Value: r.perPod(away, home)},
		{Name: name("away, requests per pod of the provider's"), Kind: ofCount, Value: r.perPod(away, away)},
		{
			Name: name("away, our CPU s per 1,000 pods"), Kind: ofCPU,
			Value: a.cpuOf(agentName(), env.Manager) / float64(r.Pods) * 1000,
		},
	}
}

func (r *rollingResult) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	h, a := r.Sides[home], r.Sides[away]
	fmt.Fprintf(t, "rolling update of %d pods\t%s\t%s\tratio\n", r.Pods, home, away)
	for _, row := range []struct {
		what       string
		home, away float64
	}{
		{"until no old pod is left, s", h.Seconds, a.Seconds},
		{"requests per pod, both servers", r.perPod(home, ""), r.perPod(away, "")},
	} {
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.2f\n", row.what, row.home, row.away, row.away/row.home)
	}
	_ = t.Flush() // the writer's errors are the terminal's
	fmt.Fprintf(w, "Who asked what per pod, away (each pod stands for one that goes and one that comes):\n")
	showCalls(w, a.Calls, float64(r.Pods))
	fmt.Fprintf(w, "What each process used:\n")
	t = tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  process\tCPU s, home\tCPU s, away\tpeak MiB\n")
	for _, m := range r.Memory {
		process := m.Cluster + " " + m.Component
		fmt.Fprintf(t, "  %s\t%.2f\t%.2f\t%.0f\n", process, h.CPU[process], a.CPU[process], mib(m.Bytes))
	}
	_ = t.Flush() // the writer's errors are the terminal's
}
