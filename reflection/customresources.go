package reflection

import (
	"fmt"
	"regexp"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// CustomResource reflects a kind of which nothing is known but its name: everything but metadata and status goes away,
// the status comes home. speaks says whether the status of an object is this provider's to tell, for objects that have
// copies on several.
func CustomResource(
	gvr schema.GroupVersionResource, kind string, speaks func(home *unstructured.Unstructured) bool,
) Reflected {
	return mirror(Kind[*unstructured.Unstructured]{
		Resource:     gvr.GroupResource().String(),
		PerNamespace: true, // rights to them come for single namespaces
		New: func() *unstructured.Unstructured {
			obj := &unstructured.Unstructured{}
			obj.SetGroupVersionKind(gvr.GroupVersion().WithKind(kind))
			return obj
		},
		Mirror: mirrorCustomResource,
		Feedback: func(dst, src *unstructured.Unstructured) {
			if status, has := src.Object["status"]; has && speaks(dst) {
				dst.Object["status"] = runtime.DeepCopyJSONValue(status)
			}
		},
	})
}

func mirrorCustomResource(dst, src *unstructured.Unstructured) {
	for field := range dst.Object {
		if _, has := src.Object[field]; !has && ownField(field) {
			delete(dst.Object, field)
		}
	}
	for field, value := range src.Object {
		if ownField(field) {
			dst.Object[field] = runtime.DeepCopyJSONValue(value)
		}
	}
}

// ownField says whether a field of an object is home's to decide.
func ownField(name string) bool {
	switch name {
	case "apiVersion", "kind", "metadata", "status":
		return false
	}
	return true
}

// These say what can be reflected as a custom resource; the schema of VirtualNode says the same. The kinds that
// Kubernetes itself has either are reflected, with what is particular about them, or make no sense in a twin.
var (
	customResource = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?\.v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?` +
		`(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?){2,}$`)
	builtInGroup = regexp.MustCompile(`^((flowcontrol|internal)\.apiserver|rbac\.authorization|admissionregistration|` +
		`apiextensions|apiregistration|authentication|authorization|certificates|coordination|discovery|events|` +
		`metrics|networking|node|resource|scheduling|storage|storagemigration)\.k8s\.io$|^offloading\.liqo\.io$`)
)

// ParseCustomResource reads PLURAL.VERSION.GROUP.
func ParseCustomResource(text string) (schema.GroupVersionResource, error) {
	if len(text) > 253 || !customResource.MatchString(text) {
		return schema.GroupVersionResource{}, fmt.Errorf(
			"%q: must be PLURAL.VERSION.GROUP, such as certificates.v1.cert-manager.io", text)
	}
	parts := strings.SplitN(text, ".", 3)
	gvr := schema.GroupVersionResource{Resource: parts[0], Version: parts[1], Group: parts[2]}
	if builtInGroup.MatchString(gvr.Group) {
		return schema.GroupVersionResource{}, fmt.Errorf(
			"%q: only custom resources can be reflected by name, not what group %s has", text, gvr.Group)
	}
	return gvr, nil
}

// ParseCustomResources reads a list of them, in which no kind may be twice.
func ParseCustomResources(texts []string) ([]schema.GroupVersionResource, error) {
	var out []schema.GroupVersionResource
	versions := map[schema.GroupResource]string{}
	for _, text := range texts {
		gvr, err := ParseCustomResource(text)
		if err != nil {
			return nil, err
		}
		if other, twice := versions[gvr.GroupResource()]; twice && other != gvr.Version {
			return nil, fmt.Errorf("%q: version %s is asked for, too; one of them is enough", text, other)
		} else if twice {
			continue
		}
		versions[gvr.GroupResource()] = gvr.Version
		out = append(out, gvr)
	}
	return out, nil
}
