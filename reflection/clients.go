package reflection

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// NewClient returns a client that can do what [Sources] and a [Mirror] need, and asks nothing of the cluster to find
// out how: it can be made while the cluster is away. hc may be nil.
func NewClient(config *rest.Config, hc *http.Client) (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, discoveryv1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("register kinds: %w", err)
		}
	}
	mapper := newKindMapper(scheme)
	c, err := client.NewWithWatch(config, client.Options{HTTPClient: hc, Scheme: scheme, Mapper: mapper})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return c, nil
}

// kindMapper knows how kinds are called in URLs because it was told, not because it asked.
type kindMapper struct {
	meta.RESTMapper
	mu      sync.RWMutex
	learned map[schema.GroupVersionKind]*meta.RESTMapping
}

// newKindMapper knows the kinds of a scheme. All of them are taken to be in namespaces: no others are reflected.
func newKindMapper(scheme *runtime.Scheme) *kindMapper {
	known := meta.NewDefaultRESTMapper(nil)
	for gvk := range scheme.AllKnownTypes() {
		known.Add(gvk, meta.RESTScopeNamespace)
	}
	return &kindMapper{RESTMapper: known, learned: map[schema.GroupVersionKind]*meta.RESTMapping{}}
}

// RESTMapping returns how to ask for objects of a kind.
func (m *kindMapper) RESTMapping(kind schema.GroupKind, versions ...string) (*meta.RESTMapping, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, version := range versions {
		if mapping := m.learned[kind.WithVersion(version)]; mapping != nil {
			return mapping, nil
		}
	}
	return m.RESTMapper.RESTMapping(kind, versions...)
}

// learn tells the mappers of clients how a custom resource, plural.group, is called; they know the others.
func learn(gvk schema.GroupVersionKind, resource string, clients ...client.Client) {
	plural, group, custom := strings.Cut(resource, ".")
	if !custom || group != gvk.Group {
		return
	}
	for _, c := range clients {
		if m, ok := c.RESTMapper().(*kindMapper); ok {
			m.mu.Lock()
			m.learned[gvk] = &meta.RESTMapping{
				Resource: gvk.GroupVersion().WithResource(plural), GroupVersionKind: gvk,
				Scope: meta.RESTScopeNamespace,
			}
			m.mu.Unlock()
		}
	}
}
