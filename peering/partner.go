package peering

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// checkUnpeer refuses to end what is not there, or what is somebody else's.
func (p *Peering) checkUnpeer(ctx context.Context, force bool) error {
	tenant, err := tenantOn(ctx, p.Home, p.AwayID)
	if err != nil {
		return fmt.Errorf("this cluster: %w", err)
	}
	switch {
	case p.Away != nil:
		return p.checkPartner(ctx, tenant)
	case tenant == nil:
		return refuse("there is no peering with %q: liqoctl info lists them", p.AwayID)
	case !force:
		return refuse("the provider cannot be reached: give --remote-kubeconfig, or --force to end this side only")
	}
	return nil
}

// checkPartner refuses unless both sides remember each other: ids are what humans type and may give twice, UIDs are
// not. Without a tenant namespace at home an earlier attempt has cleared home, and there must be something left to
// clear on the provider.
func (p *Peering) checkPartner(ctx context.Context, tenant *corev1.Namespace) error {
	if err := p.checkProvider(ctx, tenant); err != nil {
		return err
	}
	left, err := tenantOn(ctx, p.Away, p.HomeID)
	if err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	if left == nil {
		if tenant == nil {
			return refuse("there is no peering with %q: liqoctl info lists them", p.AwayID)
		}
		return nil
	}
	home, err := Identify(ctx, p.Home)
	if err != nil {
		return fmt.Errorf("this cluster: %w", err)
	}
	if known := left.Annotations[v1beta1.AnnotationClusterUID]; known != "" && known != string(home.UID) {
		return refuse("consumer %q of the provider is another cluster with the same id "+
			"(its kube-system has UID %s, and this one's has %s): its identity is not removed from here",
			p.HomeID, known, home.UID)
	}
	return nil
}

// checkProvider refuses another cluster than the one that the tenant namespace at home is for.
func (p *Peering) checkProvider(ctx context.Context, tenant *corev1.Namespace) error {
	away, err := Identify(ctx, p.Away)
	if err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	known := ""
	if tenant != nil {
		known = tenant.Annotations[v1beta1.AnnotationClusterUID]
	}
	switch known {
	case string(away.UID):
		return nil
	case "":
		return p.checkStranger(ctx, string(away.UID))
	}
	return refuse("--remote-kubeconfig leads to another cluster than provider %q "+
		"(its kube-system should have UID %s, and has %s)", p.AwayID, known, away.UID)
}

// checkStranger refuses a provider that home knows under another id: the id that was given is a slip then.
func (p *Peering) checkStranger(ctx context.Context, uid string) error {
	known, err := KnownAs(ctx, p.Home, types.UID(uid))
	if err != nil {
		return err
	}
	if known != "" && known != p.AwayID {
		return refuse("--remote-kubeconfig leads to provider %q, not to %q", known, p.AwayID)
	}
	return nil
}

// KnownAs returns the id under which home has peered with the cluster whose kube-system has the given UID, or "".
func KnownAs(ctx context.Context, home client.Reader, uid types.UID) (string, error) {
	var tenants corev1.NamespaceList
	if err := home.List(ctx, &tenants, client.MatchingLabels{v1beta1.LabelTenantNamespace: "true"}); err != nil {
		return "", fmt.Errorf("this cluster: list tenant namespaces: %w", err)
	}
	for _, ns := range tenants.Items {
		id := ns.Labels[v1beta1.LabelRemoteClusterID]
		if ns.Annotations[v1beta1.AnnotationClusterUID] == string(uid) && ns.Name == v1beta1.TenantNamespace(id) {
			return id, nil
		}
	}
	return "", nil
}

// tenantOn returns the tenant namespace for a cluster, or nil when there is none.
func tenantOn(ctx context.Context, c client.Client, clusterID string) (*corev1.Namespace, error) {
	tenant := &corev1.Namespace{}
	name := v1beta1.TenantNamespace(clusterID)
	if err := c.Get(ctx, client.ObjectKey{Name: name}, tenant); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read namespace %s: %w", name, err)
	}
	if tenant.Labels[v1beta1.LabelTenantNamespace] != "true" {
		return nil, refuse("namespace %s is not ours", name)
	}
	return tenant, nil
}
