package peering

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

const rbacGroup = "rbac.authorization.k8s.io"

// checkRights asks both API servers, before the first write, whether the human may do the rest: a peering that stops
// half way is worse than none.
func (p *Peering) checkRights(ctx context.Context) error {
	homeNamespace, awayNamespace := v1beta1.TenantNamespace(p.AwayID), v1beta1.TenantNamespace(p.HomeID)
	home := []authorizationv1.ResourceAttributes{
		{Verb: "patch", Resource: "namespaces"},
		{Verb: "patch", Group: rbacGroup, Resource: "clusterrolebindings"},
		{Verb: "bind", Group: rbacGroup, Resource: "clusterroles"},
		{Verb: "patch", Resource: "secrets", Namespace: homeNamespace},
		{Verb: "patch", Group: v1beta1.GroupVersion.Group, Resource: "virtualnodes", Namespace: homeNamespace},
	}
	away := []authorizationv1.ResourceAttributes{
		{Verb: "patch", Resource: "namespaces"},
		{Verb: "patch", Group: rbacGroup, Resource: "clusterroles"},
		{Verb: "escalate", Group: rbacGroup, Resource: "clusterroles"},
		{Verb: "patch", Group: rbacGroup, Resource: "clusterrolebindings"},
		{Verb: "patch", Group: "admissionregistration.k8s.io", Resource: "validatingadmissionpolicies"},
		{Verb: "create", Resource: "serviceaccounts", Subresource: "token", Namespace: awayNamespace},
	}
	if err := may(ctx, p.Home, "this cluster", home); err != nil {
		return err
	}
	return may(ctx, p.Away, "the provider", away)
}

func may(ctx context.Context, c client.Client, where string, rights []authorizationv1.ResourceAttributes) error {
	for _, right := range rights {
		review := &authorizationv1.SelfSubjectAccessReview{
			Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &right},
		}
		if err := c.Create(ctx, review); err != nil {
			return fmt.Errorf("ask %s for rights: %w", where, err)
		}
		if !review.Status.Allowed {
			resource := right.Resource
			if right.Subresource != "" {
				resource += "/" + right.Subresource
			}
			return refuse("on %s you may not %s %s: use the kubeconfig of a cluster admin", where, right.Verb, resource)
		}
	}
	return nil
}
