package reflection

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// outcomeDropped is an event that was not told because too many are waiting.
const outcomeDropped = "dropped"

// work tells one event after the other until the queue is shut down.
func (e *Events) work(ctx context.Context, l *lane) {
	for {
		key, shutdown := l.queue.Get()
		if shutdown {
			return
		}
		e.pass(ctx, l, key)
		l.queue.Done(key)
	}
}

// pass tells one event, or decides when to try again.
func (e *Events) pass(ctx context.Context, l *lane, key eventKey) {
	t := e.twin(key.home)
	if t == nil {
		l.queue.Forget(key)
		return
	}
	src := t.take(key.name)
	if src == nil {
		l.queue.Forget(key)
		return
	}
	home, ok := e.subject(t, src)
	switch {
	case !ok && l.queue.NumRequeues(key) < subjectAttempts:
		t.putBack(src)
		l.queue.AddRateLimited(key)
		return
	case !ok:
		l.queue.Forget(key)
		t.told.Add(string(src.UID), src.ResourceVersion) // it is not ours
		return
	}
	if wait := e.hold(home.UID); wait > 0 {
		t.putBack(src)
		l.queue.AddAfter(key, wait)
		return
	}
	err := e.tell(ctx, t, src, home)
	if err == nil {
		l.queue.Forget(key)
		t.told.Add(string(src.UID), src.ResourceVersion)
		return
	}
	e.opts.Metrics.count(e.opts.Destination, eventResource, outcomeError)
	if hopeless(err) {
		l.queue.Forget(key)
		return
	}
	log.FromContext(ctx).V(1).Info("cannot tell of an event yet", "namespace", key.home, "event", key.name,
		"err", err.Error())
	t.putBack(src)
	l.queue.AddRateLimited(key)
}

// subject returns the home object that an event is about. A copy that has gone since an earlier event is remembered.
func (e *Events) subject(t *eventTwin, src *corev1.Event) (corev1.ObjectReference, bool) {
	meant := src.InvolvedObject
	if meant.Namespace != t.away {
		return corev1.ObjectReference{}, false
	}
	for _, s := range e.opts.Subjects {
		if home, ok := s.Subject(t.home, meant); ok {
			e.subjects.Add(meant.UID, home)
			return home, true
		}
	}
	if known, ok := e.subjects.Get(meant.UID); ok {
		home := known.(corev1.ObjectReference)
		return home, home.Namespace == t.home
	}
	return corev1.ObjectReference{}, false
}

// hold returns how long an event about a home object must wait: a provider does not get to flood home, nor one object
// to use up what all have.
func (e *Events) hold(object types.UID) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.opts.Clock.Now()
	known, ok := e.objects.Get(object)
	if !ok {
		known = newBucket(objectBurst, objectPause)
		e.objects.Add(object, known)
	}
	own := known.(*bucket)
	switch {
	case !own.has(now):
		return objectPause
	case !e.budget.has(now):
		return time.Second
	}
	own.left--
	e.budget.left--
	return 0
}

// bucket holds so many tokens and gets a new one in each interval.
type bucket struct {
	size, left float64
	interval   time.Duration
	at         time.Time
}

func newBucket(size int, interval time.Duration) *bucket {
	return &bucket{size: float64(size), left: float64(size), interval: interval}
}

// has says whether there is a token.
func (b *bucket) has(now time.Time) bool {
	if !b.at.IsZero() {
		b.left = min(b.size, b.left+float64(now.Sub(b.at))/float64(b.interval))
	}
	b.at = now
	return b.left >= 1
}

// tell writes an event at home, with one request if it was not told before, or was told last by the same process.
func (e *Events) tell(ctx context.Context, t *eventTwin, src *corev1.Event, about corev1.ObjectReference) error {
	event := t.homeEvent(src, about, metav1.NewTime(e.opts.Clock.Now()))
	if _, before := t.told.Get(string(src.UID)); before {
		if err := e.again(ctx, event); !apierrors.IsNotFound(err) {
			return err
		}
		event.ResourceVersion = "" // home keeps events for a while only
	}
	err := call(ctx, func(ctx context.Context) error {
		return e.opts.Home.Create(ctx, event, client.FieldOwner(v1beta1.FieldManager))
	})
	if apierrors.IsAlreadyExists(err) {
		return e.again(ctx, event)
	}
	if err != nil {
		return fmt.Errorf("create event: %w", err)
	}
	e.opts.Metrics.count(e.opts.Destination, eventResource, outcomeCreate)
	return nil
}

// again writes that an event has happened again.
func (e *Events) again(ctx context.Context, event *corev1.Event) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": event.Annotations},
		"count":    event.Count, "message": event.Message,
		"firstTimestamp": event.FirstTimestamp, "lastTimestamp": event.LastTimestamp,
	})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	there := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: event.Namespace, Name: event.Name}}
	err = call(ctx, func(ctx context.Context) error {
		return e.opts.Home.Patch(ctx, there, client.RawPatch(types.MergePatchType, patch),
			client.FieldOwner(v1beta1.FieldManager))
	})
	if err != nil {
		return fmt.Errorf("patch event: %w", err)
	}
	e.opts.Metrics.count(e.opts.Destination, eventResource, outcomePatch)
	return nil
}

// hopeless says that home will not take an event, however often it is tried.
func hopeless(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsNotFound(err) ||
		apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}
