// Package manifests carries the YAML of this folder inside the binaries, so that what liqoctl and the playground apply
// is byte for byte what kubectl apply -k applies.
package manifests

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// Files holds the folders: crd and base are for a home cluster, provider is what a peering puts on a provider, and
// scheduler has the two ways to configure ours.
//
//go:embed crd base provider scheduler
var Files embed.FS

// Objects returns the objects of a folder of [Files], in the order of its file names and of each file's documents.
// Kustomization files are left out.
func Objects(dir string) ([]*unstructured.Unstructured, error) {
	entries, err := fs.ReadDir(Files, dir) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("list manifests: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		if entry.IsDir() || path.Ext(name) != ".yaml" || strings.HasPrefix(entry.Name(), "kustomization") {
			continue
		}
		more, err := File(name)
		if err != nil {
			return nil, err
		}
		objects = append(objects, more...)
	}
	return objects, shareRules(objects)
}

// rulesOf, on a ClusterRole, names the one whose rules it has as well.
const rulesOf = "offloading.liqo.io/rules-of"

// shareRules does what the replacements of the kustomization files do.
func shareRules(objects []*unstructured.Unstructured) error {
	rules := map[string]any{}
	for _, object := range objects {
		if object.GetKind() == "ClusterRole" {
			rules[object.GetName()] = object.Object["rules"]
		}
	}
	for _, object := range objects {
		from := object.GetAnnotations()[rulesOf]
		if from == "" {
			continue
		}
		shared, ok := rules[from].([]any)
		if !ok {
			return fmt.Errorf("ClusterRole %s has the rules of %s, which there is not", object.GetName(), from)
		}
		object.Object["rules"] = runtime.DeepCopyJSONValue(shared)
	}
	return nil
}

// File returns the objects of one file of [Files].
func File(name string) ([]*unstructured.Unstructured, error) {
	content, err := Files.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	objects, err := decode(content)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", name, err)
	}
	return objects, nil
}

// decode returns the documents of a YAML file; documents without content are skipped.
func decode(content []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
