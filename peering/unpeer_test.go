package peering_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/peering"
)

// peered returns a peering that was made, and its reports from then on.
func peered(t *testing.T, home, away *side) (*peering.Peering, *said) {
	t.Helper()
	reports := &said{}
	p := story(t, home, away, reports)
	if err := p.Peer(t.Context()); err != nil {
		t.Fatal(err)
	}
	*reports = nil
	return p, reports
}

// unpeer gives virtual nodes and twins hardly any time to go.
func unpeer(t *testing.T, p *peering.Peering, force bool) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	return p.Unpeer(ctx, force)
}

func vn(t *testing.T, p *peering.Peering) *v1beta1.VirtualNode {
	t.Helper()
	var node v1beta1.VirtualNode
	key := client.ObjectKey{Namespace: v1beta1.TenantNamespace(p.AwayID), Name: p.NodeName}
	if err := p.Home.Get(t.Context(), key, &node); err != nil {
		t.Fatal(err)
	}
	return &node
}

// hold gives the virtual node an agent's finalizer and words.
func hold(t *testing.T, p *peering.Peering) {
	t.Helper()
	node := vn(t, p)
	node.Finalizers = []string{v1beta1.FinalizerVirtualNode}
	node.Status.Conditions = []v1beta1.VirtualNodeCondition{{
		Type: v1beta1.NodeCondition, Status: v1beta1.StatusDraining, Message: "3 pods are left",
	}}
	if err := p.Home.Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
}

func gone(t *testing.T, p *peering.Peering) {
	t.Helper()
	absent(t, p.Home, &corev1.Namespace{ObjectMeta: meta("liqo-tenant-b", nil)})
	absent(t, p.Home, &rbacv1.ClusterRoleBinding{ObjectMeta: meta("liqo-virtual-kubelet:b", nil)})
	for _, ns := range []string{"kube-node-lease", "kube-system"} {
		absent(t, p.Home, named(binding(ns, ""), "liqo-virtual-kubelet:b"))
	}
	absent(t, p.Home, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "liqo-tenant-b", Name: "kubeconfig-b"}})
	absent(t, p.Home, &v1beta1.VirtualNode{ObjectMeta: metav1.ObjectMeta{Namespace: "liqo-tenant-b", Name: "b"}})
}

func TestUnpeer(t *testing.T) {
	t.Run("both sides are cleared, and then there is nothing more to end", func(t *testing.T) {
		p, _ := peered(t, cluster("uid-a"), cluster("uid-b"))
		if err := unpeer(t, p, false); err != nil {
			t.Fatal(err)
		}
		if err := unpeer(t, p, false); err == nil || !strings.Contains(err.Error(), `no peering with "b"`) {
			t.Errorf("got %v", err)
		}
		gone(t, p)
		absent(t, p.Away, &corev1.Namespace{ObjectMeta: meta("liqo-tenant-a", nil)})
		absent(t, p.Away, &rbacv1.ClusterRoleBinding{ObjectMeta: meta("liqo-peer:a", nil)})
		absent(t, p.Away, &rbacv1.ClusterRole{ObjectMeta: meta("liqo-twin", nil)})
		absent(t, p.Away, policyBinding("liqo-fence"))
	})
	t.Run("a virtual node that does not go holds it, and says why", func(t *testing.T) {
		p, reports := peered(t, cluster("uid-a"), cluster("uid-b"))
		hold(t, p)
		err := unpeer(t, p, false)
		if err == nil || !strings.Contains(err.Error(), "b (3 pods are left)") {
			t.Fatalf("got %v", err)
		}
		reports.has(t, "waiting for virtual nodes to be drained and removed: b (3 pods are left)")
		present(t, p.Away, serviceAccount("liqo-tenant-a", v1beta1.PeerServiceAccount))
	})
	t.Run("force removes it with its node", func(t *testing.T) {
		node := build.VirtualNodesNode(build.VirtualNode("b", "b"))
		p, reports := peered(t, cluster("uid-a", node), cluster("uid-b"))
		hold(t, p)
		if err := unpeer(t, p, true); err != nil {
			t.Fatal(err)
		}
		reports.has(t, "WARNING: waiting for virtual nodes")
		gone(t, p)
		absent(t, p.Home, &corev1.Node{ObjectMeta: meta("b", nil)})
	})
	t.Run("a twin holds it; force leaves the twin", func(t *testing.T) {
		p, reports := peered(t, cluster("uid-a"), cluster("uid-b", namespace("shop-a", twinLabels("a"))))
		err := unpeer(t, p, false)
		if err == nil || !strings.Contains(err.Error(), "still has twins of this consumer: shop-a") {
			t.Fatalf("got %v", err)
		}
		secretOf(t, p)
		if err := unpeer(t, p, true); err != nil {
			t.Fatal(err)
		}
		reports.has(t, "WARNING: these twins are left on the provider, with what is in them: shop-a")
		gone(t, p)
		present(t, p.Away, namespace("shop-a", nil))
	})
}

// TestInterruptIsNoForce: who stops the command does not want the rest of it at once.
func TestInterruptIsNoForce(t *testing.T) {
	for name, arrange := range map[string]func(*testing.T) *peering.Peering{
		"while virtual nodes are drained": func(t *testing.T) *peering.Peering {
			p, _ := peered(t, cluster("uid-a"), cluster("uid-b"))
			hold(t, p)
			return p
		},
		"while twins are waited for": func(t *testing.T) *peering.Peering {
			p, _ := peered(t, cluster("uid-a"), cluster("uid-b", namespace("shop-a", twinLabels("a"))))
			return p
		},
	} {
		for _, force := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, force %t", name, force), func(t *testing.T) {
				p := arrange(t)
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := p.Unpeer(ctx, force); !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
				secretOf(t, p)
				present(t, p.Away, serviceAccount("liqo-tenant-a", v1beta1.PeerServiceAccount))
			})
		}
	}
}

func TestUnpeerWithoutTheProvider(t *testing.T) {
	p, reports := peered(t, cluster("uid-a"), cluster("uid-b"))
	away := p.Away
	p.Away = nil
	if err := unpeer(t, p, false); err == nil || !strings.Contains(err.Error(), "--force") {
		t.Fatalf("got %v", err)
	}
	if err := unpeer(t, p, true); err != nil {
		t.Fatal(err)
	}
	gone(t, p)
	reports.has(t, "WARNING: the provider was not reached: its namespace liqo-tenant-a")
	present(t, away, serviceAccount("liqo-tenant-a", v1beta1.PeerServiceAccount))
	if err := unpeer(t, p, true); err == nil || !strings.Contains(err.Error(), `no peering with "b"`) {
		t.Errorf("got %v", err)
	}
	p.Away = away // it is back, and asked to finish
	if err := unpeer(t, p, false); err != nil {
		t.Fatal(err)
	}
	absent(t, away, serviceAccount("liqo-tenant-a", v1beta1.PeerServiceAccount))
}

// TestUnpeerOneOfTwo: two clusters that borrow from each other share the tenant namespaces, and a provider's other
// consumers share roles and fence.
func TestUnpeerOneOfTwo(t *testing.T) {
	t.Run("the other direction stays", func(t *testing.T) {
		p, _ := peered(t,
			cluster("uid-a", serviceAccount("liqo-tenant-b", v1beta1.PeerServiceAccount)),
			cluster("uid-b", serviceAccount("liqo-tenant-a", v1beta1.AgentServiceAccount)))
		if err := unpeer(t, p, false); err != nil {
			t.Fatal(err)
		}
		present(t, p.Home, serviceAccount("liqo-tenant-b", v1beta1.PeerServiceAccount))
		present(t, p.Home, &corev1.Namespace{ObjectMeta: meta("liqo-tenant-b", nil)})
		present(t, p.Away, serviceAccount("liqo-tenant-a", v1beta1.AgentServiceAccount))
		absent(t, p.Home, serviceAccount("liqo-tenant-b", v1beta1.AgentServiceAccount))
		absent(t, p.Away, serviceAccount("liqo-tenant-a", v1beta1.PeerServiceAccount))
	})
	t.Run("other consumers keep their fence", func(t *testing.T) {
		p, _ := peered(t, cluster("uid-a"),
			cluster("uid-b", &rbacv1.ClusterRoleBinding{ObjectMeta: meta("liqo-peer:c", nil)}))
		if err := unpeer(t, p, false); err != nil {
			t.Fatal(err)
		}
		present(t, p.Away, policyBinding("liqo-fence"))
		present(t, p.Away, &rbacv1.ClusterRole{ObjectMeta: meta("liqo-twin", nil)})
	})
	t.Run("an admin's own copy of the fence stays", func(t *testing.T) {
		applied := policyBinding("liqo-fence")
		applied.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: "{}"}
		p, _ := peered(t, cluster("uid-a"), cluster("uid-b", applied))
		if err := unpeer(t, p, false); err != nil {
			t.Fatal(err)
		}
		present(t, p.Away, policyBinding("liqo-fence"))
		absent(t, p.Away, policyBinding("liqo-twins"))
	})
	t.Run("a copy of the fence that another tool keeps stays", func(t *testing.T) {
		away := cluster("uid-b")
		away.managed = true
		p, _ := peered(t, cluster("uid-a"), away)
		argo := policyBinding("liqo-fence")
		argo.Spec.PolicyName = "liqo-fence"
		argo.TypeMeta = metav1.TypeMeta{
			APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingAdmissionPolicyBinding",
		}
		body, err := json.Marshal(argo)
		if err != nil {
			t.Fatal(err)
		}
		patch := client.RawPatch(types.ApplyYAMLPatchType, body)
		if err := p.Away.Patch(t.Context(), argo, patch, client.FieldOwner("argocd-controller")); err != nil {
			t.Fatal(err)
		}
		if err := unpeer(t, p, false); err != nil {
			t.Fatal(err)
		}
		present(t, p.Away, policyBinding("liqo-fence"))
		absent(t, p.Away, policyBinding("liqo-twins"))
	})
}

func present(t *testing.T, c client.Client, object client.Object) {
	t.Helper()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		t.Errorf("%s is not there: %v", object.GetName(), err)
	}
}
