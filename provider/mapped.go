package provider

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Mapped returns a PodsOptions.Mapped that reads the NamespaceMap of a provider.
func Mapped(reader client.Reader, provider string) func(ctx context.Context, namespace string) (bool, error) {
	at := client.ObjectKey{Namespace: v1beta1.TenantNamespace(provider), Name: provider}
	return func(ctx context.Context, namespace string) (bool, error) {
		var m v1beta1.NamespaceMap
		if err := reader.Get(ctx, at, &m, client.UnsafeDisableDeepCopy); apierrors.IsNotFound(err) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("read NamespaceMap: %w", err)
		}
		_, wanted := m.Spec.DesiredMapping[namespace]
		_, there := m.Status.CurrentMapping[namespace]
		return wanted || there, nil
	}
}
