package namespacemap

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// origin is the id of the home cluster in these tests.
const origin = "a"

// morning is when everything happens.
var morning = time.Date(2026, 1, 2, 8, 0, 0, 0, time.UTC)

func testScheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, rbacv1.AddToScheme, v1beta1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// server is a fake API server that counts writes and fails on demand.
type server struct {
	client.WithWatch
	writes []string
	// before is asked before every write: verb, object; an error is the answer.
	before func(verb string, object client.Object) error
	// read is asked before every read.
	read func(key client.ObjectKey, object client.Object) error
}

func (s *server) write(verb string, object client.Object) error {
	if s.before != nil {
		if err := s.before(verb, object); err != nil {
			return err
		}
	}
	s.writes = append(s.writes, verb+" "+object.GetName())
	return nil
}

// forget starts counting anew.
func (s *server) forget() { s.writes = nil }

func newServer(t *testing.T, objects ...client.Object) *server {
	t.Helper()
	s := &server{}
	s.WithWatch = fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(objects...).
		WithStatusSubresource(&v1beta1.NamespaceOffloading{}, &v1beta1.NamespaceMap{}, &v1beta1.VirtualNode{},
			&corev1.Namespace{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object,
				opts ...client.GetOption) error {
				if s.read != nil {
					if err := s.read(key, o); err != nil {
						return err
					}
				}
				return c.Get(ctx, key, o, opts...)
			},
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				if err := s.write("create", o); err != nil {
					return err
				}
				return c.Create(ctx, o, opts...)
			},
			Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
				if err := s.write("delete", o); err != nil {
					return err
				}
				return c.Delete(ctx, o, opts...)
			},
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch,
				opts ...client.PatchOption) error {
				if err := s.write("patch", o); err != nil {
					return err
				}
				return c.Patch(ctx, o, p, opts...)
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch,
				opts ...client.SubResourcePatchOption) error {
				if err := s.write("patch-"+sub, o); err != nil {
					return err
				}
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	return s
}

// get reads an object as it is now; it must exist.
func get[T client.Object](t *testing.T, c client.Client, namespace, name string, object T) T {
	t.Helper()
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, object); err != nil {
		t.Fatal(err)
	}
	return object
}

// missing fails unless there is no such object.
func missing(t *testing.T, c client.Client, namespace, name string, object client.Object) {
	t.Helper()
	err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, object)
	if !apierrors.IsNotFound(err) {
		t.Errorf("%T %s/%s exists, or: %v", object, namespace, name, err)
	}
}

// mapOf returns the map of a provider.
func mapOf(t *testing.T, c client.Client, id string) *v1beta1.NamespaceMap {
	t.Helper()
	return get(t, c, v1beta1.TenantNamespace(id), id, &v1beta1.NamespaceMap{})
}

// ask writes what the controller-manager would.
func ask(t *testing.T, c client.Client, id, home, twin string) {
	t.Helper()
	key := client.ObjectKey{Namespace: v1beta1.TenantNamespace(id), Name: id}
	if _, err := (&groupCommit{}).setDesired(t.Context(), c, key, home, twin); err != nil {
		t.Fatal(err)
	}
}

// answer writes what the agent of a provider would.
func answer(t *testing.T, c client.Client, id, home string, entry *v1beta1.TwinStatus) {
	t.Helper()
	key := client.ObjectKey{Namespace: v1beta1.TenantNamespace(id), Name: id}
	if _, err := (&groupCommit{}).setEntry(t.Context(), c, key, home, entry); err != nil {
		t.Fatal(err)
	}
}

func accepted(twin string) *v1beta1.TwinStatus {
	return &v1beta1.TwinStatus{RemoteNamespace: twin, Phase: v1beta1.MappingAccepted}
}

// homeSide is a controller-manager with its API server.
type homeSide struct {
	*server
	offloadings *Offloadings
	maps        *Maps
	recorder    *events.FakeRecorder
	clock       *clocktesting.FakePassiveClock
}

func newHome(t *testing.T, objects ...client.Object) *homeSide {
	t.Helper()
	h := &homeSide{
		server: newServer(t, objects...), recorder: events.NewFakeRecorder(100),
		clock: clocktesting.NewFakePassiveClock(morning),
	}
	h.offloadings = &Offloadings{Home: h.server, Live: h.server, ClusterID: origin, Clock: h.clock, Events: h.recorder}
	h.maps = &Maps{Home: h.server, Live: h.server, Clock: h.clock}
	return h
}

// offload reconciles the namespace's offloading once.
func (h *homeSide) offload(t *testing.T, home string) error {
	t.Helper()
	_, err := h.offloadings.Reconcile(t.Context(), offloadingOf(home))
	return err
}

// mustOffload reconciles the namespace's offloading once, which may not fail.
func (h *homeSide) mustOffload(t *testing.T, home string) {
	t.Helper()
	if err := h.offload(t, home); err != nil {
		t.Fatal(err)
	}
}

func (h *homeSide) offloading(t *testing.T, home string) *v1beta1.NamespaceOffloading {
	t.Helper()
	return get(t, h, home, v1beta1.OffloadingName, &v1beta1.NamespaceOffloading{})
}

// events returns what users were told since the last call.
func (h *homeSide) events() []string {
	var all []string
	for {
		select {
		case event := <-h.recorder.Events:
			all = append(all, event)
		default:
			slices.Sort(all)
			return all
		}
	}
}

// provider reconciles the map of a provider once.
func (h *homeSide) provider(t *testing.T, id string) (reconcile.Result, error) {
	t.Helper()
	request := reconcile.Request{}
	request.Namespace, request.Name = v1beta1.TenantNamespace(id), id
	return h.maps.Reconcile(t.Context(), request)
}

// shopWorld is namespace shop, offloaded, with virtual nodes and maps of providers b and c.
func shopWorld(off *build.OffloadingBuilder, more ...client.Object) []client.Object {
	return append([]client.Object{
		build.Namespace("shop").UID("uid-1").Obj(), off.Obj(),
		build.VirtualNode("b-1", "b", "region", "north"), build.VirtualNode("c-1", "c", "region", "south"),
		build.Map("b").Obj(), build.Map("c").Obj(),
	}, more...)
}
