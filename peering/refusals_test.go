package peering_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/peering"
)

// TestRefusals: whatever is wrong is said in one sentence, before anything is written on either side.
func TestRefusals(t *testing.T) {
	foreign := tenantOf("b", "uid-b")
	foreign.Labels = nil
	dying := tenantOf("b", "uid-b")
	dying.DeletionTimestamp, dying.Finalizers = &metav1.Time{Time: epoch}, []string{"kubernetes.io/x"}
	leaving := build.VirtualNode("b-2", "b")
	leaving.DeletionTimestamp, leaving.Finalizers = &metav1.Time{Time: epoch}, []string{v1beta1.FinalizerVirtualNode}
	lost := &url.Error{Op: "Get", URL: "https://provider.example", Err: errors.New("connection refused")}

	tests := map[string]struct {
		home, away *side
		change     func(*peering.Peering)
		want       string
	}{
		"one cluster on both sides": {away: cluster("uid-a"), want: "both kubeconfigs lead to the same"},
		"one id for both": {
			change: func(p *peering.Peering) { p.AwayID = "a" }, want: "both clusters have the id",
		},
		"an id that is no label": {
			change: func(p *peering.Peering) { p.AwayID = "B_1" }, want: `"B_1" is not valid`,
		},
		"an id that is too long": {
			change: func(p *peering.Peering) { p.HomeID = strings.Repeat("a", 52) }, want: "limit is 51",
		},
		"another id than home has":         {home: cluster("uid-a", idOf("z")), want: `has the id "z", not "a"`},
		"another id than the provider has": {away: cluster("uid-b", idOf("z")), want: `calls itself "z", not "b"`},
		"a node name that is none": {
			change: func(p *peering.Peering) { p.NodeName = "B B" }, want: "cannot be the name of a node",
		},
		"a label that is none": {
			change: func(p *peering.Peering) { p.NodeLabels = map[string]string{"a": "x y"} }, want: "is not a label",
		},
		"a plain text address": {
			change: func(p *peering.Peering) { p.Endpoint.Server = "http://provider.example" }, want: "https://",
		},
		"no authority": {
			change: func(p *peering.Peering) { p.Endpoint.CA = nil }, want: "certificate-authority-data",
		},
		"a provider out of reach": {away: &side{broken: lost}, want: "provider: read the namespace kube-system"},
		"a home out of reach":     {home: &side{broken: lost}, want: "this cluster: read the namespace kube-system"},
		"no CRDs at home":         {home: without("VirtualNode", cluster("uid-a")), want: "the CRDs are missing"},
		"no roles at home":        {home: bare("uid-a"), want: "ClusterRole liqo-virtual-kubelet"},
		"an old provider": {
			away: without("ValidatingAdmissionPolicy", cluster("uid-b")), want: "Kubernetes 1.30 or newer",
		},
		"the provider's id is another's":    {home: cluster("uid-a", tenantOf("b", "uid-z")), want: `id "b" is taken`},
		"our id is another's there":         {away: cluster("uid-b", tenantOf("a", "uid-z")), want: `id "a" is taken`},
		"a namespace that is not ours":      {home: cluster("uid-a", foreign), want: "exists and is not ours"},
		"a namespace that is being removed": {home: cluster("uid-a", dying), want: "still being removed"},
		"the name of an ordinary node":      {home: cluster("uid-a", build.Node("b")), want: `already has a node "b"`},
		"the name of another virtual node": {
			home: cluster("uid-a", build.VirtualNode("b", "c")), want: `belongs to provider "c"`,
		},
		"a provider that is peered already, under another id": {
			home: cluster("uid-a", tenantOf("milan", "uid-b")), want: `leads to provider "milan", not to "b"`,
		},
		"a virtual node that is being removed": {
			home: cluster("uid-a", leaving), want: "liqoctl unpeer b to its end first",
		},
		"a watch scope that is none": {
			change: func(p *peering.Peering) { p.WatchScope = "all" },
			want:   `the watch scope must be namespace or cluster, not "all"`,
		},
		"an installation with a watch scope that is none": {
			home: cluster("uid-a", scopedID("everything")),
			want: `ConfigMap liqo/clusterid-configmap, key WATCH_SCOPE: the watch scope must be namespace or cluster`,
		},
		"no rights at home": {
			home: forbidding("patch secrets", cluster("uid-a")), want: "on this cluster you may not patch secrets",
		},
		"no rights at the provider": {
			away: forbidding("create serviceaccounts", cluster("uid-b")), want: "may not create serviceaccounts/token",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			home, away := tt.home, tt.away
			if home == nil {
				home = cluster("uid-a")
			}
			if away == nil {
				away = cluster("uid-b")
			}
			p := story(t, home, away, &said{})
			if tt.change != nil {
				tt.change(p)
			}
			err := p.Peer(t.Context())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a refusal that says %q", err, tt.want)
			}
			if home.writes+away.writes > 0 {
				t.Errorf("%d writes at home, %d on the provider", home.writes, away.writes)
			}
		})
	}
}

func without(kind string, s *side) *side { s.without = kind; return s }

func forbidding(right string, s *side) *side { s.forbidden = right; return s }

// bare is a cluster without our roles.
func bare(uid string) *side {
	s := cluster(uid)
	for _, object := range s.objects {
		if _, ok := object.(*corev1.Namespace); ok {
			s.objects = []client.Object{object}
		}
	}
	return s
}

func TestPeerWithFakes(t *testing.T) {
	home, away, reports := cluster("uid-a"), cluster("uid-b"), &said{}
	p := story(t, home, away, reports)
	p.NodeLabels = map[string]string{"region": "eu"}
	for range 2 { // the second time it exists already
		if err := p.Peer(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var node v1beta1.VirtualNode
	if err := p.Home.Get(t.Context(), client.ObjectKey{Namespace: "liqo-tenant-b", Name: "b"}, &node); err != nil {
		t.Fatal(err)
	}
	if node.Spec.ClusterID != "b" || node.Spec.Labels["region"] != "eu" ||
		node.Spec.KubeconfigSecretRef.Name != "kubeconfig-b" {
		t.Errorf("unexpected virtual node %+v", node.Spec)
	}
	reports.has(t, "the fence holds")
}

func TestIdentify(t *testing.T) {
	for name, tt := range map[string]struct {
		side *side
		want peering.Identity
		err  string
	}{
		"a home cluster":      {side: cluster("uid-a", idOf("a")), want: peering.Identity{ID: "a", UID: "uid-a"}},
		"a provider":          {side: cluster("uid-b"), want: peering.Identity{UID: "uid-b"}},
		"one that is no more": {side: &side{}, err: "kube-system"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := peering.Identify(t.Context(), tt.side.client(t))
			if got != tt.want || (err == nil) != (tt.err == "") ||
				(err != nil && !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}
