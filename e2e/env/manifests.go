package env

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// fieldManager is who applies the manifests.
const fieldManager = "playground"

// installCRDs gives the consumer our kinds. A provider gets nothing: nothing is installed there.
func (c *Cluster) installCRDs(ctx context.Context) error {
	if c.index > 0 || c.env.opts.Manifests == nil {
		return nil
	}
	if err := c.Apply(ctx, c.env.opts.Manifests, "crd"); err != nil {
		return err
	}
	return c.established(ctx)
}

// Apply applies every object in the YAML files of a folder, definitions and namespaces first.
func (c *Cluster) Apply(ctx context.Context, files fs.FS, folder string) error {
	objects, err := readObjects(files, folder)
	if err != nil {
		return err
	}
	for _, obj := range objects {
		err := c.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(obj),
			client.FieldOwner(fieldManager), client.ForceOwnership)
		if err != nil {
			return fmt.Errorf("apply %s %s to %s: %w", obj.GetKind(), obj.GetName(), c.Name, err)
		}
	}
	return nil
}

// readObjects reads a folder's objects in the order in which they can be applied.
func readObjects(files fs.FS, folder string) ([]*unstructured.Unstructured, error) {
	names, err := fs.Glob(files, path.Join(folder, "*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, name := range names {
		if path.Base(name) == "kustomization.yaml" {
			continue
		}
		raw, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read manifests: %w", err)
		}
		of, err := decode(raw)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		objects = append(objects, of...)
	}
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int { return rank(a) - rank(b) })
	return objects, nil
}

func decode(raw []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096); ; {
		obj := &unstructured.Unstructured{}
		err := decoder.Decode(obj)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(obj.Object) > 0 {
			objects = append(objects, obj)
		}
	}
}

// rank orders kinds by what needs what.
func rank(obj *unstructured.Unstructured) int {
	order := []string{"CustomResourceDefinition", "Namespace", "ServiceAccount", "ClusterRole", "Role"}
	if i := slices.Index(order, obj.GetKind()); i >= 0 {
		return i
	}
	return len(order)
}

// established waits until the API server serves our kinds.
func (c *Cluster) established(ctx context.Context) error {
	const poll, timeout = 50 * time.Millisecond, 30 * time.Second
	err := wait.PollUntilContextTimeout(ctx, poll, timeout, true, func(ctx context.Context) (bool, error) {
		var list apiextensionsv1.CustomResourceDefinitionList
		if err := c.client.List(ctx, &list); err != nil {
			return false, err
		}
		for i := range list.Items {
			if !isEstablished(&list.Items[i]) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("wait for definitions in %s: %w", c.Name, err)
	}
	return nil
}

func isEstablished(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return slices.ContainsFunc(crd.Status.Conditions, func(c apiextensionsv1.CustomResourceDefinitionCondition) bool {
		return c.Type == apiextensionsv1.Established && c.Status == apiextensionsv1.ConditionTrue
	})
}
