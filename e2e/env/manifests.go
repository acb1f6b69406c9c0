package env

import (
	"context"
	"fmt"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/manifests"
)

// fieldManager is who applies the manifests.
const fieldManager = "playground"

// installCRDs gives the consumer our kinds. A provider gets nothing: nothing is installed there.
func (c *Cluster) installCRDs(ctx context.Context) error {
	if c.index > 0 {
		return nil
	}
	if err := c.Apply(ctx, "crd"); err != nil {
		return err
	}
	return c.established(ctx)
}

// installBase gives the consumer the rights of our components, and its policies.
func (c *Cluster) installBase(ctx context.Context) error {
	if c.index > 0 {
		return nil
	}
	return c.Apply(ctx, "base")
}

// Apply applies the objects of a folder of the manifests.
func (c *Cluster) Apply(ctx context.Context, folder string) error {
	objects, err := manifests.Objects(folder)
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
