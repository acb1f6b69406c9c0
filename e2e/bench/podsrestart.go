package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// again is what came of ending the agent and starting it again.
type again struct {
	// How is by what it ended.
	How string
	// Ready is from the start of the new agent until it says that it is ready, Seconds until a pod runs that was made
	// just before that start.
	Ready, Seconds float64
	// Calls are our components' meanwhile, and what followed. The new pod's are among them.
	Calls []tallied
	// CPU is what the new agent has used, in seconds, Peak the most memory it had, in bytes.
	CPU  float64
	Peak int64
}

// podsRestartResult is what part restart measured.
type podsRestartResult struct {
	Pods, Events int
	Restarts     []again
}

// Ways to end an agent.
const (
	killed  = "killed"
	stopped = "stopped"
)

// measurePodsRestart ends the agent among many pods and old events, starts it, and waits for a new pod to run.
func measurePodsRestart(ctx context.Context, o options) (_ report, err error) {
	const namespace = "restart"
	b, down, err := pair(ctx, o, o.pods.restarted+2)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	if err := b.attended(ctx, func(ctx context.Context) error {
		return b.fill(ctx, namespace, o.pods.restarted)
	}); err != nil {
		return nil, err
	}
	r := &podsRestartResult{Pods: o.pods.restarted, Events: o.pods.old}
	if err := b.oldEvents(ctx, namespace+"-"+env.Consumer, o.pods.old); err != nil {
		return nil, err
	}
	for _, how := range []string{stopped, killed} {
		a, err := b.again(ctx, namespace, how)
		if err != nil {
			return nil, fmt.Errorf("%s agent: %w", how, err)
		}
		fmt.Fprintf(os.Stderr, "%s agent: a new pod runs %.1fs after the start of the next\n", how, a.Seconds)
		r.Restarts = append(r.Restarts, a)
	}
	return r, nil
}

// oldEvents makes events about the pods of a twin, as its kubelets would have, and waits until our components have
// dealt with them.
func (b *bench) oldEvents(ctx context.Context, twin string, count int) error {
	fmt.Fprintf(os.Stderr, "making %d events on the provider ...\n", count)
	provider := b.env.Providers()[0]
	var pods metav1.PartialObjectMetadataList
	pods.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	core, err := cheapClient(provider)
	if err != nil {
		return err
	}
	if err := provider.Client().List(ctx, &pods, client.InNamespace(twin)); err != nil {
		return fmt.Errorf("list remote pods: %w", err)
	}
	if len(pods.Items) == 0 {
		return errors.New("there are no remote pods that events could be about")
	}
	err = each(count, func(i int) error {
		event := oldEvent(&pods.Items[i%len(pods.Items)], i, time.Now())
		_, err := core.CoreV1().Events(twin).Create(ctx, event, metav1.CreateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("make events: %w", err)
	}
	return b.quiet(ctx)
}

// oldEvent is what a kubelet said of a pod half an hour ago.
func oldEvent(pod *metav1.PartialObjectMetadata, n int, now time.Time) *corev1.Event {
	then := metav1.NewTime(now.Add(-30 * time.Minute))
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: fmt.Sprintf("%s.old-%d", pod.Name, n)},
		InvolvedObject: corev1.ObjectReference{
			APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		},
		Reason: "Pulled", Message: "Container image is present on the machine", Type: corev1.EventTypeNormal,
		Source: corev1.EventSource{Component: "kubelet"}, Count: 1, FirstTimestamp: then, LastTimestamp: then,
	}
}

// again ends the agent, makes a pod, starts the agent, and returns how long it took until the pod ran.
func (b *bench) again(ctx context.Context, namespace, how string) (a again, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	home, end := b.env.Consumer(), b.env.Stop
	if how == killed {
		end = b.env.Kill
	}
	watch, err := b.watch(ctx, namespace)
	if err != nil {
		return a, err
	}
	there, _ := watch.state()
	w, err := b.open()
	if err != nil {
		return a, err
	}
	pod := build.Pod("new-" + how).Namespace(namespace).Obj()
	if err := errors.Join(end(ctx, home.Name, agentName()), home.Client().Create(ctx, pod)); err != nil {
		return a, fmt.Errorf("end the agent and create a pod: %w", err)
	}
	start := time.Now()
	if err := b.env.Start(ctx, home.Name, agentName()); err != nil {
		return a, err
	}
	a.How, a.Ready = how, time.Since(start).Seconds()
	err = watch.wait(ctx, there+1)
	a.Seconds = watch.moments(false)[pod.Name].Sub(start).Seconds()
	if err := errors.Join(err, b.quiet(ctx)); err != nil {
		return a, err
	}
	u, err := w.close(func(c call, e auditv1.Event) bool { return ours(c, e) && !isLease(c) })
	a.Calls = u.Calls
	a.CPU, a.Peak = b.agent()
	return a, err
}

// agent returns the CPU seconds of the agent since its start, and the most memory it had.
func (b *bench) agent() (cpu float64, peak int64) {
	for _, u := range b.env.Usage() {
		if u.Cluster == env.Consumer && u.Component == agentName() {
			cpu, peak = u.CPU.Seconds(), u.PeakRSS
		}
	}
	return cpu, peak
}

func (a *again) reads() float64 { return sumOf(a.Calls, func(c call) bool { return !c.isWrite() }) }

func (a *again) writes() float64 { return sumOf(a.Calls, call.isWrite) }

func (r *podsRestartResult) figures() []figure {
	var all []figure
	for i := range r.Restarts {
		a := &r.Restarts[i]
		name := func(text string) string {
			return fmt.Sprintf("agent %s with %d pods, %d old events: %s", a.How, r.Pods, r.Events, text)
		}
		all = append(all,
			figure{Name: name("until a new pod runs, s"), Kind: ofTime, Value: a.Seconds},
			figure{Name: name("our writes"), Kind: ofCount, Value: a.writes()},
			figure{Name: name("our reads"), Kind: ofCount, Value: a.reads()},
			figure{Name: name("CPU of the next agent, s"), Kind: ofCPU, Value: a.CPU},
			figure{Name: name("peak memory of the next agent, MiB"), Kind: ofMemory, Value: mib(a.Peak)},
		)
	}
	return all
}

func (r *podsRestartResult) print(w io.Writer) {
	for i := range r.Restarts {
		a := &r.Restarts[i]
		fmt.Fprintf(w, "agent %s with %d pods and %d old events: the next was ready after %.1f s, "+
			"a new pod ran after %.1f s; CPU %.1f s, at most %.0f MiB; our components wrote %.0f times beside leases\n",
			a.How, r.Pods, r.Events, a.Ready, a.Seconds, a.CPU, mib(a.Peak), a.writes())
		showCalls(w, a.Calls, 1)
	}
}
