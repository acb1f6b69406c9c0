package reflection

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Kind says what is particular about reflecting one kind of object. Everything but Resource, New and Mirror is
// optional.
type Kind[T client.Object] struct {
	// Resource is the plural name, followed by a dot and the group for kinds of custom resources: for [Policies],
	// metrics, logs and [Kind.Follows].
	Resource string
	// New returns an empty object.
	New func() T
	// Mirror sets the fields that we own in dst, a new copy or the one that is there, to what src says. Everything
	// that it leaves alone is the provider's. It keeps src as it is. Labels and annotations are carried before.
	Mirror func(dst, src T)
	// Feedback sets in dst, the home object, the status that src, the copy, has come to; nil when nothing flows back.
	// It is written through the subresource status.
	Feedback func(dst, src T)

	// Policy holds unless the installation says otherwise; [PolicyDenyList] if empty.
	Policy Policy
	// Referenced says whether something that runs on the provider, or is about to, refers to the named home object. An
	// error means: not known yet. Only kinds that have it can be under [PolicyReferenced].
	Referenced func(namespace, name string) (bool, error)
	// Refers lists what the copy of src needs beside it: Resource -> names. Of kinds under [PolicyReferenced] these are
	// reflected while src is, as if Referenced had said so. Only for kinds that are Whole.
	Refers func(src T) map[string][]string
	// Whole has home objects cached with everything in them, for kinds that Leader's answer or a change of the world
	// makes look at all of them often. Of other kinds the metadata are cached, and an object is read when it, or the
	// copy, has changed.
	// Never, Stay and Mirror of kinds that are not Whole go by the object alone, not by the world.
	Whole bool
	// PerNamespace has the kind watched in each namespace on its own, also where other kinds are watched for the whole
	// cluster at once.
	PerNamespace bool
	// Confidential keeps what an API server says about an object out of logs, events and problems: it may quote it.
	Confidential bool

	// Labels are on all copies, besides home's and our marks, and tell them from the provider's own objects that carry
	// our marks, too: controllers there hand labels on. They are part of what is watched.
	Labels map[string]string

	// Name is the name of the copy; it is src's own unless that could clash with an object of the provider.
	Name func(src metav1.Object, origin string) string
	// Never says why src must not leave home, whatever annotations ask for; "" lets it go.
	Never func(src T) string
	// Stay says why src stays at home unless an annotation asks for it; "" lets it go. An error means: not known yet.
	Stay func(src T) (string, error)
	// Linger is for how long a copy is kept after Referenced or Stay has begun to object.
	Linger time.Duration
	// Kept says why the copy of a home object that is gone, or stays at home, is not deleted; "" lets it go. An error
	// means: not known yet. It is asked every half minute; only for kinds without Name.
	Kept func(namespace, name string) (string, error)
	// Follows is the Resource whose object, called Leader(src), decides for src unless src is annotated itself.
	Follows string
	// Leader is the name of the object that src follows; "" means none, and src stays.
	Leader func(src metav1.Object) string
	// Lead is called once with a function that returns the object that home objects of a namespace follow, by its
	// name; nil when there is none, or none is known yet. It must not be changed.
	Lead func(leader func(namespace, name string) client.Object)
	// Replace says that live cannot be changed into want, but must be deleted and made anew.
	Replace func(live, want T) bool
	// Watch is called once with a function that has the named home object looked at again.
	Watch func(again func(namespace, name string))
}

// Reflected is a [Kind] as the engine sees it.
type Reflected struct {
	resource   string
	policy     Policy
	follows    string
	linger     time.Duration
	whole      bool
	apart      bool
	discreet   bool
	labels     map[string]string
	create     func() client.Object
	mirror     func(dst, src client.Object)
	feedback   func(dst, src client.Object)               // nil when nothing flows back
	referenced func(namespace, name string) (bool, error) // nil when nobody can say
	refers     func(src client.Object) map[string][]string
	name       func(src metav1.Object, origin string) string
	never      func(src client.Object) string
	stay       func(src client.Object) (string, error)
	kept       func(namespace, name string) (string, error)
	leader     func(src metav1.Object) string
	lead       func(leader func(namespace, name string) client.Object)
	replace    func(live, want client.Object) bool
	watch      func(again func(namespace, name string))
}

// Resource is the kind's plural name, with the group for custom resources.
func (r Reflected) Resource() string { return r.resource }

// mirror hides the type of a kind and fills in what it leaves out.
func mirror[T client.Object](k Kind[T]) Reflected {
	r := Reflected{
		resource: k.Resource, policy: k.Policy, follows: k.Follows, linger: k.Linger,
		whole: k.Whole, apart: k.PerNamespace, discreet: k.Confidential, labels: k.Labels, referenced: k.Referenced,
		create:  func() client.Object { return k.New() },
		mirror:  func(dst, src client.Object) { k.Mirror(dst.(T), src.(T)) },
		name:    func(src metav1.Object, _ string) string { return src.GetName() },
		never:   func(client.Object) string { return "" },
		stay:    func(client.Object) (string, error) { return "", nil },
		kept:    func(string, string) (string, error) { return "", nil },
		leader:  func(metav1.Object) string { return "" },
		lead:    func(func(namespace, name string) client.Object) {},
		replace: func(client.Object, client.Object) bool { return false },
		watch:   func(func(namespace, name string)) {},
	}
	if k.Policy == "" {
		r.policy = PolicyDenyList
	}
	k.override(&r)
	return r
}

// override sets what the kind says itself.
func (k Kind[T]) override(r *Reflected) {
	if k.Feedback != nil {
		r.feedback = func(dst, src client.Object) { k.Feedback(dst.(T), src.(T)) }
	}
	if k.Refers != nil {
		r.refers = func(src client.Object) map[string][]string { return k.Refers(src.(T)) }
	}
	if k.Name != nil {
		r.name = k.Name
	}
	if k.Never != nil {
		r.never = func(src client.Object) string { return k.Never(src.(T)) }
	}
	if k.Stay != nil {
		r.stay = func(src client.Object) (string, error) { return k.Stay(src.(T)) }
	}
	if k.Kept != nil {
		r.kept = k.Kept
	}
	if k.Leader != nil {
		r.leader = k.Leader
	}
	if k.Lead != nil {
		r.lead = k.Lead
	}
	if k.Replace != nil {
		r.replace = func(live, want client.Object) bool { return k.Replace(live.(T), want.(T)) }
	}
	if k.Watch != nil {
		r.watch = k.Watch
	}
}
