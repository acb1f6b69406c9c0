package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/clock"
)

const (
	// patience is how long a listener waits before it asks again an API server that did not answer.
	patience = 500 * time.Millisecond
	pageSize = 500
)

// listener records what one API server says about one resource. It goes on where it was when the API server has been
// away; where that is impossible, it records a gap and what has become of things meanwhile.
type listener struct {
	cluster, source string
	client          dynamic.ResourceInterface
	clock           clock.Clock
	write           func(Entry)

	begun bool      // everything has been listed once
	until time.Time // when the last watch ended, if none runs
	// frontier is the version up to which changes may have happened while nobody listened.
	frontier uint64
	why      string // the last watch ended for good

	mu      sync.Mutex
	known   map[string]version
	version uint64        // of the last change that was heard
	more    chan struct{} // closed when that changes
}

// version is an object as it was heard of last.
type version struct {
	uid     types.UID
	number  uint64
	raw     json.RawMessage
	created time.Time
}

// sourceOf is what a resource is called in a record.
func sourceOf(r schema.GroupVersionResource) string { return r.GroupResource().String() }

func newListener(cluster string, r schema.GroupVersionResource, client dynamic.Interface, opts listening) *listener {
	return &listener{
		cluster: cluster, source: sourceOf(r), client: client.Resource(r), clock: opts.clock, write: opts.write,
		known: map[string]version{}, more: make(chan struct{}),
	}
}

// listening is what all listeners have in common.
type listening struct {
	clock clock.Clock
	write func(Entry)
}

// run listens until ctx ends.
func (l *listener) run(ctx context.Context) {
	for ctx.Err() == nil {
		from, err := l.list(ctx)
		if err == nil {
			err = l.follow(ctx, from)
			l.why = fmt.Sprint(err)
		}
		l.pause(ctx)
	}
}

func (l *listener) pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-l.clock.After(patience):
	}
}

// list records how what is there differs from what was known, and returns the version from which on to watch.
func (l *listener) list(ctx context.Context) (string, error) {
	listed, at := map[string]*unstructured.Unstructured{}, ""
	for next := ""; ; {
		page, err := l.client.List(ctx, metav1.ListOptions{Limit: pageSize, Continue: next})
		if err != nil {
			return "", fmt.Errorf("list %s of %s: %w", l.source, l.cluster, err)
		}
		for i := range page.Items {
			o := &page.Items[i]
			listed[key(o)] = o
		}
		at, next = page.GetResourceVersion(), page.GetContinue()
		if next == "" {
			break
		}
	}
	now := l.clock.Now()
	if l.begun {
		l.write(Entry{At: now, Cluster: l.cluster, Source: l.source, Gap: &Gap{Since: l.until, Why: l.why}})
	}
	err := l.compare(listed, now)
	l.begun = true
	l.heard(number(at))
	return at, err
}

func key(o *unstructured.Unstructured) string { return o.GetNamespace() + "/" + o.GetName() }

// compare records what has changed while nobody listened.
func (l *listener) compare(listed map[string]*unstructured.Unstructured, now time.Time) error {
	for k, had := range l.snapshot() {
		if o := listed[k]; o == nil || o.GetUID() != had.uid {
			l.record(watch.Deleted, had.raw, now, l.since(had.created))
			l.forget(k)
		}
	}
	for k, o := range listed {
		had, ok := l.snapshotOf(k)
		switch {
		case !ok:
			if err := l.take(watch.Added, o, now, l.since(o.GetCreationTimestamp().Time)); err != nil {
				return err
			}
		case had.number != number(o.GetResourceVersion()):
			if err := l.take(watch.Modified, o, now, l.since(had.created)); err != nil {
				return err
			}
		}
	}
	return nil
}

// since is the earliest moment of a change that a list shows: of the first one, that of the object's creation.
func (l *listener) since(created time.Time) time.Time {
	if l.begun {
		return l.until
	}
	return created
}

// take records an object and remembers it.
func (l *listener) take(t watch.EventType, o *unstructured.Unstructured, now, since time.Time) error {
	k, v := key(o), version{uid: o.GetUID(), number: number(o.GetResourceVersion())}
	v.created = o.GetCreationTimestamp().Time
	raw, err := scrub(o)
	if err != nil {
		return err
	}
	v.raw = raw
	l.record(t, raw, now, since)
	l.mu.Lock()
	defer l.mu.Unlock()
	if t == watch.Deleted {
		delete(l.known, k)
	} else {
		l.known[k] = v
	}
	return nil
}

func (l *listener) record(t watch.EventType, raw json.RawMessage, now, since time.Time) {
	e := Entry{At: now, Cluster: l.cluster, Source: l.source, Type: t, Object: raw}
	if !since.IsZero() && since.Before(now) {
		e.Since = &since
	}
	l.write(e)
}

func (l *listener) snapshot() map[string]version {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]version, len(l.known))
	for k, v := range l.known {
		out[k] = v
	}
	return out
}

func (l *listener) snapshotOf(k string) (version, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	v, ok := l.known[k]
	return v, ok
}

func (l *listener) forget(k string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, k)
}

// heard remembers how far this is.
func (l *listener) heard(version uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.version = max(l.version, version)
	close(l.more)
	l.more = make(chan struct{})
}

func number(version string) uint64 {
	n, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return 0 // all API servers count
	}
	return n
}

// follow watches from a version on, again and again, until that is not possible any more.
func (l *listener) follow(ctx context.Context, from string) error {
	l.frontier, l.until = 0, time.Time{}
	for ctx.Err() == nil {
		w, err := l.client.Watch(ctx, metav1.ListOptions{ResourceVersion: from, AllowWatchBookmarks: true})
		switch {
		case err == nil:
			l.frontier = l.reached(ctx)
			from, err = l.hear(w, from)
			w.Stop()
			l.until = l.clock.Now()
		case l.until.IsZero():
			l.until = l.clock.Now()
		}
		if lost(err) {
			return err
		}
		if err != nil {
			l.pause(ctx)
		}
	}
	return ctx.Err()
}

// reached returns the version up to which changes may have happened before this watch began, if another ended before.
func (l *listener) reached(ctx context.Context) uint64 {
	if l.until.IsZero() {
		return 0
	}
	one, err := l.client.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return math.MaxUint64 // nobody knows, then all may
	}
	return number(one.GetResourceVersion())
}

// lost says whether a watch cannot go on where it was: its past is forgotten, or the resource is not served.
func lost(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsNotFound(err) ||
		apierrors.IsMethodNotSupported(err)
}

// hear records what a watch says until it ends, and returns the version from which to go on.
func (l *listener) hear(w watch.Interface, from string) (string, error) {
	for event := range w.ResultChan() {
		o, ok := event.Object.(*unstructured.Unstructured)
		if event.Type == watch.Error || !ok {
			return from, apierrors.FromObject(event.Object)
		}
		from = o.GetResourceVersion()
		now, since := l.clock.Now(), time.Time{}
		if number(from) <= l.frontier {
			since = l.until
		}
		if event.Type != watch.Bookmark {
			if err := l.take(event.Type, o, now, since); err != nil {
				return from, err
			}
		}
		l.heard(number(from))
	}
	return from, errors.New("the watch ended")
}

// caughtUp returns when everything has been heard that has happened until now.
func (l *listener) caughtUp(ctx context.Context) error {
	newest, there, at, err := l.now(ctx)
	if apierrors.IsNotFound(err) {
		return nil // it is not served
	}
	for err == nil {
		behind, more := l.behind(newest, there, at)
		if !behind {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return fmt.Errorf("complete the record of %s of %s: %w", l.source, l.cluster, err)
}

// now lists what is there: the newest version of anything, the UIDs, and the version of the list.
func (l *listener) now(ctx context.Context) (newest uint64, there map[types.UID]bool, at uint64, err error) {
	there = map[types.UID]bool{}
	for next := ""; ; {
		page, err := l.client.List(ctx, metav1.ListOptions{Limit: pageSize, Continue: next})
		if err != nil {
			return 0, nil, 0, err
		}
		for i := range page.Items {
			newest = max(newest, number(page.Items[i].GetResourceVersion()))
			there[page.Items[i].GetUID()] = true
		}
		at, next = number(page.GetResourceVersion()), page.GetContinue()
		if next == "" {
			return newest, there, at, nil
		}
	}
}

// behind says whether something has not been heard yet, and returns what closes when more was.
func (l *listener) behind(newest uint64, there map[types.UID]bool, at uint64) (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	behind := l.version < newest
	for _, v := range l.known {
		behind = behind || v.number <= at && !there[v.uid]
	}
	return behind, l.more
}
