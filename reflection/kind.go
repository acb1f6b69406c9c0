package reflection

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Kind says what is particular about reflecting one kind of object. Everything but Resource, New and Mirror is
// optional.
type Kind[T client.Object] struct {
	// Resource is the plural name, for metrics, logs and [Kind.Follows].
	Resource string
	// New returns an empty object.
	New func() T
	// Mirror sets the fields that we own in dst, a new copy or the one that is there, to what src says. Everything
	// that it leaves alone is the provider's. It keeps src as it is. Labels and annotations are carried before.
	Mirror func(dst, src T)

	// Name is the name of the copy; it is src's own unless that could clash with an object of the provider.
	Name func(src T, origin string) string
	// Never says why src must not leave home, whatever annotations ask for; "" lets it go.
	Never func(src T) string
	// Stay says why src stays at home unless an annotation asks for it; "" lets it go. An error means: not known yet.
	Stay func(src T) (string, error)
	// Linger is for how long a copy is kept after Stay has begun to object.
	Linger time.Duration
	// Follows is the Resource whose object, called Leader(src), decides for src unless src is annotated itself.
	Follows string
	// Leader is the name of the object that src follows; "" means none, and src stays.
	Leader func(src T) string
	// Replace says that live cannot be changed into want, but must be deleted and made anew.
	Replace func(live, want T) bool
	// Watch is called once with a function that has the named home object looked at again.
	Watch func(again func(namespace, name string))
}

// Reflected is a [Kind] as the engine sees it.
type Reflected struct {
	resource string
	follows  string
	linger   time.Duration
	create   func() client.Object
	mirror   func(dst, src client.Object)
	name     func(src client.Object, origin string) string
	never    func(src client.Object) string
	stay     func(src client.Object) (string, error)
	leader   func(src client.Object) string
	replace  func(live, want client.Object) bool
	watch    func(again func(namespace, name string))
}

// mirror hides the type of a kind and fills in what it leaves out.
func mirror[T client.Object](k Kind[T]) Reflected {
	r := Reflected{
		resource: k.Resource, follows: k.Follows, linger: k.Linger,
		create:  func() client.Object { return k.New() },
		mirror:  func(dst, src client.Object) { k.Mirror(dst.(T), src.(T)) },
		name:    func(src client.Object, _ string) string { return src.GetName() },
		never:   func(client.Object) string { return "" },
		stay:    func(client.Object) (string, error) { return "", nil },
		leader:  func(client.Object) string { return "" },
		replace: func(client.Object, client.Object) bool { return false },
		watch:   func(func(namespace, name string)) {},
	}
	if k.Name != nil {
		r.name = func(src client.Object, origin string) string { return k.Name(src.(T), origin) }
	}
	if k.Never != nil {
		r.never = func(src client.Object) string { return k.Never(src.(T)) }
	}
	if k.Stay != nil {
		r.stay = func(src client.Object) (string, error) { return k.Stay(src.(T)) }
	}
	if k.Leader != nil {
		r.leader = func(src client.Object) string { return k.Leader(src.(T)) }
	}
	if k.Replace != nil {
		r.replace = func(live, want client.Object) bool { return k.Replace(live.(T), want.(T)) }
	}
	if k.Watch != nil {
		r.watch = k.Watch
	}
	return r
}
