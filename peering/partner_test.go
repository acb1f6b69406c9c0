package peering_test

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/peering"
)

// TestUnpeerTouchesNobodyElsesPeering: whoever ends a peering must mean the two clusters that made it, also by force.
func TestUnpeerTouchesNobodyElsesPeering(t *testing.T) {
	tests := map[string]struct {
		change func(*testing.T, *peering.Peering)
		want   string
	}{
		"the name of one provider, the kubeconfig of another": {
			change: func(t *testing.T, p *peering.Peering) { p.Away = cluster("uid-c").client(t) },
			want:   `leads to another cluster than provider "b"`,
		},
		"a slip in the name": {
			change: func(_ *testing.T, p *peering.Peering) { p.AwayID = "bb" },
			want:   `leads to provider "b", not to "bb"`,
		},
		"a second cluster with our id, which never peered": {
			change: func(t *testing.T, p *peering.Peering) { p.Home = cluster("uid-z").client(t) },
			want:   `consumer "a" of the provider is another cluster`,
		},
		"a second cluster with our id, which the provider gave away since": {
			change: func(t *testing.T, p *peering.Peering) {
				p.Home = cluster("uid-z", tenantOf("b", "uid-b")).client(t)
			},
			want: `consumer "a" of the provider is another cluster`,
		},
		"neither side has it": {
			change: func(t *testing.T, p *peering.Peering) {
				p.AwayID, p.Away = "c", cluster("uid-c").client(t)
			},
			want: `no peering with "c"`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p, _ := peered(t, cluster("uid-a"), cluster("uid-b"))
			before := *p
			tt.change(t, p)
			if err := unpeer(t, p, true); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a refusal that says %q", err, tt.want)
			}
			vn(t, &before)
			present(t, before.Away, serviceAccount("liqo-tenant-a", v1beta1.PeerServiceAccount))
		})
	}
}

// TestUnpeerWithoutRemembering: a tenant namespace that lost its annotation still leads to its own provider only.
func TestUnpeerWithoutRemembering(t *testing.T) {
	for name, tt := range map[string]struct {
		known string // the provider of another peering
		want  string
	}{
		"the provider is nobody else": {known: "uid-c"},
		"the provider is another one": {known: "uid-b", want: `leads to provider "c"`},
	} {
		t.Run(name, func(t *testing.T) {
			p, _ := peered(t, cluster("uid-a"), cluster("uid-b"))
			if err := p.Home.Create(t.Context(), tenantOf("c", tt.known)); err != nil {
				t.Fatal(err)
			}
			forgetful := tenantOf("b", "")
			patch := mergePatch(map[string]any{"metadata": map[string]any{"annotations": nil}})
			if err := p.Home.Patch(t.Context(), forgetful, patch); err != nil {
				t.Fatal(err)
			}
			err := unpeer(t, p, false)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			kept := p.Away.Get(t.Context(), client.ObjectKey{
				Namespace: "liqo-tenant-a", Name: v1beta1.PeerServiceAccount,
			}, serviceAccount("", "")) == nil
			if kept != (tt.want != "") {
				t.Errorf("the identity is there: %t", kept)
			}
		})
	}
}
