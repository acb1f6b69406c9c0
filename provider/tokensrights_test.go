package provider

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/provider/translate"
)

// rights is a home and a provider where the agent acts as the identities, and with the rights, that we ship.
type rights struct {
	*shop
	agentHome, agentAway *kubernetes.Clientset
}

// acting returns a client that acts as a ServiceAccount.
func (w *world) acting(c *env.Cluster, namespace, account string) *kubernetes.Clientset {
	config := c.Config()
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":" + account,
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	return clientsetFor(w.T, config)
}

func newRights(t *testing.T) *rights {
	w := newWorld(t)
	for i, folder := range []string{"base", "provider"} {
		if err := w.planes[i].Apply(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
	}
	s := &shop{world: w, ns: "shop", twin: "shop-home"}
	s.namespace(w.home, s.ns, nil)
	s.namespace(w.home, v1beta1.TenantNamespace(provider), nil)
	s.namespace(w.away, s.twin, map[string]string{
		v1beta1.LabelRemoteClusterID: "home", "pod-security.kubernetes.io/enforce": "baseline"})
	agent := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: v1beta1.AgentServiceAccount,
		Namespace: v1beta1.TenantNamespace(provider)}
	peer := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Name: v1beta1.PeerServiceAccount,
		Namespace: v1beta1.TenantNamespace("home")}
	role := func(name string) rbacv1.RoleRef {
		return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name}
	}
	must(t, w.home.RbacV1().ClusterRoleBindings().Create, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "agent"}, RoleRef: role("liqo-virtual-kubelet"),
		Subjects: []rbacv1.Subject{agent}})
	must(t, w.home.RbacV1().RoleBindings(s.ns).Create, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "agent"}, RoleRef: role(v1beta1.OffloadedNamespaceRole),
		Subjects: []rbacv1.Subject{agent}})
	nodes := metav1.ObjectMeta{Name: v1beta1.AgentNodesRole}
	must(t, w.home.RbacV1().Roles(agent.Namespace).Create, &rbacv1.Role{
		ObjectMeta: nodes, Rules: []rbacv1.PolicyRule{{
			Verbs: []string{v1beta1.VerbServe}, APIGroups: []string{v1beta1.GroupVersion.Group},
			Resources: []string{"virtualnodes"}, ResourceNames: []string{s.node()},
		}}})
	must(t, w.home.RbacV1().RoleBindings(agent.Namespace).Create, &rbacv1.RoleBinding{
		ObjectMeta: nodes, Subjects: []rbacv1.Subject{agent},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: nodes.Name}})
	must(t, w.away.RbacV1().RoleBindings(s.twin).Create, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: v1beta1.TwinRole}, RoleRef: role(v1beta1.TwinRole),
		Subjects: []rbacv1.Subject{peer}})
	return &rights{
		shop: s, agentHome: w.acting(w.planes[0], agent.Namespace, agent.Name),
		agentAway: w.acting(w.planes[1], peer.Namespace, peer.Name),
	}
}

// inForce waits until the provider has compiled its policies.
func (r *rights) inForce() {
	r.Helper()
	r.eventually("the fence is up", func() error {
		pod := build.Pod("trespasser").Namespace(r.twin).Label(v1beta1.LabelOrigin, "home").Obj()
		_, err := r.agentAway.CoreV1().Pods(r.twin).Create(r.Context(), pod,
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "liqo-pods") {
			return fmt.Errorf("it answers %w", err)
		}
		return nil
	})
}

func (r *rights) asking(name string, annotations ...string) *corev1.Pod {
	r.Helper()
	b := build.Pod(name).Namespace(r.ns).Node(r.node())
	for i := 0; i+1 < len(annotations); i += 2 {
		b = b.Annotation(annotations[i], annotations[i+1])
	}
	return must(r.T, r.home.CoreV1().Pods(r.ns).Create, b.Obj())
}

// says waits until a home pod that is not created shows these words.
func (r *rights) says(name string, words ...string) {
	r.Helper()
	r.eventually(name+" says why", func() error {
		got, err := r.homePod(name)
		if err != nil {
			return err
		}
		for _, word := range words {
			if got.Status.Reason != ReasonFailedCreate || !strings.Contains(got.Status.Message, word) {
				return fmt.Errorf("%s: %s", got.Status.Reason, got.Status.Message)
			}
		}
		return nil
	})
}

func TestTokensWithTheRightsThatWeShip(t *testing.T) {
	t.Parallel()
	r := newRights(t)
	r.inForce()
	ctx := t.Context()
	p, _ := r.agent(func(o *PodsOptions) {
		o.Home, o.Away = r.agentHome, r.agentAway
		o.Access = translate.Access{Host: "home.example", Port: "443"}
	}, func(p *Pods) {
		tokens := NewTokens(p, clock.RealClock{})
		tokens.TwinReady(r.ns, r.twin)
		done := make(chan error, 1)
		go func() { done <- tokens.Start(ctx) }()
		t.Cleanup(func() { <-done })
	})
	p.TwinReady(r.ns, r.twin)

	const ask = v1beta1.AnnotationAPIServerSupport
	r.asking("too-early", ask, v1beta1.APIServerSupportHome)
	r.says("too-early", "home gives the pod no token of its ServiceAccount",
		`cannot create resource "serviceaccounts/token" in API group "" in the namespace "shop"`)

	r.kubectl("apply", "--server-side", "--force-conflicts", "-k", "manifests/testdata/service-account-tokens")
	r.policy()
	home := r.asking("web", ask, v1beta1.APIServerSupportHome)
	r.remote(home)
	secret, err := r.away.CoreV1().Secrets(r.twin).Get(ctx, translate.TokenSecret(home.UID), metav1.GetOptions{})
	if err != nil || len(secret.Data["token-0"]) < 100 {
		t.Errorf("the remote pod is there, and its token is not: %v", err)
	}

	r.lent(ask)
}

// policy: with the right come its limits.
func (r *rights) policy() {
	r.Helper()
	pod := r.asking("bound")
	bound := &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
	request := func(spec authenticationv1.TokenRequestSpec) error {
		_, err := r.agentHome.CoreV1().ServiceAccounts(r.ns).CreateToken(r.Context(), "default",
			&authenticationv1.TokenRequest{Spec: spec}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	refused := func(spec authenticationv1.TokenRequestSpec, words string) error {
		if err := request(spec); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), words) {
			return fmt.Errorf("home answers %w", err)
		}
		return nil
	}
	unbound := *bound
	unbound.UID = ""
	for what, tc := range map[string]struct {
		spec  authenticationv1.TokenRequestSpec
		words string
	}{
		"of nobody":        {authenticationv1.TokenRequestSpec{}, "bound to a pod and its UID"},
		"of a pod by name": {authenticationv1.TokenRequestSpec{BoundObjectRef: &unbound}, "bound to a pod and its UID"},
		"for too long": {
			authenticationv1.TokenRequestSpec{BoundObjectRef: bound, ExpirationSeconds: ptr.To[int64](3607)},
			"an hour at most",
		},
	} {
		r.eventually("a token "+what+" is refused", func() error { return refused(tc.spec, tc.words) })
	}
	r.eventually("a proper token is given", func() error {
		return request(authenticationv1.TokenRequestSpec{BoundObjectRef: bound, ExpirationSeconds: ptr.To[int64](3600)})
	})
}

// lent: an identity of the provider is up to the provider.
func (r *rights) lent(ask string) {
	r.Helper()
	const account = "builder"
	must(r.T, r.away.CoreV1().ServiceAccounts(r.twin).Create,
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account}})
	r.asking("stranger", ask, v1beta1.APIServerSupportRemote, v1beta1.AnnotationRemoteServiceAccount, account)
	r.says("stranger", "the provider refuses the pod", "may not use a ServiceAccount of this cluster")

	_, err := r.away.CoreV1().Namespaces().Patch(r.Context(), r.twin, types.MergePatchType,
		fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, v1beta1.AnnotationLentServiceAccounts, account),
		metav1.PatchOptions{})
	if err != nil {
		r.Fatal(err)
	}
	guest := r.asking("guest", ask, v1beta1.APIServerSupportRemote, v1beta1.AnnotationRemoteServiceAccount, account)
	away := r.remote(guest)
	mounted := slices.ContainsFunc(away.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Projected != nil && v.Projected.Sources[0].ServiceAccountToken != nil
	})
	if away.Spec.ServiceAccountName != account || !mounted || len(away.Spec.Volumes) != 1 {
		r.Errorf("it runs as %q and mounts %v", away.Spec.ServiceAccountName, away.Spec.Volumes)
	}
	if _, err := r.away.CoreV1().Secrets(r.twin).Get(r.Context(), translate.TokenSecret(guest.UID),
		metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		r.Errorf("it has a token of home too: %v", err)
	}
}

// kubectl is the one that is linked into the playground, run at home in the repository.
func (r *rights) kubectl(args ...string) {
	r.Helper()
	root, err := env.RepositoryRoot()
	if err != nil {
		r.Fatal(err)
	}
	var out bytes.Buffer
	cmd := &exec.Cmd{
		Path: filepath.Join(root, "bin", "playground"), Dir: root, Stdout: &out, Stderr: &out,
		Args: append([]string{"kubectl", "--kubeconfig", r.planes[0].Kubeconfig}, args...),
	}
	if err := cmd.Run(); err != nil {
		r.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
}
