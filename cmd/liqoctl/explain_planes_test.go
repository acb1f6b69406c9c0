package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// explainAsViewer explains with the identity of somebody who has view in one namespace, first alone and then with the
// role that manifests ship for the rest.
func explainAsViewer(t *testing.T, home *env.Cluster) {
	c := home.Client()
	node := build.VirtualNodesNode(build.VirtualNode("b", "b"))
	twins := build.Map("b").Obj()
	off := build.Offloading("viewed").Strategy(v1beta1.Remote).Obj()
	pod := build.Pod("web").Namespace("viewed").NodeSelector("disk", "ssd").Obj()
	for _, o := range []client.Object{
		build.Namespace("viewed").Obj(), build.Namespace(v1beta1.TenantNamespace("b")).Obj(), node,
		build.Node("ordinary"), twins, off, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
			Namespace: "viewed", Name: "default",
		}}, pod,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "viewed", Name: "viewer"}},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "viewed", Name: "viewer"}, Subjects: viewer(),
			// The aggregated role of users is view; no controller aggregates here, so the parts are bound.
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:aggregate-to-view"},
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: "viewed", Name: "viewer-of-ours"}, Subjects: viewer(),
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "liqo-offloading-view"},
		},
	} {
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	twins.Status.CurrentMapping = map[string]v1beta1.TwinStatus{"viewed": {Phase: v1beta1.MappingAccepted}}
	off.Status = v1beta1.NamespaceOffloadingStatus{OffloadingPhase: v1beta1.PhaseReady}
	for _, o := range []client.Object{twins, off} {
		if err := c.Status().Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "viewer")
	if err := home.WriteKubeconfigFor(t.Context(), "viewed", "viewer", file); err != nil {
		t.Fatal(err)
	}
	eventually(t, []string{"explain", "namespace", "viewed", "--kubeconfig", file},
		"Namespace viewed: strategy Remote;",
		"all virtual nodes    -         unknown   you may not list nodes",
		"all ordinary nodes   -         refused   strategy Remote sends the pods of this namespace to virtual nodes",
		"  - you may not list namespacemaps.offloading.liqo.io\n", "  - you may not list nodes\n",
	)
	eventually(t, []string{"explain", "pod", "web", "-n", "viewed", "--kubeconfig", file},
		"Pod viewed/web is pending: it may go to nodes that are not known: you may not list nodes.",
	)

	err := c.Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "viewers"}, Subjects: viewer(),
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "liqo-placement-view"},
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, []string{"explain", "namespace", "viewed", "--kubeconfig", file, "--runtime-class", "liqo"},
		"b          b         permitted   -", "ordinary   -         refused     RuntimeClass \"liqo\" asks for",
	)
	out := eventually(t, []string{"explain", "pod", "web", "-n", "viewed", "--kubeconfig", file},
		"ordinary   -         refused   strategy Remote sends the pods of this namespace to virtual nodes",
		"node(s) didn't match Pod's node affinity/selector: nodeSelector disk=ssd",
	)
	if strings.Contains(out, "you may not") {
		t.Errorf("a right is missing:\n%s", out)
	}
}

func viewer() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "viewed", Name: "viewer"}}
}

// eventually runs a command until it says what is wanted: API servers learn of rights through watches.
func eventually(t *testing.T, args []string, want ...string) (out string) {
	t.Helper()
	var errOut string
	err := poll(t.Context(), time.Minute, func(ctx context.Context) (bool, error) {
		_, out, errOut = real(ctx, args...)
		missing := func(text string) bool { return !strings.Contains(out, text) }
		return !slices.ContainsFunc(want, missing), nil
	})
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, errOut)
	}
	return out
}
