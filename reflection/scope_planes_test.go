package reflection_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// TestClusterScopeBetweenAPIServers: one watch per kind, over namespaces that are offloaded at different times.
func TestClusterScopeBetweenAPIServers(t *testing.T) {
	t.Parallel()
	planes := env.Planes(t, 2)
	w := &world{t: t, home: planes[0], away: planes[1], pods: &pods{}, events: record.NewFakeRecorder(1000)}
	w.scope = v1beta1.WatchCluster
	w.prepare()
	w.create(w.home, clusterBinding("liqo-virtual-kubelet-cluster",
		v1beta1.TenantNamespace(destination), v1beta1.AgentServiceAccount))
	w.create(w.away, clusterBinding("liqo-peer-cluster", v1beta1.TenantNamespace(origin), v1beta1.PeerServiceAccount))
	w.start()
	defer func() { w.stop() }()

	// What is in a namespace before it is offloaded is known by its metadata alone.
	home := "later"
	w.create(w.home, build.Namespace(home).Obj())
	service, settings := build.Service(home, "web"), configMap(home, "settings", one("a", "1"))
	front := entrance(home)
	w.create(w.home, service, slice(home, "web-1", "10.9.0.1"), settings, front,
		opaque(home, front.Spec.TLS[0].SecretName))
	first, firstAway := w.offload("first")
	w.create(w.home, configMap(first, "settings", one("a", "1")))
	eventually(w, &corev1.ConfigMap{}, at(firstAway, "settings"), "created", is("a", "1"))

	away := home + "-" + origin
	w.create(w.away, build.Namespace(away).Label(v1beta1.LabelRemoteClusterID, origin).Obj(),
		binding(away, v1beta1.TwinRole, v1beta1.TenantNamespace(origin), v1beta1.PeerServiceAccount))
	w.create(w.home, binding(home, v1beta1.OffloadedNamespaceRole,
		v1beta1.TenantNamespace(destination), v1beta1.AgentServiceAccount))
	w.mirror.TwinReady(home, away)
	eventually(w, &corev1.Service{}, at(away, "web"), "created", func(s *corev1.Service) bool {
		return cmp.Equal(service.Spec.Selector, s.Spec.Selector)
	})
	eventually(w, &discoveryv1.EndpointSlice{}, at(away, "web-1."+origin), "created",
		func(s *discoveryv1.EndpointSlice) bool { return len(s.Endpoints) == 1 })
	eventually(w, &corev1.ConfigMap{}, at(away, "settings"), "created", is("a", "1"))
	eventually(w, &networkingv1.Ingress{}, at(away, front.Name), "created", there)
	eventually(w, &corev1.Secret{}, at(away, front.Spec.TLS[0].SecretName), "created", there)
	w.changesNothing(service, settings)
}

// changesNothing changes at home what is not reflected, and has everything looked at: the provider must not hear of it.
func (w *world) changesNothing(service *corev1.Service, settings *corev1.ConfigMap) {
	w.t.Helper()
	home, away := service.Namespace, service.Namespace+"-"+origin
	w.settled()
	audit, err := w.away.Audit()
	if err != nil {
		w.t.Fatal(err)
	}
	for i := range 5 {
		change(w, w.home, settings, func(c *corev1.ConfigMap) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, corev1.LastAppliedConfigAnnotation, fmt.Sprint(i))
		})
		if err := w.home.Client().Get(w.t.Context(), client.ObjectKeyFromObject(service), service); err != nil {
			w.t.Fatal(err)
		}
		service.Status.Conditions = []metav1.Condition{{
			Type: "Seen", Status: metav1.ConditionTrue, Reason: fmt.Sprint("Test", i), LastTransitionTime: metav1.Now(),
		}}
		if err := w.home.Client().Status().Update(w.t.Context(), service); err != nil {
			w.t.Fatal(err)
		}
	}
	w.mirror.Refresh()
	w.create(w.home, configMap(home, "last", nil)) // when it has come, so would have what came before
	eventually(w, &corev1.ConfigMap{}, at(away, "last"), "created", there)
	w.settled()
	writes := w.audited(audit, func(user string, write bool) bool { return user == peer && write })
	want := []string{"create configmaps " + away + "/last 201"}
	if diff := cmp.Diff(want, writes); diff != "" {
		w.t.Errorf("writes, -want,+got:\n%s", diff)
	}
}

func clusterBinding(role, accountNamespace, accountName string) client.Object {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: accountNamespace, Name: accountName}},
	}
}
