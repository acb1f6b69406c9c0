package reflection

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/watching"
)

// watch hears of the events in a twin until ctx ends. Nothing is cached: what has been told is forgotten, but for its
// version.
func (e *Events) watch(ctx context.Context, t *eventTwin) {
	home := e.watchedBy("home", t.home)
	err := home.attempts.Until(ctx, func() error { return e.remember(ctx, t) })
	if err != nil && ctx.Err() == nil {
		// Home does not say what was told. What comes now is told, and at worst once more.
		e.opts.Metrics.count(e.opts.Destination, eventResource, outcomeError)
	}
	t.listens.Store(true)
	if e.opts.Scope != ScopeCluster {
		e.listen(ctx, t.away)
		return
	}
	// The watch of all may have been there before this twin, and passed over its events.
	away := e.watchedBy(e.opts.Destination, t.away)
	// What cannot be listed is heard of when it changes.
	_ = away.attempts.Until(ctx, func() error { return e.catchUp(ctx, t) })
}

// catchUp has the latest of what happened in a twin told.
func (e *Events) catchUp(ctx context.Context, t *eventTwin) error {
	var news []*corev1.Event
	page := &corev1.EventList{}
	for range maxPastPages {
		opts := &client.ListOptions{Namespace: t.away, Limit: eventPage, Continue: page.Continue}
		if err := e.opts.Away.List(ctx, page, opts); err != nil {
			return fmt.Errorf("list the events in %s: %w", t.away, err)
		}
		for i := range page.Items {
			news = append(news, leanEvent(&page.Items[i]))
		}
		if page.Continue == "" {
			break
		}
	}
	e.past(t, news)
	return nil
}

// listen hears of the events in a namespace, or all, until ctx ends.
func (e *Events) listen(ctx context.Context, namespace string) {
	away := e.watchedBy(e.opts.Destination, namespace)
	cache.NewReflectorWithOptions(away.listWatch(), &corev1.Event{}, &eventStore{events: e},
		cache.ReflectorOptions{Name: "events", Clock: e.opts.Clock}).RunWithContext(ctx)
}

// eventResource is what events are called in metrics.
const eventResource = "events"

const (
	// eventPage is how many events are read at once.
	eventPage = 500
	// maxPastPages is how many times that is done for one twin: a provider could go on for ever.
	maxPastPages = 40
)

// remember reads at home what was told before.
func (e *Events) remember(ctx context.Context, t *eventTwin) error {
	selector := labels.SelectorFromSet(labels.Set{
		v1beta1.LabelOrigin: t.destination, v1beta1.LabelDestination: t.origin,
	})
	page := &metav1.PartialObjectMetadataList{}
	for {
		page.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("EventList"))
		next := page.Continue
		page.Items = nil
		err := e.opts.Home.List(ctx, page, &client.ListOptions{
			Namespace: t.home, LabelSelector: selector, Limit: eventPage, Continue: next,
		})
		if err != nil {
			return fmt.Errorf("list the events that were told: %w", err)
		}
		for i := range page.Items {
			uid := page.Items[i].Annotations[v1beta1.AnnotationRemoteEvent]
			version := page.Items[i].Annotations[v1beta1.AnnotationRemoteVersion]
			if max(len(uid), len(version)) <= validation.DNS1123SubdomainMaxLength { // or somebody else wrote them
				t.told.Add(uid, version)
			}
		}
		if page.Continue == "" {
			return nil
		}
	}
}

// watchedBy is a watch of the provider's events, as patient as those of objects. It tells of refusals that last, also
// of those of home.
func (e *Events) watchedBy(cluster, namespace string) *watched {
	return &watched{
		client: e.opts.Away, namespace: namespace,
		lent: func(bool) client.WithWatch { return nil }, // each peering hears of its own
		list: func() client.ObjectList { return &corev1.EventList{} },
		attempts: watching.Attempts{
			Cluster: cluster, Namespace: namespace, Resource: eventResource, Clock: e.opts.Clock,
			Count: func() { e.opts.Metrics.count(e.opts.Destination, eventResource, outcomeError) },
		},
	}
}

// eventStore is where a watch of events delivers to.
type eventStore struct{ events *Events }

var _ cache.TransformingStore = &eventStore{}

// Transformer makes events small as they arrive, and those of others smaller.
func (s *eventStore) Transformer() cache.TransformFunc {
	return func(obj any) (any, error) {
		src, ok := obj.(*corev1.Event)
		switch {
		case !ok:
			return obj, nil
		case s.events.listening(src.Namespace) == nil:
			return &corev1.Event{ObjectMeta: metav1.ObjectMeta{Namespace: src.Namespace, Name: src.Name}}, nil
		default:
			return leanEvent(src), nil
		}
	}
}

// Add has an event told.
func (s *eventStore) Add(obj any) error {
	if src, ok := obj.(*corev1.Event); ok {
		if t := s.events.listening(src.Namespace); t != nil {
			s.events.hear(t, laneNow, leanEvent(src))
		}
	}
	return nil
}

// Update has an event told that has happened again.
func (s *eventStore) Update(obj any) error { return s.Add(obj) }

// Delete forgets an event. What was told at home stays for as long as home keeps events.
func (s *eventStore) Delete(obj any) error {
	if src, ok := obj.(*corev1.Event); ok {
		if t := s.events.listening(src.Namespace); t != nil {
			t.told.Remove(string(src.UID))
		}
	}
	return nil
}

// Replace has the latest of what happened while nobody watched told.
func (s *eventStore) Replace(objs []any, _ string) error {
	news := map[*eventTwin][]*corev1.Event{}
	for _, obj := range objs {
		if src, ok := obj.(*corev1.Event); ok {
			if t := s.events.listening(src.Namespace); t != nil {
				news[t] = append(news[t], leanEvent(src))
			}
		}
	}
	for t, of := range news {
		s.events.past(t, of)
	}
	return nil
}

// Resync does nothing: what was told need not be told again.
func (*eventStore) Resync() error { return nil }

// past has the latest of the events of a twin told that home does not know of.
func (e *Events) past(t *eventTwin, events []*corev1.Event) {
	events = slices.DeleteFunc(events, t.knows)
	// By the provider's own clock: it alone tells which are the latest.
	slices.SortStableFunc(events, func(a, b *corev1.Event) int { return latest(b).Compare(latest(a)) })
	told, about := 0, map[types.UID]int{}
	for _, src := range events {
		object := src.InvolvedObject.UID
		if told == maxPast {
			return
		}
		// One object, perhaps none of ours, does not keep what happened to the others from being told.
		if about[object] < maxPastObject {
			about[object]++
			told++
			e.hear(t, lanePast, src)
		}
	}
}

// latest is when an event happened last.
func latest(src *corev1.Event) time.Time {
	_, last := occurred(src, metav1.Time{})
	return last.Time
}

// hear puts an event in line, unless it was told or there are too many.
func (e *Events) hear(t *eventTwin, at int, src *corev1.Event) {
	if t.knows(src) || !wellFormed(src) {
		return
	}
	if !t.put(src) {
		e.opts.Metrics.count(e.opts.Destination, eventResource, outcomeDropped)
		return
	}
	e.lanes[at].queue.Add(eventKey{t.home, src.Name})
}

// knows says whether home knows of an event as it is.
func (t *eventTwin) knows(src *corev1.Event) bool {
	if placed(src) {
		return true
	}
	version, ok := t.told.Get(string(src.UID))
	return ok && version == src.ResourceVersion
}

// reasonScheduled is what schedulers call it when a pod gets its node.
const reasonScheduled = "Scheduled"

// placed tells the event that every pod has when a node was found for it. Home's scheduler has written one for it, and
// where it runs over there is in its status: to repeat it would cost home one more write for each pod.
func placed(src *corev1.Event) bool {
	return src.Reason == reasonScheduled && src.Type == corev1.EventTypeNormal && src.InvolvedObject.Kind == "Pod"
}

// put makes an event wait, in place of what it was before, and says whether there was room.
func (t *eventTwin) put(src *corev1.Event) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, waits := t.pending[src.Name]; !waits && len(t.pending) >= maxPending {
		return false
	}
	t.pending[src.Name] = src
	return true
}

// take returns an event that waits, for the caller alone, or nil.
func (t *eventTwin) take(name string) *corev1.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	src := t.pending[name]
	delete(t.pending, name)
	return src
}

// putBack makes an event wait again, unless it has happened once more in the meantime.
func (t *eventTwin) putBack(src *corev1.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pending[src.Name] == nil {
		t.pending[src.Name] = src
	}
}
