package main

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache/informertest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// halfCache notes what it is asked for, and has one informer.
type halfCache struct {
	informertest.FakeInformers
	reads    int
	removed  bool
	informer calling
}

// calling is an informer that calls those who are registered.
type calling struct {
	cache.Informer
	handlers map[*handle]toolscache.ResourceEventHandler
}

type handle struct {
	toolscache.ResourceEventHandlerRegistration
	of int
}

func (c *calling) AddEventHandler(
	h toolscache.ResourceEventHandler,
) (toolscache.ResourceEventHandlerRegistration, error) {
	at := &handle{of: len(c.handlers)}
	if c.handlers == nil {
		c.handlers = map[*handle]toolscache.ResourceEventHandler{}
	}
	c.handlers[at] = h
	return at, nil
}

func (c *calling) AddEventHandlerWithResyncPeriod(
	h toolscache.ResourceEventHandler, _ time.Duration,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return c.AddEventHandler(h)
}

func (c *calling) AddEventHandlerWithOptions(
	h toolscache.ResourceEventHandler, _ toolscache.HandlerOptions,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return c.AddEventHandler(h)
}

func (c *calling) RemoveEventHandler(at toolscache.ResourceEventHandlerRegistration) error {
	delete(c.handlers, at.(*handle))
	return nil
}

func (c *calling) add(obj any) {
	for _, h := range c.handlers {
		h.OnAdd(obj, false)
	}
}

func (h *halfCache) GetInformer(
	context.Context, client.Object, ...cache.InformerGetOption,
) (cache.Informer, error) {
	return &h.informer, nil
}

func (h *halfCache) RemoveInformer(context.Context, client.Object) error {
	h.removed = true
	return nil
}

func (h *halfCache) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	h.reads++
	return nil
}

func (h *halfCache) List(context.Context, client.ObjectList, ...client.ListOption) error {
	h.reads++
	return nil
}

func (h *halfCache) Start(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func halves(t *testing.T) (own, common *halfCache, both *joined) {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	own = &halfCache{FakeInformers: informertest.FakeInformers{Scheme: scheme}}
	common = &halfCache{FakeInformers: informertest.FakeInformers{Scheme: scheme}}
	return own, common, &joined{own: own, common: common}
}

func TestWhatIsReadWhere(t *testing.T) {
	metadata := &metav1.PartialObjectMetadata{}
	metadata.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	for name, c := range map[string]struct {
		obj     client.Object
		list    client.ObjectList
		wantOwn bool
	}{
		"the map of a provider":       {&v1beta1.NamespaceMap{}, &v1beta1.NamespaceMapList{}, true},
		"the virtual nodes of one":    {&v1beta1.VirtualNode{}, &v1beta1.VirtualNodeList{}, true},
		"what users ask for":          {&v1beta1.NamespaceOffloading{}, &v1beta1.NamespaceOffloadingList{}, false},
		"Nodes, whosever they are":    {&corev1.Node{}, &corev1.NodeList{}, false},
		"the metadata of a namespace": {metadata, &metav1.PartialObjectMetadataList{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			own, common, both := halves(t)
			err := errors.Join(both.Get(t.Context(), client.ObjectKey{}, c.obj), both.List(t.Context(), c.list))
			if err != nil {
				t.Fatal(err)
			}
			want := []int{0, 2}
			if c.wantOwn {
				want = []int{2, 0}
			}
			if diff := cmp.Diff(want, []int{own.reads, common.reads}); diff != "" {
				t.Errorf("reads of one's own and of the common cache (-want,+got):\n%s", diff)
			}
		})
	}
}

// TestNothingOfAPeeringIsCalledOnceItIsOver registers with caches that both hear of an object before and after.
func TestNothingOfAPeeringIsCalledOnceItIsOver(t *testing.T) {
	_, common, milan := halves(t)
	turin := &joined{own: milan.own, common: common}
	heard := map[string]int{}
	listen := func(j *joined, name string) cache.Informer {
		t.Helper()
		informer, err := j.GetInformer(t.Context(), &corev1.Node{})
		if err != nil {
			t.Fatal(err)
		}
		h := toolscache.ResourceEventHandlerFuncs{AddFunc: func(any) { heard[name]++ }}
		for _, add := range []func() (toolscache.ResourceEventHandlerRegistration, error){
			func() (toolscache.ResourceEventHandlerRegistration, error) { return informer.AddEventHandler(h) },
			func() (toolscache.ResourceEventHandlerRegistration, error) {
				return informer.AddEventHandlerWithResyncPeriod(h, 0)
			},
			func() (toolscache.ResourceEventHandlerRegistration, error) {
				return informer.AddEventHandlerWithOptions(h, toolscache.HandlerOptions{})
			},
		} {
			if _, err := add(); err != nil {
				t.Fatal(err)
			}
		}
		return informer
	}
	informer := listen(milan, "milan")
	listen(turin, "turin")
	common.informer.add(&corev1.Node{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := milan.Start(ctx); err != nil {
		t.Fatal(err)
	}
	common.informer.add(&corev1.Node{})
	if diff := cmp.Diff(map[string]int{"milan": 3, "turin": 6}, heard); diff != "" {
		t.Errorf("heard (-want,+got):\n%s", diff)
	}
	if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{}); !errors.Is(err, errOver) {
		t.Errorf("registered afterwards: %v", err)
	}
}

func TestInformersThatArePartOfAPeeringAndOthers(t *testing.T) {
	own, common, both := halves(t)
	for obj, want := range map[client.Object]cache.Informer{
		&v1beta1.VirtualNode{}: &own.informer, &corev1.Node{}: &leased{Informer: &common.informer, of: both},
	} {
		got, err := both.GetInformer(t.Context(), obj)
		if err != nil || !reflect.DeepEqual(want, got) {
			t.Errorf("of %T: %v, %v", obj, got, err)
		}
		if err := both.RemoveInformer(t.Context(), obj); err != nil {
			t.Error(err)
		}
	}
	if !own.removed || common.removed {
		t.Errorf("removed its own: %v, and the common one: %v; want the first only", own.removed, common.removed)
	}
	if _, err := both.GetInformerForKind(t.Context(), corev1.SchemeGroupVersion.WithKind("Node")); err == nil {
		t.Error("an informer that would outlive the peering")
	}
}
