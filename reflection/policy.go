package reflection

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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
