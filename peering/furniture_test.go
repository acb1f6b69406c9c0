package peering_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

const (
	origin = v1beta1.LabelRemoteClusterID
	tenant = v1beta1.LabelTenantNamespace
	psa    = "pod-security.kubernetes.io/enforce"
	audit  = "pod-security.kubernetes.io/audit"
)

var everybody = rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:authenticated"}

// furnish fills a provider, and lets the identities do anything that the fence does not forbid.
func furnish(t *testing.T, admin client.Client) {
	t.Helper()
	objects := []client.Object{
		namespace("own", map[string]string{"team": "provider"}),
		namespace("shop-a", twinLabels("a")), namespace("shop-b", twinLabels("b")),
		config("own", "theirs", nil), config("shop-a", "theirs", nil), config("shop-a", "ours", marked("a")),
		config("shop-b", "ours", marked("b")), service("shop-a", "ours"), closedEndpoints(),
		claim("ours", "", ""), claim("placed", "", "worker"),
		named(binding("shop-a", "view", everybody), "theirs"),
		serviceAccount("own", "admin"), serviceAccount("kube-system", "admin"),
		serviceAccount("own", "default"), serviceAccount("shop-a", "default"), serviceAccount("shop-a", "admin"),
		serviceAccount("shop-b", "default"),
		build.Pod("web").Namespace("own").Obj(), build.Pod("web").Namespace("shop-b").Obj(),
	}
	lending := namespace("lent-a", twinLabels("a"))
	lending.Annotations = map[string]string{v1beta1.AnnotationLentServiceAccounts: "builder,deployer"}
	objects = append(objects, lending, serviceAccount("lent-a", "default"), serviceAccount("lent-a", "builder"),
		serviceAccount("lent-a", "admin"))
	for _, consumer := range []string{"a", "b"} {
		ns := v1beta1.TenantNamespace(consumer)
		objects = append(objects,
			namespace(ns, map[string]string{tenant: "true", origin: consumer}),
			serviceAccount(ns, v1beta1.PeerServiceAccount), serviceAccount(ns, "other"))
	}
	everything := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta("everything", nil),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{identity("a"), {
			Kind: rbacv1.ServiceAccountKind, Namespace: "liqo-tenant-a", Name: v1beta1.AgentServiceAccount,
		}},
	}
	for _, object := range append(objects, everything) {
		if err := admin.Create(t.Context(), object); err != nil {
			t.Fatalf("create %s: %v", object.GetName(), err)
		}
	}
}

// inForce waits until the API server has compiled the policies and seen the roles.
func inForce(t *testing.T, peer client.Client) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 20*time.Second, true,
		func(ctx context.Context) (bool, error) {
			for _, forbidden := range []client.Object{
				namespace("new", nil), config("own", "new", marked("a")),
				binding("shop-a", "view", identity("a")), remotePod("shop-a", automount(true)),
				secret("shop-a", corev1.SecretTypeServiceAccountToken), service("shop-a", "new", "198.51.100.1"),
				claim("new", "theirs", ""), slice("IPv4", "10.0.0.6"),
			} {
				if peer.Create(ctx, forbidden, client.DryRunAll) == nil {
					return false, nil
				}
			}
			return relabel("own", "", origin, "a")(ctx, peer, nil) != nil &&
				relabel("shop-a", "", origin, "b")(ctx, peer, nil) != nil, nil
		})
	if err != nil {
		t.Fatal("the policies did not come into force")
	}
}

func meta(name string, labels map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: labels}
}

func named(b *rbacv1.RoleBinding, name string) *rbacv1.RoleBinding {
	b.Name = name
	return b
}

func serviceAccount(ns, name string) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
}

func role(ns string, labels map[string]string) *rbacv1.Role {
	return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "x", Labels: labels}}
}

func policyBinding(name string) *admissionv1.ValidatingAdmissionPolicyBinding {
	return &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: meta(name, nil)}
}

func mergePatch(fields map[string]any) client.Patch {
	body, err := json.Marshal(fields)
	if err != nil {
		panic(err) // maps of strings
	}
	return client.RawPatch(types.MergePatchType, body)
}

func annotate(name string) request {
	return func(ctx context.Context, c client.Client, _ kubernetes.Interface) error {
		patch := mergePatch(map[string]any{"metadata": map[string]any{"annotations": map[string]any{"note": "x"}}})
		return c.Patch(ctx, namespace(name, nil), patch, client.DryRunAll)
	}
}

func deleteAll(ns string) request {
	return func(ctx context.Context, c client.Client, _ kubernetes.Interface) error {
		return c.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(ns), client.DryRunAll)
	}
}

// lend has a twin say which ServiceAccounts its consumer's pods may run as.
func lend(name, subresource string, accounts any) request {
	return func(ctx context.Context, c client.Client, _ kubernetes.Interface) error {
		patch := mergePatch(map[string]any{"metadata": map[string]any{
			"annotations": map[string]any{v1beta1.AnnotationLentServiceAccounts: accounts}}})
		if subresource == "" {
			return c.Patch(ctx, namespace(name, nil), patch, client.DryRunAll)
		}
		return c.SubResource(subresource).Patch(ctx, namespace(name, nil), patch, client.DryRunAll)
	}
}

// Changes of a pod's spec.

// runAs runs the pod as an account, with its token mounted by admission.
func runAs(name string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) { s.ServiceAccountName, s.AutomountServiceAccountToken = name, nil }
}

func account(name string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) { s.ServiceAccountName = name }
}

func automount(yes bool) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) { s.AutomountServiceAccountToken = ptr.To(yes) }
}

func onNode(name string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) { s.NodeName = name }
}

func priority(class string) func(*corev1.PodSpec) {
	return func(s *corev1.PodSpec) { s.PriorityClassName = class }
}

func projected(s *corev1.PodSpec) {
	s.Volumes = []corev1.Volume{{Name: "token", VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
			ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"},
		}}},
	}}}
}

func hostPath(s *corev1.PodSpec) {
	s.Volumes = []corev1.Volume{{Name: "root", VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: "/"},
	}}}
}

func privileged(s *corev1.PodSpec) {
	s.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: ptr.To(true)}
}
