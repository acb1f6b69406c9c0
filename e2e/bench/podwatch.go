package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
	coreinformers "k8s.io/client-go/informers/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/e2e/env"
)

// podWatch takes down when each pod of a namespace was seen to run and to be gone.
type podWatch struct {
	changed chan struct{}

	mu        sync.Mutex
	present   map[string]bool // whether it runs
	running   int
	ran, gone map[string]time.Time
}

func newPodWatch() *podWatch {
	return &podWatch{
		changed: make(chan struct{}, 1),
		present: map[string]bool{}, ran: map[string]time.Time{}, gone: map[string]time.Time{},
	}
}

// watch follows the pods of a namespace at home until ctx ends.
func (b *bench) watch(ctx context.Context, namespace string) (*podWatch, error) {
	c, err := cheapClient(b.env.Consumer())
	if err != nil {
		return nil, err
	}
	w := newPodWatch()
	informer := coreinformers.NewPodInformer(c, namespace, 0, cache.Indexers{})
	if err := informer.SetTransform(essence); err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { w.see(obj, time.Now()) },
		UpdateFunc: func(_, obj any) { w.see(obj, time.Now()) },
		DeleteFunc: func(obj any) { w.miss(obj, time.Now()) },
	}
	if _, err := informer.AddEventHandler(handler); err != nil {
		return nil, fmt.Errorf("watch pods: %w", err)
	}
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return nil, errors.New("watch pods: it was not answered in time")
	}
	return w, nil
}

// cheapClient is one that costs this machine as little as possible.
func cheapClient(c *env.Cluster) (kubernetes.Interface, error) {
	cfg := c.Config()
	cfg.ContentType, cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf", ""
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return core, nil
}

// essence leaves of a pod what the watch looks at.
func essence(obj any) (any, error) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return obj, nil
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, ResourceVersion: pod.ResourceVersion},
		Status:     corev1.PodStatus{Phase: pod.Status.Phase},
	}, nil
}

func (w *podWatch) see(obj any, now time.Time) {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	runs := pod.Status.Phase == corev1.PodRunning
	if runs && !w.present[pod.Name] {
		w.running++
		w.ran[pod.Name] = now
	}
	if !runs && w.present[pod.Name] {
		w.running--
	}
	w.present[pod.Name] = runs
	w.signal()
}

func (w *podWatch) miss(obj any, now time.Time) {
	name, err := cache.DeletionHandlingObjectToName(obj)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.present[name.Name] {
		w.running--
	}
	delete(w.present, name.Name)
	w.gone[name.Name] = now
	w.signal()
}

func (w *podWatch) signal() {
	select {
	case w.changed <- struct{}{}:
	default: // whoever waits has not looked yet
	}
}

// state returns how many pods there are, and how many of them run.
func (w *podWatch) state() (present, running int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.present), w.running
}

// wait returns when so many pods are present and all of them run. Only one may wait at a time.
func (w *podWatch) wait(ctx context.Context, pods int) error {
	for {
		present, running := w.state()
		if present == pods && running == pods {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d pods are there, %d of them run, want %d: %w", present, running, pods, ctx.Err())
		case <-w.changed:
		}
	}
}

// moments returns when pods were seen to run, or to be gone.
func (w *podWatch) moments(gone bool) map[string]time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	if gone {
		return maps.Clone(w.gone)
	}
	return maps.Clone(w.ran)
}

// asked takes down when the benchmark's requests for pods of a namespace came to the home API server.
type asked struct {
	namespace, verb string
	at              map[string]time.Time
}

func (a *asked) take(c call, e auditv1.Event) {
	if c.Server == home && c.By == byBenchmark && c.Resource == "pods" && c.Verb == a.verb && c.Refused == 0 &&
		e.ObjectRef.Namespace == a.namespace {
		a.at[e.ObjectRef.Name] = e.RequestReceivedTimestamp.Time
	}
}

// lasted returns the seconds from the first request until the last, and until the last effect was seen.
func (a *asked) lasted(done map[string]time.Time) (asking, all float64) {
	var first, last, end time.Time
	for name, at := range a.at {
		if first.IsZero() || at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
		if done[name].After(end) {
			end = done[name]
		}
	}
	return last.Sub(first).Seconds(), end.Sub(first).Seconds()
}

// took returns how long it was from each request until its effect was seen. What has no request is not counted.
func (a *asked) took(done map[string]time.Time) []time.Duration {
	var all []time.Duration
	for name, at := range a.at {
		if then, ok := done[name]; ok {
			all = append(all, then.Sub(at))
		}
	}
	return all
}
