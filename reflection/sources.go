package reflection

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Scope says how much of a cluster one watch sees: [ScopeNamespace] or [ScopeCluster].
type Scope = v1beta1.WatchScope

// The scopes.
const (
	// ScopeNamespace opens a watch for each kind in each namespace that is reflected; it needs no rights beyond those.
	ScopeNamespace = v1beta1.WatchNamespaces
	// ScopeCluster opens one watch for each kind, however many namespaces are reflected.
	ScopeCluster = v1beta1.WatchCluster
)

// Sources are the watches on one API server. All Mirrors of a process may share them: what several want to know is
// watched once, for as long as one of them wants it.
type Sources struct {
	client client.WithWatch
	*watches
}

// watches are what Sources share that differ in their client only.
type watches struct {
	cluster string
	scope   Scope
	clock   clock.Clock

	mu      sync.Mutex
	sources map[sourceKey]*source
}

// SourceOptions are what [Sources] are made of.
type SourceOptions struct {
	// Client is an uncached client of the cluster; see [NewClient].
	Client client.WithWatch
	// Cluster is the id of the cluster, for logs; or "home".
	Cluster string
	// Scope is [ScopeNamespace] unless set.
	Scope Scope
	// Clock is the real one unless a test says otherwise.
	Clock clock.Clock
}

// NewSources returns Sources that watch nothing yet.
func NewSources(opts SourceOptions) *Sources {
	s := &Sources{client: opts.Client, watches: &watches{
		cluster: opts.Cluster, scope: opts.Scope, clock: opts.Clock, sources: map[sourceKey]*source{},
	}}
	if s.clock == nil {
		s.clock = clock.RealClock{}
	}
	return s
}

// As returns the same watches for somebody with other rights on the cluster. A watch is asked for in the name of those
// who look at it, of one after the other until the API server agrees; everything else, in the name of each.
func (s *Sources) As(c client.WithWatch) *Sources { return &Sources{client: c, watches: s.watches} }

// subject is what a watch is about.
type subject struct {
	resource string
	gvk      schema.GroupVersionKind
	// whole makes empty objects and lists of them when objects are cached with everything in them.
	whole *wholeObjects
	// copies has only those of this home cluster watched, and no more kept of each than copies need.
	copies string
	// labels are on all copies besides.
	labels map[string]string
	// apart is watched for each namespace on its own, whatever the scope.
	apart    bool
	indexers cache.Indexers
}

type wholeObjects struct {
	object func() client.Object
	list   func() client.ObjectList
}

func (s subject) selector() labels.Selector {
	if s.copies == "" {
		return nil
	}
	return copiesOf(s.copies, s.labels)
}

// listener hears what a source sees in one namespace.
type listener interface {
	// changed is told of an object that was added (before is nil), changed, or deleted (now is nil).
	changed(before, now client.Object)
	// troubled says that the API server does not let itself be watched any more, or that it does again; see
	// [view.missing] and [view.denial].
	troubled()
	// refused counts an attempt to watch after many that were refused.
	refused()
}

// sourceKey tells one watch from another. Two origins on one provider are watched apart.
type sourceKey struct{ resource, version, namespace, copies string }

// open begins to tell the listener of a namespace. The context's values are used, not its end: see [view.close].
func (s *Sources) open(ctx context.Context, about subject, namespace string, l listener) *view {
	key := sourceKey{about.resource, about.gvk.Version, namespace, about.copies}
	if s.scope == ScopeCluster && !about.apart {
		key.namespace = ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	src, known := s.sources[key]
	if !known {
		src = newSource(s, about, key)
		s.sources[key] = src
	}
	v := &view{source: src, namespace: namespace, listener: l, asker: s}
	src.add(v)
	if !known { // and only now, since what is seen before anybody listens is neither told nor cached whole
		src.start(context.WithoutCancel(ctx))
	}
	return v
}

// close ends a view, and the watch with its last. The channel is closed when nothing of it runs any more.
func (s *Sources) close(v *view) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := v.source.remove(v); !last {
		over := make(chan struct{})
		close(over)
		return over
	}
	delete(s.sources, v.source.key)
	v.source.cancel()
	return v.source.ended
}
