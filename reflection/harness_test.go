package reflection

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/record"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// harness is the engine with caches that the test fills by hand, so that it decides what is known when.
type harness struct {
	t      *testing.T
	m      *Mirror
	home   client.WithWatch
	away   client.WithWatch
	events *record.FakeRecorder
	clock  *clocktesting.FakeClock
	pods   *fakePods

	calls  []string                                   // what was asked of the provider
	asked  []string                                   // what was asked of home
	refuse func(call string, obj client.Object) error // what the provider answers instead
	deny   func(call string, obj client.Object) error // what home answers instead
	kinds  []Reflected                                // other kinds than all
	under  Policies
	scope  Scope // of home
}

const (
	testHome = "shop"
	testAway = "shop-home"
)

func testScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, discoveryv1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return scheme
}

// newHarness starts with the given objects on the provider and an empty home.
func newHarness(t *testing.T, away ...client.Object) *harness {
	t.Helper()
	h := &harness{
		t: t, events: record.NewFakeRecorder(100), pods: &fakePods{},
		clock:  clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0)),
		refuse: func(string, client.Object) error { return nil },
		deny:   func(string, client.Object) error { return nil },
	}
	h.away = interceptor.NewClient(fake.NewClientBuilder().WithScheme(testScheme(t)).WithReturnManagedFields().
		WithObjects(away...).Build(), h.recording(&h.calls, &h.refuse))
	h.home = interceptor.NewClient(
		fake.NewClientBuilder().WithScheme(testScheme(t)).WithStatusSubresource(&corev1.Service{}).Build(),
		h.recordingHome())
	h.restart()
	return h
}

// recordingHome notes what is asked of home.
func (h *harness) recordingHome() interceptor.Funcs {
	funcs := h.recording(&h.asked, &h.deny)
	funcs.Create, funcs.Delete = nil, nil // only tests do that
	return funcs
}

// inCluster has home watched in cluster scope.
func (h *harness) inCluster() *harness {
	h.t.Helper()
	h.scope = ScopeCluster
	h.restart()
	return h
}

func (h *harness) recording(
	calls *[]string, answer *func(call string, obj client.Object) error,
) interceptor.Funcs {
	note := func(call string, obj client.Object) error {
		*calls = append(*calls, call+" "+obj.GetName())
		return (*answer)(call, obj)
	}
	return interceptor.Funcs{
		Get: func(
			ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption,
		) error {
			o.SetName(k.Name)
			if err := note("get", o); err != nil {
				return err
			}
			return c.Get(ctx, k, o, opts...)
		},
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := note("create", o); err != nil {
				return err
			}
			o.SetUID("away-uid")
			return c.Create(ctx, o, opts...)
		},
		Patch: func(
			ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption,
		) error {
			if err := note("patch", o); err != nil {
				return err
			}
			return c.Patch(ctx, o, p, opts...)
		},
		SubResourcePatch: func(
			ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch,
			opts ...client.SubResourcePatchOption,
		) error {
			if err := note(sub, o); err != nil {
				return err
			}
			return c.SubResource(sub).Patch(ctx, o, p, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if err := note("delete", o); err != nil {
				return err
			}
			return h.deleteExactly(ctx, c, o, opts...)
		},
	}
}

// deleteExactly checks the preconditions, which the fake client does not.
func (h *harness) deleteExactly(
	ctx context.Context, c client.Client, o client.Object, opts ...client.DeleteOption,
) error {
	options := (&client.DeleteOptions{}).ApplyOptions(opts)
	live := o.DeepCopyObject().(client.Object)
	if err := c.Get(ctx, client.ObjectKeyFromObject(o), live); err != nil {
		return err
	}
	p := options.Preconditions
	if p == nil || p.UID == nil || p.ResourceVersion == nil {
		h.t.Errorf("delete of %s without preconditions", o.GetName())
	} else if *p.UID != live.GetUID() || *p.ResourceVersion != live.GetResourceVersion() {
		return conflict(o)
	}
	return c.Delete(ctx, live)
}

// restart makes a new engine that remembers nothing, with complete caches.
func (h *harness) restart() {
	h.t.Helper()
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		h.t.Fatal(err)
	}
	var known *twin
	if h.m != nil {
		known = h.m.twins[testHome]
	}
	if h.kinds == nil {
		h.kinds = Kinds(Facts{OurNode: ourNode, ClusterOf: clusterOf, Pods: h.pods})
	}
	h.m, err = New(Options{
		Origin: "home", Destination: "provider-1",
		Home:  NewSources(SourceOptions{Client: h.home, Cluster: "home", Clock: h.clock, Scope: h.scope}),
		Away:  NewSources(SourceOptions{Client: h.away, Cluster: "provider-1", Clock: h.clock}),
		Kinds: h.kinds, Policies: h.under, Events: h.events, Metrics: metrics, Clock: h.clock,
	})
	if err != nil {
		h.t.Fatal(err)
	}
	t := &twin{home: testHome, away: testAway, pairs: map[string]*pair{}, ctx: h.t.Context()}
	for _, r := range h.m.reflectors {
		p := newPair()
		p.home = filled(r.homeSubject(), testHome)
		p.away = filled(r.awaySubject(), testAway)
		if known != nil {
			for _, obj := range known.pairs[r.kind.resource].home.all() {
				_ = p.home.source.store.Add(obj)
			}
		}
		p.ready.Store(true)
		t.pairs[r.kind.resource] = p
	}
	h.m.twins[testHome] = t
	h.catchUp()
}

// filled is a view of a source that the test fills.
func filled(about subject, namespace string) *view {
	s := NewSources(SourceOptions{})
	src := newSource(s, about, sourceKey{})
	src.views[namespace] = []*view{}
	v := &view{source: src, namespace: namespace, listener: homeSide{}, asker: s}
	src.add(v)
	return v
}

func (h *harness) pair(resource string) *pair { return h.m.twins[testHome].pairs[resource] }

func (h *harness) reflector(resource string) *reflector {
	h.t.Helper()
	for _, r := range h.m.reflectors {
		if r.kind.resource == resource {
			return r
		}
	}
	h.t.Fatalf("no reflector of %s", resource)
	return nil
}

// resourceOf is the plural of the kinds here.
func resourceOf(obj client.Object) string {
	switch obj.(type) {
	case *corev1.Service:
		return "services"
	case *corev1.ConfigMap:
		return "configmaps"
	case *corev1.Secret:
		return "secrets"
	case *networkingv1.Ingress:
		return "ingresses"
	default:
		return "endpointslices"
	}
}

// has makes home, and the cache of home, have the object.
func (h *harness) has(obj client.Object) {
	h.t.Helper()
	if obj.GetUID() == "" {
		obj.SetUID("home-uid")
	}
	stored := obj.DeepCopyObject().(client.Object)
	h.quietly(func() error {
		live := obj.DeepCopyObject().(client.Object)
		err := h.home.Get(h.t.Context(), client.ObjectKeyFromObject(obj), live)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		if err == nil {
			stored.SetResourceVersion(live.GetResourceVersion())
			return h.home.Update(h.t.Context(), stored)
		}
		stored.SetResourceVersion("")
		return h.home.Create(h.t.Context(), stored)
	})
	h.caches(stored)
}

// caches makes the cache of home have the object, as it caches objects of its kind.
func (h *harness) caches(obj client.Object) {
	h.t.Helper()
	source := h.pair(resourceOf(obj)).home.source
	cached, err := source.lean(obj.DeepCopyObject())
	if err == nil {
		err = source.store.Update(cached)
	}
	if err != nil {
		h.t.Fatal(err)
	}
}

// lost makes home, and the cache of home, not have the object any more.
func (h *harness) lost(obj client.Object) {
	h.t.Helper()
	h.quietly(func() error {
		return client.IgnoreNotFound(h.home.Delete(h.t.Context(), obj.DeepCopyObject().(client.Object)))
	})
	if err := h.pair(resourceOf(obj)).home.source.store.Delete(obj); err != nil {
		h.t.Fatal(err)
	}
}

// quietly does something at home that is neither noted nor denied.
func (h *harness) quietly(do func() error) {
	h.t.Helper()
	asked, deny := h.asked, h.deny
	h.deny = func(string, client.Object) error { return nil }
	defer func() { h.asked, h.deny = asked, deny }()
	if err := do(); err != nil {
		h.t.Fatal(err)
	}
}

// catchUp makes the caches of the provider have what is there.
func (h *harness) catchUp() {
	h.t.Helper()
	for _, r := range h.m.reflectors {
		about := r.awaySubject()
		found := about.list().(*metav1.PartialObjectMetadataList)
		err := h.away.List(h.t.Context(), found,
			&client.ListOptions{Namespace: testAway, LabelSelector: about.selector()})
		if err != nil {
			h.t.Fatal(err)
		}
		var objs []any
		for i := range found.Items {
			objs = append(objs, leanCopy(&found.Items[i]))
		}
		if err := h.pair(r.kind.resource).away.source.store.Replace(objs, ""); err != nil {
			h.t.Fatal(err)
		}
	}
}

// look has the engine look at a copy, with caches that are up to date.
func (h *harness) look(resource, name string) (time.Duration, error) {
	h.t.Helper()
	h.catchUp()
	return h.lookBehind(resource, name)
}

// lookBehind is look with the caches as they are.
func (h *harness) lookBehind(resource, name string) (time.Duration, error) {
	h.t.Helper()
	h.calls, h.asked = nil, nil
	return h.reflector(resource).reconcile(h.t.Context(), item{testHome, name})
}

// settle is look that must succeed.
func (h *harness) settle(resource, name string) {
	h.t.Helper()
	if _, err := h.look(resource, name); err != nil {
		h.t.Fatalf("%s %s: %v", resource, name, err)
	}
}

// copied reads what is on the provider, past the recording; nil when there is nothing.
func copied[T client.Object](h *harness, obj T, name string) T {
	h.t.Helper()
	calls, refuse := h.calls, h.refuse
	h.refuse = func(string, client.Object) error { return nil }
	defer func() { h.calls, h.refuse = calls, refuse }()
	if err := h.away.Get(h.t.Context(), client.ObjectKey{Namespace: testAway, Name: name}, obj); err != nil {
		if client.IgnoreNotFound(err) != nil {
			h.t.Fatal(err)
		}
		var none T
		return none
	}
	return obj
}

// meddle changes what is on the provider, as somebody else would.
func (h *harness) meddle(change func(c client.Client) error) {
	h.t.Helper()
	calls, refuse := h.calls, h.refuse
	h.refuse = func(string, client.Object) error { return nil }
	defer func() { h.calls, h.refuse = calls, refuse }()
	if err := change(client.WithFieldOwner(h.away, "somebody")); err != nil {
		h.t.Fatal(err)
	}
}

// told returns the events since the last call.
func (h *harness) told() []string {
	var out []string
	for {
		select {
		case event := <-h.events.Events:
			out = append(out, event)
		default:
			return out
		}
	}
}

// foreign is an object of somebody else in the twin.
func foreign(name string) *corev1.ConfigMap {
	obj := configMap(name)
	obj.Namespace, obj.Data = testAway, map[string]string{"theirs": "x"}
	return obj
}

// marked is an object in the twin with the given marks.
func marked(obj client.Object, origin, homeUID string) client.Object {
	obj.SetNamespace(testAway)
	obj.SetLabels(map[string]string{v1beta1.LabelOrigin: origin})
	if homeUID != "" {
		obj.SetAnnotations(map[string]string{v1beta1.AnnotationHomeUID: homeUID})
	}
	return obj
}

func join(calls []string) string { return fmt.Sprint(calls) }
