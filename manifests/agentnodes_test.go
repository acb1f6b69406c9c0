package manifests_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// TestAgentsWriteOnlyWhatIsOnTheirNodes is about an agent that has the rights of a peering, and a Role that names one
// node.
func TestAgentsWriteOnlyWhatIsOnTheirNodes(t *testing.T) {
	home := env.Planes(t, 1)[0]
	if err := home.Apply(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	f := &agentFence{T: t, admin: fenceClient(t, home.Config())}
	f.furnish()
	config := home.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:liqo-tenant-b:virtual-kubelet"}
	f.agent = fenceClient(t, config)
	f.inForce()

	running := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Running"}}`))
	status := func(pod string) error { return f.agent.Status().Patch(t.Context(), f.pod(pod), running) }
	release := func(pod string) error {
		return f.agent.Delete(t.Context(), f.pod(pod), client.GracePeriodSeconds(0))
	}
	for name, c := range map[string]struct {
		err     error
		refused string
	}{
		"the status of a pod on its node":         {status("ours"), ""},
		"the status of a pod on another node":     {status("theirs"), "only pods on its own virtual nodes"},
		"the status of a pod on no node":          {status("waiting"), "only pods on its own virtual nodes"},
		"letting a pod of its node go":            {release("ours-leaving"), ""},
		"letting a pod of another node go":        {release("theirs-leaving"), "only pods on its own virtual nodes"},
		"deleting a pod of its node":              {release("ours"), "only pods that are terminating"},
		"the lease of its node":                   {f.renew("b"), ""},
		"the lease of another node":               {f.agent.Create(t.Context(), lease("worker-2")), "only the leases"},
		"renewing the lease of another node":      {f.renew("worker"), "only the leases of its own"},
		"renewing the lease of its node":          {f.renew("b"), ""},
		"evicting in a namespace it does not own": {f.evict("theirs"), "pods/eviction"},
	} {
		switch {
		case c.refused == "" && c.err != nil:
			t.Errorf("%s: %v", name, c.err)
		case c.refused != "" && (!apierrors.IsForbidden(c.err) || !strings.Contains(c.err.Error(), c.refused)):
			t.Errorf("%s: %v, want a refusal that says %q", name, c.err, c.refused)
		}
	}
	f.events()
}

type agentFence struct {
	*testing.T
	admin, agent client.Client
}

func fenceClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), rbacv1.AddToScheme(scheme),
		policyv1.AddToScheme(scheme), coordinationv1.AddToScheme(scheme), eventsv1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// furnish makes what a peering makes, and pods on nodes of all sorts.
func (f *agentFence) furnish() {
	f.Helper()
	subjects := []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: "liqo-tenant-b", Name: "virtual-kubelet"}}
	role := func(kind, name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
	}
	in := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	objects := []client.Object{
		build.Namespace("liqo-tenant-b").Obj(), build.Namespace("shop").Obj(),
		&corev1.ServiceAccount{ObjectMeta: in("shop", "default")},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: in("", "agent"), Subjects: subjects, RoleRef: role("ClusterRole", "liqo-virtual-kubelet"),
		},
		&rbacv1.RoleBinding{
			ObjectMeta: in("kube-node-lease", "agent"), Subjects: subjects,
			RoleRef: role("ClusterRole", "liqo-virtual-kubelet-lease"),
		},
		&rbacv1.Role{ObjectMeta: in("liqo-tenant-b", "liqo-virtual-kubelet-nodes"), Rules: []rbacv1.PolicyRule{{
			Verbs: []string{"serve"}, APIGroups: []string{"offloading.liqo.io"}, Resources: []string{"virtualnodes"},
			ResourceNames: []string{"b"},
		}}},
		&rbacv1.RoleBinding{
			ObjectMeta: in("liqo-tenant-b", "agent"), Subjects: subjects,
			RoleRef: role("Role", "liqo-virtual-kubelet-nodes"),
		},
		build.Pod("ours").Namespace("shop").Node("b").Obj(), build.Pod("theirs").Namespace("shop").Node("worker").Obj(),
		build.Pod("waiting").Namespace("shop").Obj(), lease("worker"),
		build.Pod("ours-leaving").Namespace("shop").Node("b").Obj(),
		build.Pod("theirs-leaving").Namespace("shop").Node("worker").Obj(),
	}
	for _, object := range objects {
		if err := f.admin.Create(f.Context(), object); client.IgnoreAlreadyExists(err) != nil {
			f.Fatalf("create %s: %v", object.GetName(), err)
		}
	}
	for _, name := range []string{"ours-leaving", "theirs-leaving"} {
		if err := f.admin.Delete(f.Context(), f.pod(name), client.GracePeriodSeconds(600)); err != nil {
			f.Fatal(err)
		}
	}
}

// inForce waits until the API server knows roles and policies.
func (f *agentFence) inForce() {
	f.Helper()
	err := wait.PollUntilContextTimeout(f.Context(), 100*time.Millisecond, time.Minute, true,
		func(ctx context.Context) (bool, error) {
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"status":{"phase":"Pending"}}`))
			ours := f.agent.Status().Patch(ctx, f.pod("ours"), patch, &client.SubResourcePatchOptions{
				PatchOptions: client.PatchOptions{DryRun: []string{metav1.DryRunAll}},
			})
			// Without the policies the agent's own roles let it do these.
			pod := f.agent.Status().Patch(ctx, f.pod("theirs"), patch, &client.SubResourcePatchOptions{
				PatchOptions: client.PatchOptions{DryRun: []string{metav1.DryRunAll}},
			})
			other := f.agent.Create(ctx, lease("other"), client.DryRunAll)
			event := f.agent.Create(ctx, said("shop", "probe", "kubelet"), client.DryRunAll)
			return ours == nil && apierrors.IsForbidden(pod) && apierrors.IsForbidden(other) &&
				apierrors.IsForbidden(event), nil
		})
	if err != nil {
		f.Fatal("roles and policies did not come into force")
	}
}

func (f *agentFence) pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
}

func lease(name string) *coordinationv1.Lease {
	return &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-node-lease", Name: name},
		Spec:       coordinationv1.LeaseSpec{HolderIdentity: ptr.To(name)},
	}
}

func (f *agentFence) renew(name string) error {
	var there coordinationv1.Lease
	key := client.ObjectKey{Namespace: "kube-node-lease", Name: name}
	err := f.admin.Get(f.Context(), key, &there)
	if apierrors.IsNotFound(err) {
		return f.agent.Create(f.Context(), lease(name))
	}
	if err != nil {
		return err
	}
	there.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
	return f.agent.Update(f.Context(), &there)
}

func (f *agentFence) evict(name string) error {
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	return f.agent.SubResource("eviction").Create(f.Context(), f.pod(name), eviction)
}
