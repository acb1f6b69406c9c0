package workload

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/env"
)

const (
	userNamespace = "people"
	userName      = "user"
	// userTimeout is how long a user waits for an answer.
	userTimeout = 15 * time.Second
)

// User returns the client of somebody with the rights that people have who work in a cluster without running it: role
// edit, which covers NamespaceOffloadings too, and to make and delete namespaces.
func User(ctx context.Context, home *env.Cluster) (client.Client, error) {
	for _, obj := range userRights() {
		if err := home.Client().Create(ctx, obj); err != nil && !apierrors.IsAlreadyExists(err) {
			return nil, fmt.Errorf("create %T %s: %w", obj, obj.GetName(), err)
		}
	}
	cfg, err := home.ConfigFor(ctx, userNamespace, userName)
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Timeout = -1, userTimeout
	cfg.WarningHandlerWithContext = rest.NoWarnings{} // of strategies that are tightened: that is what users want here
	user, err := client.New(cfg, client.Options{Scheme: home.Client().Scheme()})
	if err != nil {
		return nil, fmt.Errorf("make a user's client: %w", err)
	}
	return user, nil
}

func userRights() []client.Object {
	const spaces = "people-make-namespaces"
	account := metav1.ObjectMeta{Namespace: userNamespace, Name: userName}
	bind := func(name, role string) client.Object {
		return &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: userNamespace, Name: userName}},
		}
	}
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: userNamespace}},
		&corev1.ServiceAccount{ObjectMeta: account},
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: spaces},
			Rules: []rbacv1.PolicyRule{{
				APIGroups: []string{""}, Resources: []string{"namespaces"},
				Verbs: []string{"get", "list", "watch", "create", "patch", "delete"},
			}},
		},
		bind(spaces, spaces),
		bind("people-edit", "edit"),
	}
}
