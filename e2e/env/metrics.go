package env

import (
	"context"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ServeMetrics makes the cluster serve resource metrics (metrics.k8s.io) as custom resources, so that a test can write
// the figures that a metrics-server would measure. Whoever may read resource metrics may read them.
func (c *Cluster) ServeMetrics(ctx context.Context) error {
	for _, crd := range metricsDefinitions() {
		if err := c.client.Create(ctx, crd); err != nil && !apierrors.IsAlreadyExists(err) {
			return fmt.Errorf("serve metrics in %s: %w", c.Name, err)
		}
	}
	return c.established(ctx)
}

// StopMetrics ends ServeMetrics.
func (c *Cluster) StopMetrics(ctx context.Context) error {
	for _, crd := range metricsDefinitions() {
		if err := client.IgnoreNotFound(c.client.Delete(ctx, crd)); err != nil {
			return fmt.Errorf("serve no metrics in %s: %w", c.Name, err)
		}
	}
	return nil
}

func metricsDefinitions() []*apiextensionsv1.CustomResourceDefinition {
	return []*apiextensionsv1.CustomResourceDefinition{
		metricsDefinition("pods", "PodMetrics", apiextensionsv1.NamespaceScoped),
		metricsDefinition("nodes", "NodeMetrics", apiextensionsv1.ClusterScoped),
	}
}

func metricsDefinition(
	plural, kind string, scope apiextensionsv1.ResourceScope,
) *apiextensionsv1.CustomResourceDefinition {
	const group = "metrics.k8s.io"
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{
			Name: plural + "." + group,
			// The group is Kubernetes' own, and guarded.
			Annotations: map[string]string{apiextensionsv1.KubeAPIApprovedAnnotation: "unapproved, for tests only"},
		},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: group, Scope: scope,
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: plural, Singular: "metrics-of-" + plural, Kind: kind, ListKind: kind + "List",
			},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1beta1", Served: true, Storage: true,
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: ptr.To(true),
				}},
			}},
		},
	}
}
