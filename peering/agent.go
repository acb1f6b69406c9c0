package peering

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Agent says which process serves a peering.
type Agent string

// The agents.
const (
	// AgentOwn is a process that serves this peering only.
	AgentOwn Agent = "own"
	// AgentShared is one process for several peerings: it may act at home as the agent of each.
	AgentShared Agent = "shared"
)

// sharedRole is the ClusterRole by which the shared agent may act as that of a tenant namespace.
const sharedRole = "liqo-shared-agent-tenant"

// CheckAgent refuses what is no agent.
func CheckAgent(agent Agent) error {
	if agent == AgentOwn || agent == AgentShared {
		return nil
	}
	return refuse("the agent must be %s or %s, not %q", AgentOwn, AgentShared, agent)
}

// settleAgent takes any agent of ours, and that nothing is said of it.
func (p *Peering) settleAgent() error {
	if p.Agent == "" {
		return nil
	}
	return CheckAgent(p.Agent)
}

// sharedBinding lets the shared agent act as the agent of this peering.
func (p *Peering) sharedBinding() *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: p.homeMeta(sharedRole), RoleRef: clusterRole(sharedRole),
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Name: v1beta1.AgentServiceAccount, Namespace: v1beta1.SystemNamespace,
		}},
	}
}

// sharing returns what the shared agent takes, or nothing.
func (p *Peering) sharing() []client.Object {
	if p.Agent != AgentShared {
		return nil
	}
	return []client.Object{p.sharedBinding()}
}

// unshare takes from the shared agent what another one is to serve.
func (p *Peering) unshare(ctx context.Context) error {
	if p.Agent != AgentOwn {
		return nil
	}
	if err := remove(ctx, p.Home, p.sharedBinding()); err != nil {
		return fmt.Errorf("this cluster: %w", err)
	}
	return nil
}
