package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/e2e/env"
)

// quietTimeout bounds how long our components may go on writing after all pods run.
const quietTimeout = 5 * time.Minute

// steadyResult is what part steady measured.
type steadyResult struct {
	Pods    int
	Minutes float64
	usage
	// Others is how often everybody else wrote, on both servers, leases aside: it shows that nobody gave us reason to.
	Others float64
	Memory []footprintOf
}

// footprintOf is what a process had at the end and at most, in bytes.
type footprintOf struct {
	Cluster, Component string
	RSS, Peak          int64
}

// measureSteady brings pods to Running on a virtual node and leaves them alone.
func measureSteady(ctx context.Context, o options) (_ report, err error) {
	b, down, err := pair(ctx, o, o.pods.stood)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	if err := b.attended(ctx, func(ctx context.Context) error {
		return b.fill(ctx, "steady", o.pods.stood)
	}); err != nil {
		return nil, err
	}
	r := &steadyResult{Pods: o.pods.stood, Minutes: o.pods.stands.Minutes()}
	fmt.Fprintf(os.Stderr, "leaving %d pods alone for %s ...\n", r.Pods, o.pods.stands)
	w, err := b.open()
	if err != nil {
		return nil, err
	}
	if err := b.attended(ctx, func(ctx context.Context) error { return pause(ctx, o.pods.stands) }); err != nil {
		return nil, err
	}
	r.usage, err = w.close(func(c call, e auditv1.Event) bool {
		if c.isWrite() && !c.isOurs() && !isLease(c) {
			r.Others++
		}
		return ours(c, e)
	})
	for _, u := range b.env.Usage() {
		r.Memory = append(r.Memory, footprintOf{u.Cluster, u.Component, u.RSS, u.PeakRSS})
	}
	return r, err
}

// fill brings so many pods to Running in a new offloaded namespace, and waits until our components have nothing more to
// write about them.
func (b *bench) fill(ctx context.Context, namespace string, pods int) error {
	fmt.Fprintf(os.Stderr, "bringing %d pods to Running ...\n", pods)
	ctx, cancel := context.WithTimeout(ctx, roundTimeout+podsTimeout(pods))
	defer cancel()
	if err := b.prepare(ctx, away, namespace); err != nil {
		return err
	}
	watch, err := b.watch(ctx, namespace)
	if err != nil {
		return err
	}
	task := errand{
		Kubeconfig: b.env.Consumer().Kubeconfig, Namespaces: []string{namespace}, Prefix: "pod", Pods: pods,
	}
	if err := errors.Join(task.run(ctx), watch.wait(ctx, pods)); err != nil {
		return err
	}
	return b.quiet(ctx)
}

// quiet waits until our components write nothing but signs of life for a while. One that never stops is not an error
// here: what it writes is what is measured next.
func (b *bench) quiet(ctx context.Context) error {
	for end := time.Now().Add(quietTimeout); time.Now().Before(end); {
		w, err := b.open()
		if err != nil {
			return err
		}
		if err := pause(ctx, 2*calm); err != nil {
			return err
		}
		u, err := w.close(ours)
		if err != nil {
			return err
		}
		if sumOf(u.Calls, busy) == 0 {
			return nil
		}
	}
	return nil
}

// busy says whether a call of ours is more than a sign of life.
func busy(c call) bool { return c.isWrite() && !isLease(c) && c.Resource != "nodes/status" }

func (r *steadyResult) writes() float64 {
	return sumOf(r.Calls, func(c call) bool { return c.isWrite() && !isLease(c) })
}

func (r *steadyResult) reads() float64 {
	return sumOf(r.Calls, func(c call) bool { return !c.isWrite() && !isLease(c) })
}

func (r *steadyResult) figures() []figure {
	name := func(text string) string {
		return fmt.Sprintf("%d pods left alone for %.0f min: %s", r.Pods, r.Minutes, text)
	}
	leases := sumOf(r.Calls, isLease)
	return []figure{
		figure{Name: name("our writes beside leases"), Kind: ofCount, Value: r.writes()}.within(0, 0),
		{Name: name("our requests for leases per minute"), Kind: ofCount, Value: leases / r.Minutes},
		{Name: name("our reads beside leases, per minute"), Kind: ofCount, Value: r.reads() / r.Minutes},
		{Name: name("CPU of the agent per minute, s"), Kind: ofCPU, Value: r.cpuOf(agentName()) / r.Minutes},
		{
			Name: name("CPU of the controller-manager per minute, s"), Kind: ofCPU,
			Value: r.cpuOf(env.Manager) / r.Minutes,
		},
	}
}

func (r *steadyResult) print(w io.Writer) {
	fmt.Fprintf(w, "%d offloaded pods left alone for %.1f minutes: our components wrote %.0f times beside leases; "+
		"others %.0f times\n", r.Pods, r.Minutes, r.writes(), r.Others)
	fmt.Fprintf(w, "What our components asked for, per minute:\n")
	showCalls(w, r.Calls, r.Minutes)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  process\tCPU s per minute\tMiB at the end\tpeak MiB\n")
	for _, m := range r.Memory {
		process := m.Cluster + " " + m.Component
		fmt.Fprintf(t, "  %s\t%.2f\t%.0f\t%.0f\n", process, r.CPU[process]/r.Minutes, mib(m.RSS), mib(m.Peak))
	}
	_ = t.Flush() // the writer's errors are the terminal's
}
