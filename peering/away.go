package peering

import (
	"context"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/manifests"
)

// Names of the ClusterRoles on a provider, see manifests/provider.
const (
	peerRole    = "liqo-peer"
	renewalRole = "liqo-peer-renewal"
)

// awayObjects returns what the provider gets for this consumer, in the order in which it is applied: the fence stands
// before there is anybody to be fenced.
func (p *Peering) awayObjects(homeUID string) ([]client.Object, error) {
	shared, err := providerManifests()
	if err != nil {
		return nil, err
	}
	shared = append(shared,
		tenantNamespace(p.HomeID, homeUID),
		&corev1.ServiceAccount{
			ObjectMeta:                   p.awayMeta(v1beta1.PeerServiceAccount),
			AutomountServiceAccountToken: ptr.To(false),
		},
		&rbacv1.RoleBinding{
			ObjectMeta: p.awayMeta(renewalRole), RoleRef: clusterRole(renewalRole), Subjects: p.peer(),
		},
		p.peerBinding(),
	)
	return append(shared, p.widen(p.widePeerBinding())...), nil
}

// providerManifests returns what all consumers of a provider share: policies first, roles last.
func providerManifests() ([]client.Object, error) {
	shared, err := manifests.Objects("provider")
	if err != nil {
		return nil, err
	}
	var policies, roles []client.Object
	for _, object := range shared {
		if strings.HasPrefix(object.GetAPIVersion(), rbacv1.GroupName) {
			roles = append(roles, object)
		} else {
			policies = append(policies, object)
		}
	}
	return append(policies, roles...), nil
}

func (p *Peering) peerBinding() *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: peerRole + ":" + p.HomeID, Labels: clusterLabel(p.HomeID)},
		RoleRef:    clusterRole(peerRole), Subjects: p.peer(),
	}
}

func (p *Peering) peer() []rbacv1.Subject {
	return []rbacv1.Subject{{
		Kind: rbacv1.ServiceAccountKind, Name: v1beta1.PeerServiceAccount, Namespace: v1beta1.TenantNamespace(p.HomeID),
	}}
}

func (p *Peering) awayMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: v1beta1.TenantNamespace(p.HomeID), Labels: clusterLabel(p.HomeID),
	}
}

// tenantNamespace returns the namespace for what concerns another cluster. Where two clusters borrow from each other
// it is the same one for both directions.
func tenantNamespace(clusterID, clusterUID string) *corev1.Namespace {
	labels := clusterLabel(clusterID)
	labels[v1beta1.LabelTenantNamespace] = "true"
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: v1beta1.TenantNamespace(clusterID), Labels: labels,
		Annotations: map[string]string{v1beta1.AnnotationClusterUID: clusterUID},
	}}
}

func clusterLabel(clusterID string) map[string]string {
	return map[string]string{v1beta1.LabelRemoteClusterID: clusterID}
}

func clusterRole(name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
}

// requestToken returns a token of the consumer's identity. The consumer may ask for it itself, with an earlier one.
func requestToken(
	ctx context.Context, away client.Client, homeID string, ttl time.Duration,
) (*authenticationv1.TokenRequest, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Name: v1beta1.PeerServiceAccount, Namespace: v1beta1.TenantNamespace(homeID),
	}}
	request := &authenticationv1.TokenRequest{
		// Said here, so that the client's scheme need not know the kind.
		TypeMeta: metav1.TypeMeta{APIVersion: authenticationv1.SchemeGroupVersion.String(), Kind: "TokenRequest"},
		Spec:     authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To(int64(ttl / time.Second))},
	}
	if err := away.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, fmt.Errorf("request a token on the provider: %w", err)
	}
	return request, nil
}
