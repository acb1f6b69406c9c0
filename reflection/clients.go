package reflection

import (
	"fmt"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// NewClient returns a client that can do what a [Mirror] needs, and asks nothing of the cluster to find out how: it
// can be made while the cluster is away. hc may be nil.
func NewClient(config *rest.Config, hc *http.Client) (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	mapper := meta.NewDefaultRESTMapper(nil)
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, discoveryv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("register kinds: %w", err)
		}
	}
	for gvk := range scheme.AllKnownTypes() {
		if gvk.Group == corev1.GroupName || gvk.Group == discoveryv1.GroupName {
			mapper.Add(gvk, meta.RESTScopeNamespace)
		}
	}
	c, err := client.NewWithWatch(config, client.Options{HTTPClient: hc, Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return c, nil
}
