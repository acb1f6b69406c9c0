package peering_test

import (
	"context"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/peering"
)

func TestWhoMayServeAPeering(t *testing.T) {
	for agent, want := range map[peering.Agent]string{
		peering.AgentOwn: "", peering.AgentShared: "", "mine": `the agent must be own or shared, not "mine"`,
	} {
		got := ""
		if err := peering.CheckAgent(agent); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", agent, got, want)
		}
	}
}

// TestTheSharedAgentActsForThosePeeringsThatSaySo asks a real API server whose tokens the shared agent gets.
func TestTheSharedAgentActsForThosePeeringsThatSaySo(t *testing.T) {
	planes := env.Planes(t, 2)
	home, away := planes[0], planes[1]
	p := between(t, home, away, &said{})
	p.Agent = peering.AgentShared
	refused(t, p, "ClusterRole liqo-")
	if err := home.Apply(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	config, err := home.ConfigFor(t.Context(), v1beta1.SystemNamespace, v1beta1.AgentServiceAccount)
	if err != nil {
		t.Fatal(err)
	}
	shared := connect(t, config)
	tenant := v1beta1.TenantNamespace(p.AwayID)
	lent := func(namespace, account string) error {
		return shared.SubResource("token").Create(t.Context(), serviceAccount(namespace, account),
			&authenticationv1.TokenRequest{})
	}
	becomes := func(what string, allowed bool) {
		t.Helper()
		var last error
		err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true,
			func(context.Context) (bool, error) {
				last = lent(tenant, v1beta1.AgentServiceAccount)
				return allowed == (last == nil) && (allowed || apierrors.IsForbidden(last)), nil
			})
		if err != nil {
			t.Errorf("%s: the agent of the peering lends its identity: %v, want %v", what, last, allowed)
		}
	}
	for _, step := range []struct {
		what  string
		agent peering.Agent
		want  bool
	}{
		{"a new peering says nothing", "", false},
		{"it is shared", peering.AgentShared, true},
		{"it is brought up to date", "", true},
		{"it has an agent of its own again", peering.AgentOwn, false},
		{"it is shared once more", peering.AgentShared, true},
	} {
		p.Agent = step.agent
		peer(t, p)
		becomes(step.what, step.want)
	}
	if err := lent(v1beta1.SystemNamespace, "controller-manager"); !apierrors.IsForbidden(err) {
		t.Errorf("a token of the controller-manager: %v", err)
	}
	if err := lent(tenant, v1beta1.PeerServiceAccount); !apierrors.IsForbidden(err) {
		t.Errorf("a token of another ServiceAccount: %v", err)
	}
	asked(t, shared, map[string]bool{
		"list nodes": true, "watch namespaces": true, "list namespaceoffloadings.offloading.liqo.io": true,
		"create nodes": false, "patch nodes": false, "delete pods": false, "list pods": false, "list secrets": false,
		"get secrets " + tenant: false, "list virtualnodes.offloading.liqo.io " + tenant: false,
		"create leases.coordination.k8s.io liqo": true, "create leases.coordination.k8s.io kube-node-lease": false,
		"create serviceaccounts/token kube-system": false, "create serviceaccounts/token " + tenant: false,
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Unpeer(ctx, true); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{}
	at := client.ObjectKey{Namespace: tenant, Name: "liqo-shared-agent-tenant"}
	if err := p.Home.Get(t.Context(), at, binding); !apierrors.IsNotFound(err) {
		t.Errorf("the binding is left after the peering: %v", err)
	}
}
