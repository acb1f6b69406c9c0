package peering

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// pollInterval is how often a human's wait is looked at.
const pollInterval = 250 * time.Millisecond

// Unpeer ends the peering: virtual nodes and twins first, while there is an agent to do it, then what home has for this
// provider, then what the provider has for this consumer. It can be asked for again after it was interrupted.
//
// Without force it stops, with everything that is left still in place, when virtual nodes or twins do not go before
// the context ends. With force it goes on and leaves the twins to the provider's admin, and says so; it also ends a
// peering whose provider cannot be reached. On the side that it reaches, access ends at once.
func (p *Peering) Unpeer(ctx context.Context, force bool) error {
	if err := p.checkUnpeer(ctx, force); err != nil {
		return err
	}
	if err := p.dropVirtualNodes(ctx, force); err != nil {
		return err
	}
	if p.Away != nil {
		if err := p.awaitTwins(ctx, force); err != nil {
			return err
		}
	}
	// From here on nothing is waited for, and half of it would be worse than all of it.
	ctx = context.WithoutCancel(ctx)
	if err := p.clearHome(ctx); err != nil {
		return fmt.Errorf("this cluster: %w", err)
	}
	p.Report("this cluster has no credential for the provider any more")
	if p.Away == nil {
		p.Report(fmt.Sprintf("WARNING: the provider was not reached: its namespace %s and the twins labelled %s=%s "+
			"are left, and a copied token works until it expires; its admin should delete them",
			v1beta1.TenantNamespace(p.HomeID), v1beta1.LabelRemoteClusterID, p.HomeID))
		return nil
	}
	if err := p.clearAway(ctx); err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	p.Report("the provider has no identity of this consumer any more")
	return nil
}

// dropVirtualNodes deletes the provider's VirtualNodes. Their finalizers hold them until the agent has removed pods,
// twins and Nodes.
func (p *Peering) dropVirtualNodes(ctx context.Context, force bool) error {
	waiting, err := p.virtualNodes(ctx)
	if err != nil {
		return err
	}
	for i := range waiting {
		if err := remove(ctx, p.Home, &waiting[i]); err != nil {
			return fmt.Errorf("this cluster: %w", err)
		}
	}
	said := ""
	look := context.WithoutCancel(ctx) // the last look is as good as the others
	err = wait.PollUntilContextCancel(ctx, pollInterval, true, func(context.Context) (bool, error) {
		left, err := p.virtualNodes(look)
		if err != nil {
			return false, err
		}
		waiting = left
		if sentence := describe(waiting); sentence != said && sentence != "" {
			said = sentence
			p.Report(sentence)
		}
		return len(waiting) == 0, nil
	})
	switch {
	case err == nil:
		p.Report("no virtual node of the provider is left")
		return nil
	case !timeUp(ctx, err):
		return err
	case !force:
		return refuse("%s; its agent must run and reach the provider for that: look at it, wait longer with "+
			"--timeout, or leave the rest behind with --force", said)
	}
	p.Report("WARNING: " + said + "; they are removed by force")
	return p.forceVirtualNodes(context.WithoutCancel(ctx), waiting)
}

// timeUp tells the end of a wait, after which force may be used, from a human who wants it to stop and from a single
// request that took too long.
func timeUp(ctx context.Context, err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && errors.Is(ctx.Err(), context.DeadlineExceeded)
}

// describe says what virtual nodes are waited for, and what they say they wait for.
func describe(nodes []v1beta1.VirtualNode) string {
	var names []string
	for _, node := range nodes {
		name := node.Name
		for _, condition := range node.Status.Conditions {
			if condition.Message != "" {
				name += " (" + condition.Message + ")"
			}
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return ""
	}
	return "waiting for virtual nodes to be drained and removed: " + strings.Join(names, ", ")
}

func (p *Peering) virtualNodes(ctx context.Context) ([]v1beta1.VirtualNode, error) {
	var list v1beta1.VirtualNodeList
	if err := p.Home.List(ctx, &list, client.InNamespace(v1beta1.TenantNamespace(p.AwayID))); err != nil {
		return nil, fmt.Errorf("this cluster: list virtual nodes: %w", err)
	}
	return list.Items, nil
}

func (p *Peering) forceVirtualNodes(ctx context.Context, nodes []v1beta1.VirtualNode) error {
	for i := range nodes {
		before := nodes[i].DeepCopy()
		nodes[i].Finalizers = slices.DeleteFunc(nodes[i].Finalizers, func(f string) bool {
			return f == v1beta1.FinalizerVirtualNode
		})
		err := p.Home.Patch(ctx, &nodes[i], client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("this cluster: release virtual node %s: %w", before.Name, err)
		}
	}
	var left corev1.NodeList
	if err := p.Home.List(ctx, &left, client.MatchingLabels{
		v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual, v1beta1.LabelRemoteClusterID: p.AwayID,
	}); err != nil {
		return fmt.Errorf("this cluster: list nodes: %w", err)
	}
	for i := range left.Items {
		if err := remove(ctx, p.Home, &left.Items[i]); err != nil {
			return fmt.Errorf("this cluster: %w", err)
		}
		if err := p.forceNode(ctx, &left.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

// forceNode releases a Node that is being deleted from its agent, which would wait for its pods.
func (p *Peering) forceNode(ctx context.Context, node *corev1.Node) error {
	before := node.DeepCopy()
	node.Finalizers = slices.DeleteFunc(node.Finalizers, func(f string) bool { return f == v1beta1.FinalizerNode })
	if err := p.Home.Patch(ctx, node, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("this cluster: release node %s: %w", node.Name, err)
	}
	return nil
}

// awaitTwins waits until the provider has no twin of this consumer. Twins hold users' data, so a peering that has some
// is not ended lightly, and they are never deleted from here.
func (p *Peering) awaitTwins(ctx context.Context, force bool) error {
	var twins []string
	look := context.WithoutCancel(ctx)
	err := wait.PollUntilContextCancel(ctx, pollInterval, true, func(context.Context) (bool, error) {
		var err error
		twins, err = p.twins(look)
		return len(twins) == 0, err
	})
	if err == nil {
		return nil
	}
	if len(twins) == 0 || !timeUp(ctx, err) {
		return err
	}
	names := strings.Join(twins, ", ")
	if !force {
		return refuse("the provider still has twins of this consumer: %s; un-offload their namespaces, wait longer "+
			"with --timeout, or leave them behind with --force", names)
	}
	p.Report("WARNING: these twins are left on the provider, with what is in them: " + names)
	return nil
}

func (p *Peering) twins(ctx context.Context) ([]string, error) {
	var list corev1.NamespaceList
	if err := p.Away.List(ctx, &list, client.MatchingLabels(clusterLabel(p.HomeID))); err != nil {
		return nil, fmt.Errorf("provider: list twins: %w", err)
	}
	var names []string
	for _, ns := range list.Items {
		if ns.Labels[v1beta1.LabelTenantNamespace] == "" {
			names = append(names, ns.Name)
		}
	}
	return names, nil
}

func (p *Peering) clearHome(ctx context.Context) error {
	secret := &corev1.Secret{ObjectMeta: p.homeMeta(SecretName(p.AwayID))}
	account := &corev1.ServiceAccount{ObjectMeta: p.homeMeta(v1beta1.AgentServiceAccount)}
	binding := &rbacv1.RoleBinding{ObjectMeta: p.homeMeta(tenantRole)}
	role := &rbacv1.Role{ObjectMeta: p.homeMeta(v1beta1.AgentNodesRole)}
	nsmap := &v1beta1.NamespaceMap{ObjectMeta: p.homeMeta(p.AwayID)}
	if err := remove(ctx, p.Home, secret, account, p.agentBinding(), p.wideBinding(), p.leaseBinding(),
		p.readerBinding(), binding, p.sharedBinding(), p.nodesBinding(), role, nsmap); err != nil {
		return err
	}
	return dropTenant(ctx, p.Home, p.AwayID, v1beta1.PeerServiceAccount)
}

func (p *Peering) clearAway(ctx context.Context) error {
	account := &corev1.ServiceAccount{ObjectMeta: p.awayMeta(v1beta1.PeerServiceAccount)}
	renewal := &rbacv1.RoleBinding{ObjectMeta: p.awayMeta(renewalRole)}
	if err := remove(ctx, p.Away, account, renewal, p.peerBinding(), p.widePeerBinding()); err != nil {
		return err
	}
	if err := dropTenant(ctx, p.Away, p.HomeID, v1beta1.AgentServiceAccount); err != nil {
		return err
	}
	return p.dropShared(ctx)
}

// dropTenant deletes the namespace for another cluster, unless it also serves the peering the other way round: that one
// has the given ServiceAccount.
func dropTenant(ctx context.Context, c client.Client, clusterID, other string) error {
	name := v1beta1.TenantNamespace(clusterID)
	var account corev1.ServiceAccount
	err := c.Get(ctx, client.ObjectKey{Namespace: name, Name: other}, &account)
	if !apierrors.IsNotFound(err) {
		return err
	}
	var ns corev1.Namespace
	if err := c.Get(ctx, client.ObjectKey{Name: name}, &ns); err != nil {
		return client.IgnoreNotFound(err)
	}
	if ns.Labels[v1beta1.LabelTenantNamespace] != "true" {
		return nil
	}
	return remove(ctx, c, &ns)
}

// dropShared removes roles and fence with the last consumer. What an admin applied as well stays.
func (p *Peering) dropShared(ctx context.Context) error {
	var bindings rbacv1.ClusterRoleBindingList
	if err := p.Away.List(ctx, &bindings); err != nil {
		return fmt.Errorf("list consumers: %w", err)
	}
	for _, binding := range bindings.Items {
		if strings.HasPrefix(binding.Name, peerRole+":") {
			return nil
		}
	}
	shared, err := providerManifests()
	if err != nil {
		return err
	}
	slices.Reverse(shared)
	for _, object := range shared {
		if err := p.Away.Get(ctx, client.ObjectKeyFromObject(object), object); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return fmt.Errorf("read %s: %w", object.GetName(), err)
		}
		if alsoOthers(object) {
			continue
		}
		if err := remove(ctx, p.Away, object); err != nil {
			return err
		}
	}
	return nil
}

// alsoOthers says that somebody else than us has applied an object: kubectl leaves an annotation, every other tool at
// least its name. Subresources are written by controllers, which applied nothing.
func alsoOthers(object client.Object) bool {
	return object.GetAnnotations()[corev1.LastAppliedConfigAnnotation] != "" ||
		slices.ContainsFunc(object.GetManagedFields(), func(e metav1.ManagedFieldsEntry) bool {
			return e.Subresource == "" && e.Manager != FieldManager
		})
}

// remove deletes objects that may be gone already; one that was read is deleted only if it is still the same.
func remove(ctx context.Context, c client.Client, objects ...client.Object) error {
	for _, object := range objects {
		var opts []client.DeleteOption
		if uid := object.GetUID(); uid != "" {
			opts = append(opts, client.Preconditions{UID: &uid})
		}
		if err := c.Delete(ctx, object, opts...); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete %s: %w", object.GetName(), err)
		}
	}
	return nil
}
