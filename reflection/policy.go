package reflection

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Policy says which objects of a kind are reflected. The annotations of an object win over it.
type Policy string

// The policies.
const (
	// PolicyDenyList: all that are not annotated to stay.
	PolicyDenyList Policy = "DenyList"
	// PolicyAllowList: those that are annotated to go.
	PolicyAllowList Policy = "AllowList"
	// PolicyReferenced: those that something on the provider refers to; see [Kind.Referenced].
	PolicyReferenced Policy = "Referenced"
	// PolicyNone: none, and nothing of the kind is watched.
	PolicyNone Policy = "None"
)

// Policies says what an installation wants otherwise than the kinds do: Resource -> policy.
type Policies map[string]Policy

// ParsePolicies reads RESOURCE=POLICY pairs.
func ParsePolicies(pairs []string) (Policies, error) {
	known := []Policy{PolicyDenyList, PolicyAllowList, PolicyReferenced, PolicyNone}
	out := Policies{}
	for _, pair := range pairs {
		resource, policy, ok := strings.Cut(pair, "=")
		if !ok || resource == "" {
			return nil, fmt.Errorf("%q: must be RESOURCE=POLICY, such as configmaps=%s", pair, PolicyAllowList)
		}
		if !slices.Contains(known, Policy(policy)) {
			return nil, fmt.Errorf("%q: the policy must be one of %v", pair, known)
		}
		if _, twice := out[resource]; twice {
			return nil, fmt.Errorf("%q: there are two policies for %s", pair, resource)
		}
		out[resource] = Policy(policy)
	}
	return out, nil
}

// String writes them as they are parsed, in order.
func (p Policies) String() string {
	var pairs []string
	for _, resource := range slices.Sorted(maps.Keys(p)) {
		pairs = append(pairs, resource+"="+string(p[resource]))
	}
	return strings.Join(pairs, ",")
}

// says decides by the annotations of an object: it is forced to go, or why it stays, or neither.
func (p Policy) says(src metav1.Object) (forced bool, why string) {
	switch {
	case p == PolicyNone:
		return false, "nothing of the kind is reflected"
	case annotated(src, v1beta1.AnnotationSkipReflection):
		return false, "annotation " + v1beta1.AnnotationSkipReflection + " asks for it"
	case annotated(src, v1beta1.AnnotationAllowReflection):
		return true, ""
	case p == PolicyAllowList:
		return false, fmt.Sprintf("policy %s lets go only what carries annotation %s",
			PolicyAllowList, v1beta1.AnnotationAllowReflection)
	}
	return false, ""
}

// over returns the kinds under the policies that the installation wants, without those of which nothing is reflected.
func (p Policies) over(kinds []Reflected) ([]Reflected, error) {
	var out []Reflected
	var errs []error
	for _, kind := range kinds {
		if policy, ok := p[kind.resource]; ok {
			kind.policy = policy
		}
		if kind.policy == PolicyReferenced && kind.referenced == nil {
			errs = append(errs, fmt.Errorf("policy %s of %s: nobody can say what refers to them",
				PolicyReferenced, kind.resource))
		}
		if kind.policy != PolicyNone {
			out = append(out, kind)
		}
	}
	return out, errors.Join(errs...)
}

// check finds policies of kinds that there are not. Custom resources, which have a group, may come later.
func (p Policies) check(kinds []Reflected) error {
	var known []string
	for _, kind := range kinds {
		known = append(known, kind.resource)
	}
	slices.Sort(known)
	var errs []error
	for _, resource := range slices.Sorted(maps.Keys(p)) {
		if !slices.Contains(known, resource) && !strings.Contains(resource, ".") {
			errs = append(errs, fmt.Errorf("policy %s of %s: there is no such kind; there are %s, "+
				"and custom resources as PLURAL.GROUP", p[resource], resource, strings.Join(known, ", ")))
		}
	}
	return errors.Join(errs...)
}
