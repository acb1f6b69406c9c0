// Command schema completes a generated CustomResourceDefinition with what controller-gen's markers cannot say: bounds
// and rules inside types that are Kubernetes' own, such as the requirements of a node selector, and the name in the
// metadata, without which a rule about it cannot point at it.
//
//	schema FILE
package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// object is a part of a schema.
type object = map[string]any

// The sizes that bound what the rules of a selector cost the API server.
const (
	maxRequirements = 32
	maxValues       = 256
	maxKey          = 317 // a prefix of 253 characters, a slash and a name of 63
	maxValue        = 253 // the name of a node
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: schema FILE")
		os.Exit(2)
	}
	if err := complete(os.Args[1]); err != nil {
		fmt.Fprintf(os.Stderr, "complete %s: %v\n", os.Args[1], err)
		os.Exit(1)
	}
}

func complete(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var crd object
	if err := yaml.Unmarshal(text, &crd); err != nil {
		return err
	}
	var f finder
	versions, _ := f.at(crd, "spec")["versions"].([]any)
	if len(versions) != 1 {
		return errors.New("not one version")
	}
	version, _ := versions[0].(object)
	schema := f.at(version, "schema", "openAPIV3Schema")
	f.at(schema, "properties", "metadata")["properties"] = object{"name": object{"type": "string"}}
	term := f.at(schema, "properties", "spec", "properties", "clusterSelector", "properties", "nodeSelectorTerms",
		"items", "properties")
	for _, list := range []string{"matchExpressions", "matchFields"} {
		f.restrict(f.at(term, list))
	}
	if err := errors.Join(f.missing...); err != nil {
		return err
	}
	if text, err = yaml.Marshal(crd); err != nil {
		return err
	}
	return os.WriteFile(file, append([]byte("---\n"), text...), 0o644)
}

// restrict gives the requirements of a selector the rules that the API server holds those of a pod to. What a value may
// be is left to the parser, whose words the NamespaceOffloading then shows.
func (f *finder) restrict(requirements object) {
	requirements["maxItems"] = maxRequirements
	requirement := f.at(requirements, "items")
	f.at(requirement, "properties", "operator")["enum"] = []any{"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"}
	key := f.at(requirement, "properties", "key")
	key["maxLength"] = maxKey
	key["x-kubernetes-validations"] = []any{object{
		"rule":    "!format.qualifiedName().validate(self).hasValue()",
		"message": "must be a qualified label name, such as example.com/tier",
	}}
	values := f.at(requirement, "properties", "values")
	values["maxItems"] = maxValues
	f.at(values, "items")["maxLength"] = maxValue
	requirement["x-kubernetes-validations"] = []any{
		ofValues("!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
			"FieldValueRequired", "must be specified when operator is 'In' or 'NotIn'"),
		ofValues("!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || size(self.values) == 0",
			"FieldValueForbidden", "may not be specified when operator is 'Exists' or 'DoesNotExist'"),
		ofValues("!(self.operator in ['Gt', 'Lt']) || (has(self.values) && size(self.values) == 1 && "+
			"self.values[0].matches('^-?[0-9]+$'))",
			"FieldValueInvalid", "must be a single integer when operator is 'Gt' or 'Lt'"),
	}
}

func ofValues(rule, reason, message string) object {
	return object{"rule": rule, "reason": reason, "message": message, "fieldPath": ".values"}
}

// finder finds parts of a schema, and remembers those that are not there.
type finder struct{ missing []error }

// at returns what is at a path; where there is nothing, something empty that is not part of the whole.
func (f *finder) at(from object, path ...string) object {
	for i, key := range path {
		next, ok := from[key].(object)
		if !ok {
			f.missing = append(f.missing, fmt.Errorf("no %s in %s", strings.Join(path[:i+1], "."), listed(from)))
			return object{}
		}
		from = next
	}
	return from
}

// listed names what a part of a schema has.
func listed(part object) string {
	return "{" + strings.Join(slices.Sorted(maps.Keys(part)), ", ") + "}"
}
