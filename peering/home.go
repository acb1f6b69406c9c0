package peering

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Names of the agent's ClusterRoles at home, see manifests/base.
const (
	agentRole  = "liqo-virtual-kubelet"
	tenantRole = "liqo-virtual-kubelet-tenant"
	leaseRole  = "liqo-virtual-kubelet-lease"
	// readerRole is Kubernetes' own Role: with it the agent learns whose client certificates to accept.
	readerRole = "extension-apiserver-authentication-reader"
)

// homeObjects returns what home gets for this provider, in the order in which it is applied: the VirtualNode, which
// sets the others in motion, is the last.
func (p *Peering) homeObjects(awayUID string, kubeconfig []byte, nodes []v1beta1.VirtualNode) []client.Object {
	secret := p.homeMeta(SecretName(p.AwayID))
	secret.Annotations = map[string]string{v1beta1.AnnotationWatchScope: string(p.WatchScope)}
	objects := []client.Object{
		tenantNamespace(p.AwayID, awayUID),
		&corev1.ServiceAccount{
			ObjectMeta: p.homeMeta(v1beta1.AgentServiceAccount), AutomountServiceAccountToken: ptr.To(false),
		},
		p.agentBinding(),
		&rbacv1.RoleBinding{ObjectMeta: p.homeMeta(tenantRole), RoleRef: clusterRole(tenantRole), Subjects: p.agent()},
		p.leaseBinding(),
		p.readerBinding(),
		p.nodesRole(nodes),
		p.nodesBinding(),
	}
	objects = append(objects, p.sharing()...)
	return append(append(objects, p.widen(p.wideBinding())...),
		&corev1.Secret{
			ObjectMeta: secret, Type: corev1.SecretTypeOpaque,
			Data: map[string][]byte{v1beta1.KubeconfigKey: kubeconfig},
		},
		&v1beta1.VirtualNode{
			ObjectMeta: p.homeMeta(p.NodeName),
			Spec: v1beta1.VirtualNodeSpec{
				ClusterID: p.AwayID, CreateNode: ptr.To(true), Labels: p.NodeLabels,
				KubeconfigSecretRef: &corev1.LocalObjectReference{Name: SecretName(p.AwayID)},
			},
		},
	)
}

func (p *Peering) agentBinding() *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: agentRole + ":" + p.AwayID, Labels: clusterLabel(p.AwayID)},
		RoleRef:    clusterRole(agentRole), Subjects: p.agent(),
	}
}

func (p *Peering) leaseBinding() *rbacv1.RoleBinding {
	meta := p.homeMeta(agentRole + ":" + p.AwayID)
	meta.Namespace = corev1.NamespaceNodeLease
	return &rbacv1.RoleBinding{ObjectMeta: meta, RoleRef: clusterRole(leaseRole), Subjects: p.agent()}
}

func (p *Peering) readerBinding() *rbacv1.RoleBinding {
	meta := p.homeMeta(agentRole + ":" + p.AwayID)
	meta.Namespace = metav1.NamespaceSystem
	return &rbacv1.RoleBinding{
		ObjectMeta: meta, Subjects: p.agent(),
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: readerRole},
	}
}

// nodesRole says which nodes are the provider's: those of the VirtualNodes that there are, and of the one to come. From
// then on the controller-manager keeps it.
func (p *Peering) nodesRole(nodes []v1beta1.VirtualNode) *rbacv1.Role {
	names := []string{p.NodeName}
	for _, node := range nodes {
		if node.Name != p.NodeName {
			names = append(names, node.Name)
		}
	}
	slices.Sort(names)
	return &rbacv1.Role{
		ObjectMeta: p.homeMeta(v1beta1.AgentNodesRole),
		Rules: []rbacv1.PolicyRule{{
			Verbs: []string{v1beta1.VerbServe}, APIGroups: []string{v1beta1.GroupVersion.Group},
			Resources: []string{"virtualnodes"}, ResourceNames: names,
		}},
	}
}

func (p *Peering) nodesBinding() *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: p.homeMeta(v1beta1.AgentNodesRole), Subjects: p.agent(),
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: v1beta1.AgentNodesRole},
	}
}

func (p *Peering) agent() []rbacv1.Subject {
	return []rbacv1.Subject{{
		Kind: rbacv1.ServiceAccountKind, Name: v1beta1.AgentServiceAccount,
		Namespace: v1beta1.TenantNamespace(p.AwayID),
	}}
}

func (p *Peering) homeMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: v1beta1.TenantNamespace(p.AwayID), Labels: clusterLabel(p.AwayID),
	}
}
