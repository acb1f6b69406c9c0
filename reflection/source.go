package reflection

import (
	"context"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/watching"
)

// source is one watch and what it has seen, for one namespace or all.
type source struct {
	key     sourceKey
	about   subject
	watched *watched
	store   cache.Indexer
	runs    cache.Controller
	cancel  context.CancelFunc
	synced  chan struct{} // closed once everything that is there has been seen
	ended   chan struct{} // closed once nothing of it runs any more

	mu     sync.RWMutex
	views  map[string][]*view // by namespace
	askers []*asker           // in whose names it is watched
	turn   int                // which of them is next
	absent bool               // the API server does not know the kind
	denial string             // what it says while it refuses the watch for want of a right
}

func newSource(s *Sources, about subject, key sourceKey) *source {
	src := &source{
		key: key, about: about, views: map[string][]*view{},
		synced: make(chan struct{}), ended: make(chan struct{}),
	}
	src.watched = &watched{
		client: s.client, lent: src.lent,
		namespace: key.namespace, selector: about.selector(), list: about.list,
		attempts: watching.Attempts{
			Cluster: s.cluster, Namespace: key.namespace, Resource: about.resource, Clock: s.clock,
			Count: src.refused, Denied: src.denied, Optional: true, Missing: src.missing,
		},
	}
	indexers := cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc}
	for name, index := range about.indexers {
		indexers[name] = index
	}
	store, runs := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: src.watched.listWatch(),
		ObjectType:    about.object(),
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(obj any) { src.tell(nil, obj) },
			UpdateFunc: func(old, obj any) { src.tell(old, obj) },
			DeleteFunc: func(obj any) { src.tell(obj, nil) },
		},
		Indexers:  indexers,
		Transform: src.lean,
	})
	src.store, src.runs = store.(cache.Indexer), runs
	return src
}

// object returns what the API server's answers are decoded into.
func (s subject) object() client.Object {
	if s.whole != nil {
		return s.whole.object()
	}
	return &metav1.PartialObjectMetadata{}
}

func (s subject) list() client.ObjectList {
	if s.whole != nil {
		return s.whole.list()
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(s.gvk.GroupVersion().WithKind(s.gvk.Kind + "List"))
	return list
}

func (s *source) start(ctx context.Context) {
	ctx, s.cancel = context.WithCancel(ctx)
	go func() {
		if cache.WaitForCacheSync(ctx.Done(), s.runs.HasSynced) {
			close(s.synced)
		}
	}()
	go func() {
		defer close(s.ended)
		s.runs.RunWithContext(ctx)
	}()
}

func (s *source) add(v *view) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.views[v.namespace] = append(s.views[v.namespace], v)
	s.employ(v.asker)
}

// remove returns whether the view was the last.
func (s *source) remove(v *view) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := slices.DeleteFunc(slices.Clone(s.views[v.namespace]), func(other *view) bool { return other == v })
	if s.views[v.namespace] = left; len(left) == 0 {
		delete(s.views, v.namespace)
	}
	s.dismiss(v.asker)
	return len(s.views) == 0
}

// listeners returns who listens to a namespace, or to any.
func (s *source) listeners(namespace string) []*view {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if namespace != "" {
		return s.views[namespace]
	}
	var all []*view
	for _, views := range s.views {
		all = append(all, views...)
	}
	return all
}

// tell passes on what has changed to those whom it concerns.
func (s *source) tell(before, now any) {
	was, is := objectOf(before), objectOf(now)
	about := is
	if about == nil {
		about = was
	}
	if about == nil {
		return
	}
	for _, v := range s.listeners(about.GetNamespace()) {
		v.listener.changed(was, is)
	}
}

// objectOf returns an object, or its last known state if it is known only that it has gone; or nil.
func objectOf(obj any) client.Object {
	if tombstone, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		obj = tombstone.Obj
	}
	o, _ := obj.(client.Object)
	return o
}

func (s *source) refused() {
	for _, v := range s.listeners("") {
		v.listener.refused()
	}
}

func (s *source) missing(is bool) {
	s.mu.Lock()
	changed := s.absent != is
	s.absent = is
	s.mu.Unlock()
	if changed {
		s.tellOfTrouble()
	}
}

func (s *source) denied(words string) {
	s.mu.Lock()
	changed := s.denial != words
	s.denial = words
	s.mu.Unlock()
	if changed {
		s.tellOfTrouble()
	}
}

func (s *source) tellOfTrouble() {
	for _, v := range s.listeners("") {
		v.listener.troubled()
	}
}

// lean drops what nobody reads before an object is cached.
func (s *source) lean(obj any) (any, error) {
	o, ok := obj.(client.Object)
	if !ok {
		return obj, nil // a tombstone holds what was made lean before
	}
	switch {
	case s.about.copies != "":
		return leanCopy(o), nil
	case s.about.whole == nil, len(s.listeners(o.GetNamespace())) == 0:
		return leanMetadata(o, s.about.gvk), nil
	default:
		return leanWhole(o), nil
	}
}

// view is what a source shows of one namespace.
type view struct {
	source    *source
	namespace string
	listener  listener
	asker     *Sources
}

// complete is closed once everything that is there has been seen.
func (v *view) complete() <-chan struct{} { return v.source.synced }

// missing says whether the API server does not know the kind.
func (v *view) missing() bool {
	v.source.mu.RLock()
	defer v.source.mu.RUnlock()
	return v.source.absent
}

// denial is what the API server says while it refuses the watch for want of a right, else "".
func (v *view) denial() string {
	v.source.mu.RLock()
	defer v.source.mu.RUnlock()
	return v.source.denial
}

// blind says whether something that is told of as a [Mirror.Problems] keeps the view from being complete.
func (v *view) blind() bool { return v.missing() || v.denial() != "" }

// get returns an object, or nil.
func (v *view) get(name string) client.Object {
	obj, exists, _ := v.source.store.GetByKey(v.namespace + "/" + name)
	if !exists {
		return nil
	}
	return obj.(client.Object)
}

// by returns the objects of the namespace for which an index has the value; see [scoped].
func (v *view) by(index, value string) []client.Object {
	return objectsOf(v.source.store.ByIndex(index, v.namespace+"/"+value))
}

// all returns the objects of the namespace.
func (v *view) all() []client.Object {
	return objectsOf(v.source.store.ByIndex(cache.NamespaceIndex, v.namespace))
}

func objectsOf(objs []any, _ error) []client.Object { // fails only without the index
	out := make([]client.Object, 0, len(objs))
	for _, obj := range objs {
		out = append(out, obj.(client.Object))
	}
	return out
}

// scoped makes an index whose values mean something within a namespace only.
func scoped(value func(obj client.Object) string) cache.IndexFunc {
	return func(obj any) ([]string, error) {
		o := obj.(client.Object)
		return []string{o.GetNamespace() + "/" + value(o)}, nil
	}
}
