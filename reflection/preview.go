package reflection

import (
	"errors"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// New returns an empty object of the kind.
func (r Reflected) New() client.Object { return r.create() }

// Under returns the kind under another policy.
func (r Reflected) Under(policy Policy) Reflected {
	r.policy = policy
	return r
}

// Custom returns a kind of custom resources for a [Preview]: these are judged by their metadata alone.
func Custom(resource string) Reflected {
	return mirror(Kind[*metav1.PartialObjectMetadata]{
		Resource: resource,
		New:      func() *metav1.PartialObjectMetadata { return &metav1.PartialObjectMetadata{} },
		Mirror:   func(_, _ *metav1.PartialObjectMetadata) {},
	})
}

// What is said of objects that stay at home, in the same words by the engine and a [Preview].
const nothingRefers = "nothing on the provider refers to it"

func belongsToNone(resource string) string { return "it belongs to none of the " + resource }

// Preview says of the objects of one namespace at home, all of which are given, what a [Mirror] would decide about
// them, by the same rules. It asks nobody, so whoever may read the namespace can have one.
type Preview struct {
	namespace string
	kinds     map[string]Reflected
	objects   map[string]map[string]client.Object // resource -> name
}

// UnreadError says why the objects of a kind are not known.
type UnreadError struct{ Resource, Why string }

// Error says which and why.
func (u *UnreadError) Error() string { return fmt.Sprintf("%s are not known: %s", u.Resource, u.Why) }

// NewPreview returns a Preview over whole objects: resource -> all of the namespace. Of a kind that is not among them
// nothing is known.
func NewPreview(namespace string, kinds []Reflected, objects map[string][]client.Object) *Preview {
	p := &Preview{
		namespace: namespace, kinds: map[string]Reflected{}, objects: map[string]map[string]client.Object{},
	}
	for _, kind := range kinds {
		p.kinds[kind.resource] = kind
	}
	for resource, all := range objects {
		p.objects[resource] = map[string]client.Object{}
		for _, obj := range all {
			p.objects[resource][obj.GetName()] = obj
		}
	}
	for _, kind := range kinds {
		kind.lead(func(_, name string) client.Object { return p.objects[kind.follows][name] })
	}
	return p
}

// Stays says why an object stays at home, or "" when it goes. An error means: it cannot be known.
func (p *Preview) Stays(resource string, src client.Object) (string, error) {
	kind := p.kinds[resource]
	forced, why := kind.policy.says(src)
	if why == "" && !forced {
		var err error
		if why, err = p.depends(kind, src); err != nil {
			return "", err
		}
	}
	if why != "" {
		return why, nil
	}
	if why := kind.never(src); why != "" || forced {
		return why, nil
	}
	return kind.stay(src)
}

// depends decides by what an object follows, and by what refers to it.
func (p *Preview) depends(kind Reflected, src client.Object) (string, error) {
	if kind.follows != "" {
		if why, err := p.follows(kind, src); err != nil || why != "" {
			return why, err
		}
	}
	if kind.policy != PolicyReferenced || kind.referenced == nil {
		return "", nil
	}
	if referenced, err := kind.referenced(p.namespace, src.GetName()); referenced || err != nil {
		return "", err
	}
	for _, other := range p.kinds {
		if referred, err := p.refers(other, kind.resource, src.GetName()); referred || err != nil {
			return "", err
		}
	}
	return nothingRefers, nil
}

func (p *Preview) follows(kind Reflected, src client.Object) (string, error) {
	all, known := p.objects[kind.follows]
	if !known {
		return "", &UnreadError{kind.follows, "they were not read"}
	}
	leader := all[kind.leader(src)]
	if leader == nil {
		return belongsToNone(kind.follows), nil
	}
	return p.Stays(kind.follows, leader)
}

// refers says whether an object of one kind, which goes, refers to the named one of another.
func (p *Preview) refers(by Reflected, resource, name string) (bool, error) {
	if by.refers == nil || by.policy == PolicyNone {
		return false, nil
	}
	all, known := p.objects[by.resource]
	if !known {
		return false, &UnreadError{by.resource, "they were not read"}
	}
	var errs []error
	for _, obj := range all {
		if !slices.Contains(by.refers(obj)[resource], name) {
			continue
		}
		why, err := p.Stays(by.resource, obj)
		if err == nil && why == "" {
			return true, nil
		}
		errs = append(errs, err)
	}
	return false, errors.Join(errs...)
}
