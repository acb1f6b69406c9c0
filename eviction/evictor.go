package eviction

import (
	"context"
	"fmt"
	"net/http"

	policyv1 "k8s.io/api/policy/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// Evictor asks the API server for evictions.
type Evictor interface {
	// Evict asks once, and returns what the API server answered.
	Evict(ctx context.Context, eviction *policyv1.Eviction) error
}

// NewEvictor returns an Evictor which does not wait and ask again where the API server wants it to, as clients do by
// themselves: a budget that refuses one pod must not hold up the pods of all other namespaces.
func NewEvictor(config *rest.Config, client *http.Client) (Evictor, error) {
	config = rest.CopyConfig(config)
	config.QPS = -1 // Limit is the limit
	core, err := corev1client.NewForConfigAndClient(config, client)
	if err != nil {
		return nil, fmt.Errorf("make a client for evictions: %w", err)
	}
	return once{core.RESTClient()}, nil
}

type once struct{ client rest.Interface }

// Evict asks once.
func (o once) Evict(ctx context.Context, eviction *policyv1.Eviction) error {
	return o.client.Post().Namespace(eviction.Namespace).Resource("pods").Name(eviction.Name).SubResource("eviction").
		Body(eviction).MaxRetries(0).Do(ctx).Error()
}
