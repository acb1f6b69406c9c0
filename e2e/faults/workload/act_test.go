package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/history"
)

var errCut = errors.New("connection reset by peer")

// server is home's API server as users see it: its answers can get lost.
type server struct {
	mu     sync.Mutex
	calls  []string
	refuse func(call string) error // nothing happens
	lose   func(call string) error // it happens, and the answer gets lost
}

func (s *server) call(format string, args ...any) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	call := fmt.Sprintf(format, args...)
	s.calls = append(s.calls, call)
	return call
}

func (s *server) through(call string, do func() error) error {
	if s.refuse != nil {
		if err := s.refuse(call); err != nil {
			return err
		}
	}
	if err := do(); err != nil {
		return err
	}
	if s.lose != nil {
		return s.lose(call)
	}
	return nil
}

func (s *server) client(t *testing.T, objs ...client.Object) client.Client {
	t.Helper()
	scheme, err := env.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objs...).WithInterceptorFuncs(interceptor.Funcs{
		Apply: func(
			ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, _ ...client.ApplyOption,
		) error {
			named, ok := obj.(applied)
			if !ok {
				return fmt.Errorf("%T has no name", obj)
			}
			call := s.call("apply %s %s/%s", named.GetKind(), named.GetNamespace(), named.GetName())
			return s.through(call, func() error { return s.put(ctx, c, named) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			call := s.call("delete %s/%s %s", obj.GetNamespace(), obj.GetName(), obj.GetUID())
			var o client.DeleteOptions
			o.ApplyOptions(opts)
			return s.through(call, func() error { return s.deleteThis(ctx, c, obj, &o) })
		},
	}).Build()
}

// applied is what is applied.
type applied interface {
	GetKind() string
	GetNamespace() string
	GetName() string
	UnstructuredContent() map[string]any
	SetDeletionTimestamp(*metav1.Time)
}

// put stores ConfigMaps; nobody asks for anything else again. What is on its way out stays as it is.
func (s *server) put(ctx context.Context, c client.Client, obj applied) error {
	if obj.GetKind() != "ConfigMap" {
		return nil
	}
	var want, there corev1.ConfigMap
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.UnstructuredContent(), &want); err != nil {
		return err
	}
	err := c.Get(ctx, client.ObjectKeyFromObject(&want), &there)
	switch {
	case apierrors.IsNotFound(err):
		return c.Create(ctx, &want)
	case err == nil && there.DeletionTimestamp != nil:
		obj.SetDeletionTimestamp(there.DeletionTimestamp)
		return nil
	}
	there.Data = want.Data
	return errors.Join(err, c.Update(ctx, &there))
}

// deleteThis honours the precondition, which the fake client does not.
func (s *server) deleteThis(ctx context.Context, c client.Client, obj client.Object, o *client.DeleteOptions) error {
	there, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("%T is no object", obj)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(obj), there); err != nil {
		return err
	}
	if o.Preconditions == nil || *o.Preconditions.UID != there.GetUID() {
		return apierrors.NewConflict(schema.GroupResource{Resource: "pods"}, obj.GetName(),
			errors.New("Precondition failed: UID in precondition: first, UID in object meta: second"))
	}
	return c.Delete(ctx, there)
}

// once returns a failure the first time that a call begins so.
func once(prefix string) func(string) error {
	var mu sync.Mutex
	done := false
	return func(call string) error {
		mu.Lock()
		defer mu.Unlock()
		if done || !strings.HasPrefix(call, prefix) {
			return nil
		}
		done = true
		return errCut
	}
}

// diary keeps notes.
type diary struct {
	mu    sync.Mutex
	notes []history.Note
}

func (d *diary) Note(n history.Note) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, n)
}

func (d *diary) forced() []types.UID {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []types.UID
	for _, n := range d.notes {
		if n.Name == history.ForceDelete {
			out = append(out, n.UID)
		}
	}
	return out
}

// appPod returns a pod of app web.
func appPod(name, uid string) *corev1.Pod {
	return build.Pod(name).Namespace("shop").UID(uid).Label(labelApp, "web").Obj()
}

func settingsOf(version int) client.Object {
	return (&namespace{name: "shop", settings: version}).settingsMap()
}

func TestAStepIsDoneWhateverGetsLost(t *testing.T) {
	one := Deletion{Object: appPod("pod-1", "")}
	forced := Deletion{Object: appPod("pod-1", ""), Grace: ptr.To[int64](0)}
	second := Deletion{Object: appPod("web", ""), Nth: ptr.To(4)} // of three: the second
	for name, test := range map[string]struct {
		there        []client.Object
		step         Step
		refuse, lose func(string) error
		want         []string
		wantForced   []types.UID
	}{
		"what is applied is asked for once": {
			step: Step{Apply: []client.Object{settingsOf(2)}},
			want: []string{"apply ConfigMap shop/settings"},
		},
		"what was not carried out is asked for again": {
			step: Step{Apply: []client.Object{settingsOf(2)}}, refuse: once("apply"),
			want: []string{"apply ConfigMap shop/settings", "apply ConfigMap shop/settings"},
		},
		"what was carried out unheard is asked for again, which changes nothing": {
			step: Step{Apply: []client.Object{settingsOf(2)}}, lose: once("apply"),
			want: []string{"apply ConfigMap shop/settings", "apply ConfigMap shop/settings"},
		},
		"what is gone already is not asked for": {step: Step{Delete: []Deletion{one}}},
		"a deletion that was carried out unheard meets nothing": {
			there: []client.Object{appPod("pod-1", "a")}, step: Step{Delete: []Deletion{one}}, lose: once("delete"),
			want: []string{"delete shop/pod-1 a", "delete shop/pod-1 a"},
		},
		"a forced deletion is noted with what it is about": {
			there:      []client.Object{appPod("pod-1", "a")},
			step:       Step{Delete: []Deletion{forced}},
			refuse:     once("delete"),
			want:       []string{"delete shop/pod-1 a", "delete shop/pod-1 a"},
			wantForced: []types.UID{"a"},
		},
		"the n-th pod of an app is counted by name, and around": {
			there: []client.Object{appPod("web-c", "c"), appPod("web-a", "a"), appPod("web-b", "b")},
			step:  Step{Delete: []Deletion{second}},
			want:  []string{"delete shop/web-b b"},
		},
		"an app without pods has none to delete": {step: Step{Delete: []Deletion{second}}},
		"first it deletes, then it applies": {
			there: []client.Object{appPod("pod-1", "a")},
			step:  Step{Delete: []Deletion{one}, Apply: []client.Object{settingsOf(1)}},
			want:  []string{"delete shop/pod-1 a", "apply ConfigMap shop/settings"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, d := &server{refuse: test.refuse, lose: test.lose}, &diary{}
				w := New(Options{Home: s.client(t, test.there...), Notes: d, Providers: twoProviders})
				test.step.Does = "something"
				if !w.carryOut(t.Context(), test.step) {
					t.Fatal("it was not done")
				}
				if diff := cmp.Diff(test.want, s.calls); diff != "" {
					t.Errorf("calls (-want,+got):\n%s", diff)
				}
				if diff := cmp.Diff(test.wantForced, d.forced()); diff != "" {
					t.Errorf("forced (-want,+got):\n%s", diff)
				}
				if len(d.notes) == 0 || d.notes[0].Name != "something" {
					t.Errorf("notes: %v", d.notes)
				}
			})
		})
	}
}

// A controller makes another pod of the same name while the answer to a deletion is lost: that one stays.
func TestALostAnswerCostsNoSuccessorItsLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		c := s.client(t, appPod("db-0", "first"))
		s.lose = func(string) error {
			if len(s.calls) > 1 {
				return nil
			}
			if err := c.Create(t.Context(), appPod("db-0", "second")); err != nil {
				t.Error(err)
			}
			return errCut
		}
		w := New(Options{Home: c, Providers: twoProviders})
		if !w.carryOut(t.Context(), Step{Delete: []Deletion{{Object: appPod("db-0", "")}}}) {
			t.Fatal("it was not done")
		}
		var left corev1.Pod
		err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "db-0"}, &left)
		if err != nil || left.UID != "second" {
			t.Errorf("pod %q is left: %v", left.UID, err)
		}
		if len(s.calls) != 2 {
			t.Errorf("calls: %v", s.calls)
		}
	})
}

// What is on its way out would take an application and go all the same.
func TestWhatLeavesIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leaving, ok := settingsOf(1).(*corev1.ConfigMap)
		if !ok {
			t.Fatal("settings are no ConfigMap")
		}
		leaving.Finalizers = []string{"example.com/slow"}
		now := metav1.NewTime(time.Now())
		leaving.DeletionTimestamp = &now
		s := &server{}
		c := s.client(t, leaving)
		w := New(Options{Home: c, Providers: twoProviders})
		done := make(chan bool, 1)
		go func() { done <- w.carryOut(t.Context(), Step{Apply: []client.Object{settingsOf(2)}}) }()
		time.Sleep(time.Minute) //nolint:forbidigo // of a bubble
		select {
		case <-done:
			t.Fatal("it was not waited for")
		default:
		}
		w.change(func() {
			if trouble := w.queues[0].trouble; !errors.Is(trouble, errLeaving) {
				t.Errorf("it waits for: %v", trouble)
			}
		})
		var there corev1.ConfigMap
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(leaving), &there); err != nil {
			t.Fatal(err)
		}
		there.Finalizers = nil
		if err := c.Update(t.Context(), &there); err != nil {
			t.Fatal(err)
		}
		if !<-done {
			t.Fatal("it was not done")
		}
		err := c.Get(t.Context(), client.ObjectKeyFromObject(leaving), &there)
		if err != nil || there.Data["version"] != "2" {
			t.Errorf("there is %v: %v", there.Data, err)
		}
	})
}

func TestAUserGivesUpOnlyWhenTheDayIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{refuse: func(string) error { return errCut }}
		w := New(Options{Home: s.client(t), Providers: twoProviders})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if w.carryOut(ctx, Step{Apply: []client.Object{settingsOf(1)}}) {
			t.Error("it was done")
		}
		tries := len(s.calls)
		if most := int(10*time.Minute/latest) + 10; tries < most-20 || tries > most {
			t.Errorf("in ten minutes it was tried %d times", tries)
		}
	})
}

// What is decided does not depend on what works: with and without trouble the same is asked for in the end.
func TestTroubleChangesNoDecision(t *testing.T) {
	decided := func(refuse func(string) error, rests bool) Expected {
		var got Expected
		synctest.Test(t, func(t *testing.T) {
			w := New(Options{Seed: 4, Home: (&server{refuse: refuse}).client(t), Providers: twoProviders})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); w.Run(ctx) }()
			for w.Steps() < 80 {
				time.Sleep(time.Second) //nolint:forbidigo // of a bubble
				if rests {
					if err := w.Rest(ctx); err != nil {
						t.Error(err)
					}
					w.Resume()
				}
			}
			if err := w.Rest(ctx); err != nil {
				t.Error(err)
			}
			got = planOf(4).after(w.Steps())
			if diff := cmp.Diff(got, w.Expect()); diff != "" {
				t.Errorf("not what the seed decides (-seed,+got):\n%s", diff)
			}
			cancel()
			<-done
		})
		return got
	}
	calm := decided(nil, false)
	n := 0
	var mu sync.Mutex
	troubled := decided(func(string) error {
		mu.Lock()
		defer mu.Unlock()
		if n++; n%3 != 0 {
			return errCut
		}
		return nil
	}, true)
	if len(calm.Namespaces) == 0 || len(troubled.Namespaces) == 0 {
		t.Error("nothing was decided")
	}
}

// after returns what is expected after so many steps.
func (p *Plan) after(steps int) Expected {
	for range steps {
		p.Next()
	}
	return p.world.expect()
}

// One namespace that is stuck keeps nobody else from work, and Rest says what it waits for.
func TestNamespacesDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{}
		stuck := ""
		s.refuse = func(call string) error {
			if stuck == "" {
				stuck = call[strings.LastIndex(call, "/")+1:] // the first namespace
			}
			if strings.Contains(call, stuck) {
				return errCut
			}
			return nil
		}
		w := New(Options{Seed: 6, Home: s.client(t), Providers: twoProviders})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		time.Sleep(time.Minute) //nolint:forbidigo // of a bubble
		resting, stop := context.WithTimeout(ctx, time.Minute)
		defer stop()
		err := w.Rest(resting)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "create a namespace "+stuck) ||
			!strings.Contains(err.Error(), errCut.Error()) {
			t.Errorf("Rest says: %v", err)
		}
		if pending := w.Pending(); len(pending) != 1 {
			t.Errorf("%d namespaces wait: %v", len(pending), pending)
		}
		cancel()
		<-done
		others := slices.DeleteFunc(slices.Clone(s.calls), func(c string) bool { return strings.Contains(c, stuck) })
		if len(others) < 100 {
			t.Errorf("the others did %d things", len(others))
		}
	})
}

// When nothing can be done for hours, what is left undone stays bounded, and Resume goes on deciding after a Rest.
func TestTheBacklogIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{refuse: func(string) error { return errCut }}
		w := New(Options{Seed: 6, Home: s.client(t), Providers: twoProviders})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); w.Run(ctx) }()
		time.Sleep(time.Hour) //nolint:forbidigo // of a bubble
		if w.Steps() != backlog {
			t.Errorf("%d steps were decided", w.Steps())
		}
		cancel()
		<-done
	})
}

func TestWhetherADeletionMeantAPredecessor(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for words, want := range map[string]bool{
		"Precondition failed: UID in precondition: 1, UID in object meta: 2":            true,
		"the UID in the precondition (1) does not match the UID in record (2)":          true,
		"the object has been modified; please apply your changes to the latest version": false,
	} {
		if got := replaced(apierrors.NewConflict(pods, "web", errors.New(words))); got != want {
			t.Errorf("%q: %t", words, got)
		}
	}
}
