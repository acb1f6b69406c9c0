package namespacemap

import (
	"context"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// NodeRights keeps each agent's Role up to date that names the nodes of its provider, which admission policies go by.
// The peering makes that Role; where there is none, there is nothing to keep.
type NodeRights struct {
	// Home reads VirtualNodes from a cache, Live everything from the API server.
	Home client.Client
	Live client.Reader
}

// Reconcile looks at the VirtualNodes of one provider, whose tenant namespace is the request's.
func (r *NodeRights) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var nodes v1beta1.VirtualNodeList
	err := r.Home.List(ctx, &nodes, client.InNamespace(request.Namespace), client.UnsafeDisableDeepCopy)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("list virtual nodes of %s: %w", request.Namespace, err)
	}
	var role rbacv1.Role
	key := client.ObjectKey{Namespace: request.Namespace, Name: v1beta1.AgentNodesRole}
	if err := r.Live.Get(ctx, key, &role); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	before := role.DeepCopy()
	if role.Rules = serveRules(nodes.Items); equality.Semantic.DeepEqual(before.Rules, role.Rules) {
		return reconcile.Result{}, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := r.Home.Patch(ctx, &role, patch); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("patch role %s: %w", key, err)
	}
	return reconcile.Result{}, nil
}

// serveRules lets an agent serve VirtualNodes by name. Without one there is no rule: a rule without names is about all.
func serveRules(nodes []v1beta1.VirtualNode) []rbacv1.PolicyRule {
	if len(nodes) == 0 {
		return nil
	}
	var names []string
	for i := range nodes {
		names = append(names, nodes[i].Name)
	}
	slices.Sort(names)
	return []rbacv1.PolicyRule{{
		Verbs: []string{v1beta1.VerbServe}, APIGroups: []string{v1beta1.GroupVersion.Group},
		Resources: []string{"virtualnodes"}, ResourceNames: names,
	}}
}

// SetupWithManager runs the reconciler in a manager, on its leader.
func (r *NodeRights) SetupWithManager(mgr manager.Manager) error {
	ofTenant := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, node client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: node.GetNamespace()}}}
	})
	comings := predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
	return builder.ControllerManagedBy(mgr).Named("noderights").
		Watches(&v1beta1.VirtualNode{}, ofTenant, builder.WithPredicates(comings)).
		WithOptions(queueOptions[reconcile.Request](1)).
		Complete(r)
}
