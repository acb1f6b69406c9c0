package peering

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap/naming"
	"github.com/twinspace/twinspace/reflection/remote"
)

// RefusedError says, in a sentence for the user, why a peering is not made or not ended. Nothing was changed.
type RefusedError struct {
	// Sentence says what is wrong and what to do.
	Sentence string
}

// Error returns the sentence.
func (e *RefusedError) Error() string { return e.Sentence }

func refuse(format string, args ...any) error {
	return &RefusedError{Sentence: fmt.Sprintf(format, args...)}
}

// check refuses whatever can be refused without having written anything, and returns who the clusters are.
func (p *Peering) check(ctx context.Context) (home, away Identity, err error) {
	if err := errors.Join(p.checkNames(), p.checkEndpoint()); err != nil {
		return Identity{}, Identity{}, err
	}
	if home, err = Identify(ctx, p.Home); err != nil {
		return Identity{}, Identity{}, fmt.Errorf("this cluster: %w", err)
	}
	if away, err = Identify(ctx, p.Away); err != nil {
		return Identity{}, Identity{}, fmt.Errorf("provider: %w", err)
	}
	for _, check := range []func() error{
		func() error { return p.checkIdentities(home, away) },
		func() error { return p.settleScope(ctx, home) },
		func() error { return p.settleAgent() },
		func() error { return p.checkInstalled(ctx) },
		func() error { return p.checkStranger(ctx, string(away.UID)) },
		func() error { return checkTenant(ctx, p.Home, p.AwayID, away.UID) },
		func() error { return checkTenant(ctx, p.Away, p.HomeID, home.UID) },
		func() error { return p.checkNode(ctx) },
		func() error { return p.checkRights(ctx) },
	} {
		if err := check(); err != nil {
			return Identity{}, Identity{}, err
		}
	}
	return home, away, nil
}

func (p *Peering) checkNames() error {
	for _, id := range []string{p.HomeID, p.AwayID} {
		if err := naming.CheckClusterID(id); err != nil {
			return err
		}
	}
	if why := validation.IsDNS1123Subdomain(p.NodeName); len(why) > 0 {
		return refuse("%q cannot be the name of a node: %s", p.NodeName, why[0])
	}
	for key, value := range p.NodeLabels {
		if why := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); len(why) > 0 {
			return refuse("%s=%s is not a label: %s", key, value, why[0])
		}
	}
	return nil
}

// checkEndpoint holds the credential that the agent will get to the rules that the agent holds it to.
func (p *Peering) checkEndpoint() error {
	_, err := p.kubeconfig("token")
	return err
}

func (p *Peering) kubeconfig(token string) ([]byte, error) {
	credential := p.Endpoint
	credential.Token = token
	out, err := credential.Kubeconfig()
	if err != nil {
		return nil, err
	}
	if _, err := remote.Parse(out); err != nil {
		return nil, fmt.Errorf("the agent could not use this provider's address: %w", err)
	}
	return out, nil
}

func (p *Peering) checkIdentities(home, away Identity) error {
	switch {
	case home.UID == away.UID:
		return refuse("a cluster cannot peer with itself, and both kubeconfigs lead to the same "+
			"(kube-system has UID %s in both): give the provider's with --remote-kubeconfig", home.UID)
	case p.HomeID == p.AwayID:
		return refuse("both clusters have the id %q: give the provider another one with --remote-cluster-id", p.AwayID)
	case home.ID != "" && home.ID != p.HomeID:
		return refuse("this cluster has the id %q, not %q", home.ID, p.HomeID)
	case away.ID != "" && away.ID != p.AwayID:
		return refuse("the provider calls itself %q, not %q: leave out --remote-cluster-id", away.ID, p.AwayID)
	}
	return nil
}

// checkInstalled asks for what the peering stands on: our kinds and roles at home, admission policies away.
func (p *Peering) checkInstalled(ctx context.Context) error {
	kind := schema.GroupKind{Group: v1beta1.GroupVersion.Group, Kind: "VirtualNode"}
	const install = "install them with kubectl apply -k manifests/overlays/default"
	if _, err := p.Home.RESTMapper().RESTMapping(kind, v1beta1.GroupVersion.Version); meta.IsNoMatchError(err) {
		return refuse("this cluster does not know the kind VirtualNode: the CRDs are missing; %s", install)
	} else if err != nil {
		return fmt.Errorf("ask this cluster for its kinds: %w", err)
	}
	var role rbacv1.ClusterRole
	needed := []string{agentRole, agentWideRole, tenantRole, leaseRole}
	if p.Agent == AgentShared {
		needed = append(needed, sharedRole)
	}
	for _, name := range needed {
		if err := p.Home.Get(ctx, client.ObjectKey{Name: name}, &role); apierrors.IsNotFound(err) {
			return refuse("this cluster lacks the ClusterRole %s: our base manifests are missing; %s", name, install)
		} else if err != nil {
			return fmt.Errorf("this cluster: read ClusterRole %s: %w", name, err)
		}
	}
	policy := schema.GroupKind{Group: "admissionregistration.k8s.io", Kind: "ValidatingAdmissionPolicy"}
	if _, err := p.Away.RESTMapper().RESTMapping(policy, "v1"); meta.IsNoMatchError(err) {
		return refuse("the provider has no ValidatingAdmissionPolicy v1, which fences consumers in: " +
			"it must run Kubernetes 1.30 or newer")
	} else if err != nil {
		return fmt.Errorf("ask the provider for its kinds: %w", err)
	}
	return nil
}

// checkTenant refuses a tenant namespace that was made for another cluster of the same id, or not by us.
func checkTenant(ctx context.Context, c client.Client, id string, uid types.UID) error {
	var ns corev1.Namespace
	name := v1beta1.TenantNamespace(id)
	if err := c.Get(ctx, client.ObjectKey{Name: name}, &ns); apierrors.IsNotFound(err) {
		return nil
	} else if err != nil {
		return fmt.Errorf("read namespace %s: %w", name, err)
	}
	known := ns.Annotations[v1beta1.AnnotationClusterUID]
	switch {
	case ns.Labels[v1beta1.LabelTenantNamespace] != "true":
		return refuse("namespace %s exists and is not ours: choose another cluster id", name)
	case !ns.DeletionTimestamp.IsZero():
		return refuse("namespace %s of an earlier peering is still being removed: try again in a moment", name)
	case known != "" && known != string(uid):
		return refuse("the cluster id %q is taken by another cluster (kube-system UID %s, this one has %s): "+
			"end that peering, or choose another cluster id", id, known, uid)
	}
	return nil
}

// checkNode refuses the name of somebody else's node.
func (p *Peering) checkNode(ctx context.Context) error {
	var node corev1.Node
	err := p.Home.Get(ctx, client.ObjectKey{Name: p.NodeName}, &node)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("this cluster: read node %s: %w", p.NodeName, err)
	}
	if err == nil && node.Labels[v1beta1.LabelRemoteClusterID] != p.AwayID {
		return refuse("this cluster already has a node %q: choose another name with --node-name", p.NodeName)
	}
	var nodes v1beta1.VirtualNodeList
	if err := p.Home.List(ctx, &nodes); err != nil {
		return fmt.Errorf("this cluster: list virtual nodes: %w", err)
	}
	for _, other := range nodes.Items {
		switch {
		case other.Name == p.NodeName && other.Spec.ClusterID != p.AwayID:
			return refuse("virtual node %q belongs to provider %q: choose another name with --node-name",
				p.NodeName, other.Spec.ClusterID)
		case other.Spec.ClusterID == p.AwayID && !other.DeletionTimestamp.IsZero():
			return refuse("virtual node %q is being removed: run liqoctl unpeer %s to its end first",
				other.Name, p.AwayID)
		}
	}
	return nil
}
