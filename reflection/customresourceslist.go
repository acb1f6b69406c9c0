package reflection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// CustomResourcesOptions are what [CustomResources] are made of. Clock has a default.
type CustomResourcesOptions struct {
	// Discover asks home what a group and version, such as example.com/v1, has.
	Discover func(groupVersion string) (*metav1.APIResourceList, error)
	// Reflect is what reflects kinds; see [Mirror.Reflect].
	Reflect func(kinds ...Reflected) error
	// Speaks says whether the status of a home object is this provider's to tell.
	Speaks func(home *unstructured.Unstructured) bool
	// Tell says what cannot be reflected, and why.
	Tell func(message string)
	// Clock is the real one unless a test says otherwise.
	Clock clock.Clock
}

// CustomResources have reflected what an installation names, for as long as it does. Home says what the kinds are
// called. One that home does not know, or not yet, is asked for again; whatever is wrong with one does not keep the
// others back.
type CustomResources struct {
	opts    CustomResourcesOptions
	changed chan struct{}

	mu     sync.Mutex
	wanted []string

	kinds map[schema.GroupVersionResource]string // as home said last
	told  map[string]bool
	done  []string // what is being reflected
}

const (
	// kindMissing is how often a kind is asked for that home does not know, and kindKnown one that it does: it can be
	// defined anew under another name.
	kindMissing = 30 * time.Second
	kindKnown   = 10 * time.Minute
)

// NewCustomResources returns CustomResources of which none is wanted.
func NewCustomResources(opts CustomResourcesOptions) *CustomResources {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	return &CustomResources{
		opts: opts, changed: make(chan struct{}, 1),
		kinds: map[schema.GroupVersionResource]string{}, told: map[string]bool{},
	}
}

// Want says which are to be reflected from now on, each as PLURAL.VERSION.GROUP.
func (c *CustomResources) Want(resources []string) {
	resources = slices.Clone(resources)
	slices.Sort(resources)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = slices.Compact(resources)
	select {
	case c.changed <- struct{}{}:
	default: // it will be seen
	}
}

// Start works until ctx is done.
func (c *CustomResources) Start(ctx context.Context) error {
	for {
		next := c.settle(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
		case <-c.opts.Clock.After(next):
		}
	}
}

// settle has reflected what can be, and returns when to look again.
func (c *CustomResources) settle(ctx context.Context) time.Duration {
	c.mu.Lock()
	wanted := c.wanted
	c.mu.Unlock()
	next := kindKnown
	var kinds []Reflected
	var names []string
	known := map[schema.GroupResource]bool{}
	for _, text := range wanted {
		gvr, err := ParseCustomResource(text)
		if err == nil && known[gvr.GroupResource()] {
			err = fmt.Errorf("%q: another version is asked for, too; one of them is enough", text)
		}
		if err != nil {
			c.tell(err)
			continue
		}
		known[gvr.GroupResource()] = true
		kind, err := c.kind(gvr)
		if err != nil {
			next = kindMissing
			log.FromContext(ctx).V(1).Info("Kind is not known yet", "resource", text, "err", err.Error())
		}
		if errors.Is(err, errNotNamespaced) {
			c.tell(err)
			continue
		}
		kinds = append(kinds, CustomResource(gvr, kind, c.opts.Speaks))
		names = append(names, text+" "+kind)
	}
	if slices.Equal(names, c.done) {
		return next
	}
	if err := c.opts.Reflect(kinds...); err != nil {
		c.tell(err)
		return kindMissing
	}
	c.done = names
	return next
}

// errNotNamespaced: a twin is a namespace, and holds nothing of the kind.
var errNotNamespaced = errors.New("it is a kind of objects that are not in namespaces")

// kind returns what home calls the kind of a resource. Without an answer it is what it was before, or else a name that
// is good for asking for such objects but not for making one, which nobody does as long as home has none.
func (c *CustomResources) kind(gvr schema.GroupVersionResource) (string, error) {
	before, known := c.kinds[gvr]
	if !known {
		before = gvr.Resource
	}
	list, err := c.opts.Discover(gvr.GroupVersion().String())
	if err != nil && !apierrors.IsNotFound(err) {
		return before, fmt.Errorf("ask home for %s: %w", gvr.GroupVersion(), err)
	}
	if list != nil {
		for i := range list.APIResources {
			resource := &list.APIResources[i]
			if resource.Name != gvr.Resource {
				continue
			}
			if !resource.Namespaced {
				return "", fmt.Errorf("%s: %w", gvr.GroupResource(), errNotNamespaced)
			}
			c.kinds[gvr] = resource.Kind
			return resource.Kind, nil
		}
	}
	return before, fmt.Errorf("home does not know %s", gvr.GroupResource())
}

// tell says each thing once.
func (c *CustomResources) tell(err error) {
	message := err.Error()
	if !c.told[message] && c.opts.Tell != nil {
		c.told[message] = true
		c.opts.Tell("cannot be reflected: " + message)
	}
}
