package reflection

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// watchedCluster is a cluster that counts who watches it.
type watchedCluster struct {
	client.WithWatch
	mu   sync.Mutex
	open []string // namespaces, one for each watch
}

func newWatchedCluster(t *testing.T, objs ...client.Object) *watchedCluster {
	c := &watchedCluster{}
	c.WithWatch = interceptor.NewClient(fake.NewClientBuilder().WithScheme(testScheme(t)).WithObjects(objs...).Build(),
		interceptor.Funcs{Watch: c.watch})
	return c
}

// IsWatchListSemanticsUnSupported tells client-go that what lies below does not stream lists.
func (*watchedCluster) IsWatchListSemanticsUnSupported() bool { return true }

func (c *watchedCluster) watch(
	ctx context.Context, inner client.WithWatch, list client.ObjectList, opts ...client.ListOption,
) (watch.Interface, error) {
	namespace := (&client.ListOptions{}).ApplyOptions(opts).Namespace
	stream, err := inner.Watch(ctx, list, opts...)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = append(c.open, namespace)
	if _, bare := list.(*metav1.PartialObjectMetadataList); bare {
		stream = watch.Filter(stream, barely)
	}
	return &countedWatch{Interface: stream, stopped: sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		i := slices.Index(c.open, namespace)
		c.open = slices.Delete(c.open, i, i+1)
	})}, nil
}

// barely leaves the metadata of an object, as an API server does that is asked for no more.
func barely(event watch.Event) (watch.Event, bool) {
	obj, ok := event.Object.(client.Object)
	if !ok {
		return event, true
	}
	full, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	out := &metav1.PartialObjectMetadata{}
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(full, out)
	}
	event.Object = out
	return event, err == nil
}

type countedWatch struct {
	watch.Interface
	stopped func()
}

func (w *countedWatch) Stop() {
	w.stopped()
	w.Interface.Stop()
}

// watches returns the namespaces that are watched, sorted.
func (c *watchedCluster) watches() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(slices.Values(c.open))
}

func (c *watchedCluster) expectWatches(t *testing.T, want ...string) {
	t.Helper()
	if !becomes(t, func() bool { return slices.Equal(c.watches(), want) }) {
		diff := cmp.Diff(want, c.watches())
		t.Errorf("watches, -want,+got:\n%s", diff)
	}
}

// becomes says whether it is so within half a minute.
func becomes(t *testing.T, is func() bool) bool {
	return wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 30*time.Second, true,
		func(context.Context) (bool, error) { return is(), nil }) == nil
}

// heard notes what a listener is told.
type heard struct {
	mu    sync.Mutex
	names []string
}

func (h *heard) changed(before, now client.Object) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now == nil {
		h.names = append(h.names, "-"+before.GetNamespace()+"/"+before.GetName())
		return
	}
	h.names = append(h.names, now.GetNamespace()+"/"+now.GetName())
}

func (*heard) troubled() {}
func (*heard) refused()  {}

func (h *heard) expect(t *testing.T, want ...string) {
	t.Helper()
	all := func() []string {
		h.mu.Lock()
		defer h.mu.Unlock()
		return slices.Clone(h.names)
	}
	becomes(t, func() bool { return len(all()) >= len(want) })
	if diff := cmp.Diff(want, all()); diff != "" {
		t.Errorf("heard, -want,+got:\n%s", diff)
	}
}

func serviceSubject() subject {
	kind := mirror(Kind[*corev1.Service]{
		Resource: "services", New: func() *corev1.Service { return &corev1.Service{} }, Whole: true,
	})
	return subject{
		resource: "services", gvk: corev1.SchemeGroupVersion.WithKind("Service"), indexers: homeIndexers(kind, "home"),
		whole: &wholeObjects{
			object: func() client.Object { return &corev1.Service{} },
			list:   func() client.ObjectList { return &corev1.ServiceList{} },
		},
	}
}

func plain(namespace, name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{ExternalName: "example.com"},
	}
}

func ended(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-time.After(30 * time.Second):
		return false
	}
}

func completed(t *testing.T, v *view) {
	t.Helper()
	if !ended(v.complete()) {
		t.Fatal("the watch shows nothing")
	}
}

func TestWhatSeveralWantToKnowIsWatchedOnce(t *testing.T) {
	cluster := newWatchedCluster(t, plain("shop", "web"))
	s := NewSources(SourceOptions{Client: cluster})
	var first, second, other heard
	a := s.open(t.Context(), serviceSubject(), "shop", &first)
	completed(t, a)
	b := s.open(t.Context(), serviceSubject(), "shop", &second)
	completed(t, b) // though it came when all had been seen
	c := s.open(t.Context(), serviceSubject(), "blog", &other)
	completed(t, c)
	cluster.expectWatches(t, "blog", "shop")
	if b.get("web") == nil || c.get("web") != nil {
		t.Error("a view shows another namespace than its own")
	}
	if err := cluster.Delete(t.Context(), plain("shop", "web")); err != nil {
		t.Fatal(err)
	}
	first.expect(t, "shop/web", "-shop/web")
	second.expect(t, "-shop/web")
	other.expect(t)

	if !ended(s.close(a)) {
		t.Error("who leaves first waits for the others")
	}
	cluster.expectWatches(t, "blog", "shop")
	if !ended(s.close(b)) || !ended(s.close(c)) {
		t.Error("a watch does not end with its last listener")
	}
	cluster.expectWatches(t)
	if len(s.sources) != 0 {
		t.Errorf("%d sources are left", len(s.sources))
	}
}

func TestInClusterScopeThereIsOneWatch(t *testing.T) {
	cluster := newWatchedCluster(t, plain("shop", "web"), plain("kube-system", "dns"), plain("blog", "early"))
	s := NewSources(SourceOptions{Client: cluster, Scope: ScopeCluster})
	var shop, blog heard
	a := s.open(t.Context(), serviceSubject(), "shop", &shop)
	completed(t, a)
	b := s.open(t.Context(), serviceSubject(), "blog", &blog)
	cluster.expectWatches(t, "")
	if stripped(a.get("web")) {
		t.Error("an object of a namespace that is reflected is not cached whole")
	}
	if !stripped(b.get("early")) {
		t.Error("an object was cached whole before its namespace was reflected")
	}
	if names := len(a.all()) + len(a.by(byCopy, "web")) + len(b.by(byCopy, "web")); names != 2 {
		t.Errorf("views show objects of other namespaces")
	}
	if err := cluster.Create(t.Context(), plain("blog", "late")); err != nil {
		t.Fatal(err)
	}
	blog.expect(t, "blog/late")
	shop.expect(t, "shop/web")
	if stripped(b.get("late")) {
		t.Error("an object of a namespace that is reflected by now is not cached whole")
	}

	apart := serviceSubject()
	apart.resource, apart.apart = "apart", true
	c := s.open(t.Context(), apart, "shop", &heard{})
	completed(t, c)
	cluster.expectWatches(t, "", "shop")
	for _, v := range []*view{a, b, c} {
		if !ended(s.close(v)) {
			t.Error("a watch does not end")
		}
	}
	cluster.expectWatches(t)
}
