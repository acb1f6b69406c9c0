package namespacemap

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// mappings writes, for every cluster, whether the namespace shall have a twin there.
func (o *Offloadings) mappings(ctx context.Context, p *pass) error {
	defer func() { o.room.written(p.admitted) }()
	var errs []error
	for id, m := range p.maps {
		want := p.want(id)
		if p.trouble[id] != nil && want != "" {
			continue // the agent would have a twin, but not its rights at home
		}
		if m.Spec.DesiredMapping[p.home] == want {
			continue
		}
		now, err := o.commits.setDesired(ctx, o.Home, client.ObjectKeyFromObject(m), p.home, want)
		if err != nil {
			if !apierrors.IsNotFound(err) {
				errs = append(errs, p.blame(id, err))
			}
			continue // a map that is gone is made anew, and brings us back
		}
		o.views.wrote(now)
		p.maps[id] = now
	}
	return errors.Join(errs...)
}

// grant gives the agents of the selected clusters their rights in the home namespace.
func (o *Offloadings) grant(ctx context.Context, p *pass) error {
	bound, err := o.bindings(ctx, p.home)
	if err != nil {
		return p.blame("", err)
	}
	var errs []error
	for id := range p.selected {
		if p.want(id) == "" || p.trouble[id] != nil {
			continue
		}
		desired := homeBinding(p.home, id)
		switch has := bound[id]; {
		case has == nil:
			errs = append(errs, p.blame(id, o.bind(ctx, desired)))
		case !sameRights(has, desired):
			// It carries our mark, so somebody changed it; rights are never updated, only made anew.
			errs = append(errs, p.blame(id, errors.Join(o.unbind(ctx, has), o.bind(ctx, desired))))
		}
	}
	return errors.Join(errs...)
}

// revoke takes the rights back where there is no twin any more.
func (o *Offloadings) revoke(ctx context.Context, p *pass) error {
	bound, err := o.bindings(ctx, p.home)
	if err != nil {
		return p.blame("", err)
	}
	var errs []error
	for id, has := range bound {
		if p.want(id) == "" && !p.occupied(id) {
			errs = append(errs, p.blame(id, o.unbind(ctx, has)))
		}
	}
	return errors.Join(errs...)
}

// bindings returns our role bindings in a home namespace, by cluster id.
func (o *Offloadings) bindings(ctx context.Context, home string) (map[string]*rbacv1.RoleBinding, error) {
	var list rbacv1.RoleBindingList
	if err := o.Home.List(ctx, &list, client.InNamespace(home),
		client.HasLabels{v1beta1.LabelRemoteClusterID}); err != nil {
		return nil, fmt.Errorf("list role bindings of %s: %w", home, err)
	}
	bound := make(map[string]*rbacv1.RoleBinding, len(list.Items))
	for i := range list.Items {
		binding := &list.Items[i]
		id := binding.Labels[v1beta1.LabelRemoteClusterID]
		if binding.Name == v1beta1.TenantNamespace(id) && binding.RoleRef.Name == v1beta1.OffloadedNamespaceRole {
			bound[id] = binding
		}
	}
	return bound, nil
}

// bind creates a role binding. In a namespace that is being deleted there is nothing to grant any more.
func (o *Offloadings) bind(ctx context.Context, desired *rbacv1.RoleBinding) error {
	err := o.Home.Create(ctx, desired.DeepCopy())
	switch {
	case err == nil, namespaceLost(err):
		return nil
	case !apierrors.IsAlreadyExists(err):
		return fmt.Errorf("create role binding %s in %s: %w", desired.Name, desired.Namespace, err)
	}
	there := &rbacv1.RoleBinding{}
	if err := o.Live.Get(ctx, client.ObjectKeyFromObject(desired), there); err != nil {
		return fmt.Errorf("get role binding %s in %s: %w", desired.Name, desired.Namespace, err)
	}
	if !sameRights(there, desired) {
		return fmt.Errorf("role binding %s in namespace %s exists and is not ours: delete it",
			desired.Name, desired.Namespace)
	}
	return nil
}

func (o *Offloadings) unbind(ctx context.Context, binding *rbacv1.RoleBinding) error {
	err := o.Home.Delete(ctx, binding, client.Preconditions{UID: ptr.To(binding.UID)})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete role binding %s in %s: %w", binding.Name, binding.Namespace, err)
	}
	return nil
}

// namespaceLost says that an object was refused because its namespace is gone or going.
func namespaceLost(err error) bool {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return true
	}
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) &&
		status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

// homeBinding returns the rights of a provider's agent in a home namespace.
func homeBinding(home, clusterID string) *rbacv1.RoleBinding {
	tenant := v1beta1.TenantNamespace(clusterID)
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: home, Name: tenant,
			Labels: map[string]string{v1beta1.LabelRemoteClusterID: clusterID},
		},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: v1beta1.OffloadedNamespaceRole},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Namespace: tenant, Name: v1beta1.AgentServiceAccount,
		}},
	}
}

func sameRights(a, b *rbacv1.RoleBinding) bool {
	return a.RoleRef == b.RoleRef && equality.Semantic.DeepEqual(a.Subjects, b.Subjects)
}
