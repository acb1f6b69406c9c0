package peering_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/peering"
)

func secretOf(t *testing.T, p *peering.Peering) *corev1.Secret {
	t.Helper()
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: v1beta1.TenantNamespace(p.AwayID), Name: peering.SecretName(p.AwayID)}
	if err := p.Home.Get(t.Context(), key, &secret); err != nil {
		t.Fatal(err)
	}
	return &secret
}

// TestPeering tells the whole life of a peering between real API servers, step by step.
func TestPeering(t *testing.T) {
	planes := env.Planes(t, 2)
	home, away := planes[0], planes[1]
	reports := &said{}
	p := between(t, home, away, reports)

	t.Run("a home without our roles is refused, and nothing is written", func(t *testing.T) {
		refused(t, p, "ClusterRole liqo-virtual-kubelet")
		absent(t, p.Away, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "liqo-tenant-consumer"}})
	})
	if err := home.Apply(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	t.Run("a cluster is not peered with itself", func(t *testing.T) {
		q := *p
		q.Away = p.Home
		refused(t, &q, "both kubeconfigs lead to the same")
	})
	t.Run("a human without rights is refused, and nothing is written", func(t *testing.T) {
		q := *p
		if err := p.Away.Create(t.Context(), serviceAccount("default", "nobody")); err != nil {
			t.Fatal(err)
		}
		nobody, err := away.ConfigFor(t.Context(), "default", "nobody")
		if err != nil {
			t.Fatal(err)
		}
		q.Away = connect(t, nobody)
		if err := q.Peer(t.Context()); err == nil {
			t.Error("peered without rights")
		}
		absent(t, p.Home, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "liqo-tenant-provider-1"}})
	})
	peer(t, p)
	t.Run("the fence was proved before the credential was handed out", func(t *testing.T) {
		reports.has(t, "the fence holds")
	})
	t.Run("peering again changes nothing but the token", func(t *testing.T) { again(t, p) })
	t.Run("another cluster cannot come under the same id", func(t *testing.T) {
		remembered(t, p, "another-uid")
		refused(t, p, `the cluster id "consumer" is taken by another cluster`)
		remembered(t, p, uidOf(t, p.Home))
	})
	t.Run("the token renews itself", func(t *testing.T) { renewed(t, p, home, away) })

	stolen := as(t, away.Config(), credential(t, p).Token)
	t.Run("the identity may do what an agent must, and nothing else", func(t *testing.T) { rights(t, stolen, p.Away) })
	t.Run("a twin that is left holds the peering", func(t *testing.T) { held(t, p, stolen) })
	t.Run("unpeering revokes at once, also a copied credential", func(t *testing.T) { unpeered(t, p, stolen) })
}

func refused(t *testing.T, p *peering.Peering, part string) {
	t.Helper()
	if err := p.Peer(t.Context()); err == nil || !strings.Contains(err.Error(), part) {
		t.Errorf("got %v, want a refusal that says %q", err, part)
	}
}

func absent(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	if err := c.Get(context.Background(), client.ObjectKeyFromObject(object), object); !apierrors.IsNotFound(err) {
		t.Errorf("%s is there (%v)", object.GetName(), err)
	}
}

func uidOf(t *testing.T, c client.Client) string {
	t.Helper()
	identity, err := peering.Identify(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return string(identity.UID)
}

// remembered makes the provider remember a consumer's UID.
func remembered(t *testing.T, p *peering.Peering, uid string) {
	t.Helper()
	patch := mergePatch(map[string]any{"metadata": map[string]any{
		"annotations": map[string]any{v1beta1.AnnotationClusterUID: uid},
	}})
	if err := p.Away.Patch(t.Context(), namespace("liqo-tenant-consumer", nil), patch); err != nil {
		t.Fatal(err)
	}
}

func again(t *testing.T, p *peering.Peering) {
	before := secretOf(t, p)
	var bindings rbacv1.ClusterRoleBinding
	key := client.ObjectKey{Name: "liqo-peer:" + p.HomeID}
	if err := p.Away.Get(t.Context(), key, &bindings); err != nil {
		t.Fatal(err)
	}
	version := bindings.ResourceVersion
	peer(t, p)
	if err := p.Away.Get(t.Context(), key, &bindings); err != nil {
		t.Fatal(err)
	}
	if bindings.ResourceVersion != version {
		t.Error("an unchanged binding was written")
	}
	if after := secretOf(t, p); after.UID != before.UID {
		t.Error("the Secret was made anew")
	}
}

// holder is what shows the token, as remote.Cluster does.
type holder struct{ token string }

func (h *holder) Token() string         { return h.token }
func (h *holder) SetToken(token string) { h.token = token }

// skewed is a clock that is ahead.
type skewed struct {
	clock.Clock
	by time.Duration
}

func (s skewed) Now() time.Time { return s.Clock.Now().Add(s.by) }

// renewed renews with the agent's own rights at home and the identity's own away.
func renewed(t *testing.T, p *peering.Peering, home, away *env.Cluster) {
	config, err := home.ConfigFor(t.Context(), v1beta1.TenantNamespace(p.AwayID), v1beta1.AgentServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	before := credential(t, p)
	tokens := &holder{token: before.Token}
	r := &peering.Renewer{
		Home: connect(t, config), Away: as(t, away.Config(), before.Token),
		Secret: client.ObjectKeyFromObject(secretOf(t, p)), HomeID: p.HomeID, Tokens: tokens,
		Clock: skewed{clock.RealClock{}, 50 * time.Minute}, Jitter: func() float64 { return 0.5 },
	}
	// Tokens that are issued within the same second for the same time are the same text.
	err = wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, 10*time.Second, true,
		func(ctx context.Context) (bool, error) {
			_, err := r.Renew(ctx)
			return tokens.token != before.Token, err
		})
	if err != nil {
		t.Fatal(err)
	}
	after := credential(t, p)
	if after.Token != tokens.token {
		t.Error("the Secret does not hold the token in use")
	}
	if after.Server != before.Server || string(after.CA) != string(before.CA) {
		t.Error("more than the token changed")
	}
	if err := as(t, away.Config(), after.Token).List(t.Context(), &corev1.NodeList{}); err != nil {
		t.Errorf("the new token does not work: %v", err)
	}
}

func held(t *testing.T, p *peering.Peering, identity client.Client) {
	twin := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop-consumer", Labels: twinLabels(p.HomeID)}}
	if err := identity.Create(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	err := p.Unpeer(ctx, false)
	if err == nil || !strings.Contains(err.Error(), "shop-consumer") {
		t.Fatalf("got %v, want a refusal that names the twin", err)
	}
	secretOf(t, p) // nothing was revoked
	finish(t, p.Away, twin)
}

// finish deletes a namespace and does what the namespace controller, which planes lack, would do.
func finish(t *testing.T, c client.Client, ns *corev1.Namespace) {
	t.Helper()
	if err := c.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); err != nil {
		t.Fatal(err)
	}
	ns.Spec.Finalizers = nil
	if err := c.SubResource("finalize").Update(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
}

func unpeered(t *testing.T, p *peering.Peering, stolen client.Client) {
	if err := stolen.List(t.Context(), &corev1.NodeList{}); err != nil {
		t.Fatalf("the identity does not work before: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := p.Unpeer(ctx, false); err != nil {
		t.Fatal(err)
	}
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, 20*time.Second, true,
		func(ctx context.Context) (bool, error) {
			err := stolen.List(ctx, &corev1.NodeList{})
			return apierrors.IsUnauthorized(err) || apierrors.IsForbidden(err), nil
		})
	if err != nil {
		t.Error("a copied credential still works")
	}
	for _, name := range []string{"liqo-peer", "liqo-twin", "liqo-peer-renewal"} {
		absent(t, p.Away, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	absent(t, p.Away, &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "liqo-peer:consumer"}})
	absent(t, p.Home, &rbacv1.ClusterRoleBinding{ObjectMeta: meta("liqo-virtual-kubelet:provider-1", nil)})
	absent(t, p.Home, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: "liqo-tenant-provider-1", Name: "kubeconfig-provider-1",
	}})
	var left v1beta1.VirtualNodeList
	if err := p.Home.List(t.Context(), &left); err != nil || len(left.Items) > 0 {
		t.Errorf("virtual nodes are left: %v, %v", left.Items, err)
	}
	refusal := p.Peer(t.Context())
	if refusal == nil || !strings.Contains(refusal.Error(), "still being removed") {
		t.Errorf("got %v, want that the tenant namespaces are still being removed", refusal)
	}
}
