package history

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	clocktesting "k8s.io/utils/clock/testing"
)

// server answers like an API server, one answer for each request.
type server struct {
	dynamic.NamespaceableResourceInterface
	t       *testing.T
	lists   chan any // what is listed, or an error
	watches chan any // a watch, or an error
	from    []string // where watches began
}

func (s *server) Resource(schema.GroupVersionResource) dynamic.NamespaceableResourceInterface {
	return s
}

func (s *server) List(ctx context.Context, _ metav1.ListOptions) (*unstructured.UnstructuredList, error) {
	select {
	case answer := <-s.lists:
		if err, ok := answer.(error); ok {
			return nil, err
		}
		return answer.(*unstructured.UnstructuredList), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *server) Watch(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	s.from = append(s.from, o.ResourceVersion)
	select {
	case answer := <-s.watches:
		if err, ok := answer.(error); ok {
			return nil, err
		}
		w := answer.(watch.Interface)
		context.AfterFunc(ctx, w.Stop) // as clients do
		return w, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func listOf(version int, objects ...*unstructured.Unstructured) *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetResourceVersion(fmt.Sprint(version))
	for _, o := range objects {
		list.Items = append(list.Items, *o.DeepCopy())
	}
	return list
}

func thing(name, uid string, version int) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{"kind": "Thing", "apiVersion": "v1"}}
	o.SetName(name)
	o.SetUID(types.UID(uid))
	o.SetResourceVersion(fmt.Sprint(version))
	return o
}

// listened is a listener with a server of its own; what it records reads "+3s MODIFIED a/uid@version since +1s".
type listened struct {
	t       *testing.T
	clock   *clocktesting.FakeClock
	server  *server
	entries chan Entry
	self    *listener
}

func newListened(t *testing.T) *listened {
	l := &listened{
		t: t, clock: clocktesting.NewFakeClock(time.Unix(0, 0)), entries: make(chan Entry, 100),
		server: &server{t: t, lists: make(chan any), watches: make(chan any)},
	}
	l.self = newListener("home", schema.GroupVersionResource{Resource: "things"}, l.server,
		listening{l.clock, func(e Entry) { l.entries <- e }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.self.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return l
}

// hears waits for entries and compares them, in whatever order those of one moment come.
func (l *listened) hears(want ...string) {
	l.t.Helper()
	got := map[string]int{}
	for range want {
		got[l.next()]++
	}
	wanted := map[string]int{}
	for _, w := range want {
		wanted[w]++
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		l.t.Errorf("-want,+got:\n%s", diff)
	}
}

func (l *listened) next() string {
	l.t.Helper()
	var e Entry
	select {
	case e = <-l.entries:
	case <-time.After(time.Minute):
		l.t.Fatal("nothing was recorded")
	}
	out := fmt.Sprintf("+%ds %s", e.At.Unix(), e.Type)
	if e.Gap != nil {
		out = fmt.Sprintf("+%ds gap since +%ds", e.At.Unix(), e.Gap.Since.Unix())
	} else {
		var o unstructured.Unstructured
		if err := o.UnmarshalJSON(e.Object); err != nil {
			l.t.Fatal(err)
		}
		out += fmt.Sprintf(" %s/%s@%s", o.GetName(), o.GetUID(), o.GetResourceVersion())
	}
	if e.Since != nil {
		out += fmt.Sprintf(" since +%ds", e.Since.Unix())
	}
	return out
}

// pass lets time pass for a listener that waits.
func (l *listened) pass(seconds int) {
	for !l.clock.HasWaiters() {
		select {
		case <-l.t.Context().Done():
			return
		case <-time.After(time.Millisecond):
		}
	}
	l.clock.Step(time.Duration(seconds) * time.Second)
}

func TestAListenerGoesOnWhereItWas(t *testing.T) {
	l := newListened(t)
	l.server.lists <- listOf(5, thing("a", "1", 3))
	l.hears("+0s ADDED a/1@3")
	first := watch.NewFake()
	l.server.watches <- first
	first.Modify(thing("a", "1", 6))
	l.hears("+0s MODIFIED a/1@6")
	first.Action(watch.Bookmark, thing("", "", 9))
	first.Stop()
	l.pass(7)
	// What happened before the new watch may have happened at any time since the old one ended.
	second := watch.NewFake()
	l.server.watches <- second
	l.server.lists <- listOf(11)
	second.Delete(thing("a", "1", 11))
	second.Add(thing("b", "2", 12))
	l.hears("+7s DELETED a/1@11 since +0s", "+7s ADDED b/2@12")
	if diff := cmp.Diff([]string{"5", "9"}, l.server.from); diff != "" {
		t.Errorf("watches began at -want,+got:\n%s", diff)
	}
}

func TestWhatAListenerMissesIsAGap(t *testing.T) {
	for what, lost := range map[string]error{
		"compacted":  errors.NewResourceExpired("too old"),
		"not served": errors.NewNotFound(schema.GroupResource{Resource: "things"}, ""),
	} {
		t.Run(what, func(t *testing.T) {
			l := newListened(t)
			l.server.lists <- listOf(5, thing("same", "1", 1), thing("changed", "2", 2), thing("gone", "3", 3),
				thing("replaced", "4", 4))
			l.hears("+0s ADDED same/1@1", "+0s ADDED changed/2@2", "+0s ADDED gone/3@3", "+0s ADDED replaced/4@4")
			first := watch.NewFake()
			l.server.watches <- first
			first.Stop()
			l.pass(2)
			l.server.watches <- lost
			l.pass(2)
			l.server.lists <- errors.NewServiceUnavailable("not yet")
			l.pass(2)
			l.server.lists <- listOf(20, thing("same", "1", 1), thing("changed", "2", 12), thing("replaced", "5", 14),
				thing("new", "6", 15))
			l.hears("+6s gap since +0s", "+6s DELETED gone/3@3 since +0s", "+6s DELETED replaced/4@4 since +0s",
				"+6s ADDED replaced/5@14 since +0s", "+6s MODIFIED changed/2@12 since +0s",
				"+6s ADDED new/6@15 since +0s")
		})
	}
}

func TestAListenerIsCaughtUpOnceItHasHeardAll(t *testing.T) {
	l := newListened(t)
	l.server.lists <- listOf(5, thing("a", "1", 3), thing("b", "2", 4))
	w := watch.NewFake()
	l.server.watches <- w
	done := make(chan error)
	go func() { done <- l.self.caughtUp(t.Context()) }()
	l.server.lists <- listOf(9, thing("a", "1", 8)) // b has gone
	waiting := func() {
		t.Helper()
		select {
		case err := <-done:
			t.Fatalf("it is said to have heard all: %v", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
	waiting()
	w.Modify(thing("a", "1", 8))
	waiting()
	w.Delete(thing("b", "2", 9))
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- l.self.caughtUp(ctx) }()
	l.server.lists <- listOf(30, thing("c", "3", 20))
	cancel()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "complete the record of things of home") {
		t.Errorf("got %v", err)
	}
	go func() { done <- l.self.caughtUp(t.Context()) }()
	l.server.lists <- errors.NewNotFound(schema.GroupResource{Resource: "things"}, "")
	if err := <-done; err != nil {
		t.Errorf("what is not served is not waited for: %v", err)
	}
}

func TestWhatIsInASecretIsNotRecorded(t *testing.T) {
	secret := &unstructured.Unstructured{Object: map[string]any{
		"kind": "Secret", "apiVersion": "v1", "data": map[string]any{"key": "c2VjcmV0"},
		"stringData": map[string]any{"key": "secret"},
		"metadata": map[string]any{"name": "s", "managedFields": []any{}, "annotations": map[string]any{
			"kubectl.kubernetes.io/last-applied-configuration": `{"data":{"key":"c2VjcmV0"}}`, "other": "kept",
		}},
	}}
	same, other := secret.DeepCopy(), secret.DeepCopy()
	other.Object["data"] = map[string]any{"key": "b3RoZXI="}
	ours := &unstructured.Unstructured{Object: map[string]any{
		"kind": "Secret", "apiVersion": "example.com/v1", "data": map[string]any{"key": "plain"},
	}}
	text := func(o *unstructured.Unstructured) string {
		t.Helper()
		raw, err := scrub(o)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	first := text(secret)
	for _, hidden := range []string{"c2VjcmV0", `"secret"`, "managedFields"} {
		if strings.Contains(first, hidden) {
			t.Errorf("%s is recorded: %s", hidden, first)
		}
	}
	if !strings.Contains(first, `"other":"kept"`) {
		t.Errorf("what is not secret is not recorded: %s", first)
	}
	if first != text(same) || first == text(other) {
		t.Error("hashes do not tell contents apart")
	}
	if !strings.Contains(text(ours), `"plain"`) {
		t.Error("what only has the name of a Secret is not recorded")
	}
}
