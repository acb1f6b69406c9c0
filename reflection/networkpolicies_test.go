package reflection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestMirrorNetworkPolicy(t *testing.T) {
	front := metav1.LabelSelector{MatchLabels: map[string]string{"tier": "front"}}
	full := networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"tier": "db"}},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		Ingress: []networkingv1.NetworkPolicyIngressRule{{
			From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &front}},
			Ports: []networkingv1.NetworkPolicyPort{{EndPort: ptr.To[int32](99)}},
		}},
		Egress: []networkingv1.NetworkPolicyEgressRule{{
			To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8"}}},
		}},
	}
	denied := networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}}
	for name, tc := range map[string]struct {
		there, home networkingv1.NetworkPolicySpec
	}{
		"a new one is home's":          {networkingv1.NetworkPolicySpec{}, full},
		"what home took away goes":     {full, denied},
		"what home added is there too": {denied, full},
	} {
		t.Run(name, func(t *testing.T) {
			src := &networkingv1.NetworkPolicy{Spec: tc.home}
			dst := &networkingv1.NetworkPolicy{Spec: *tc.there.DeepCopy()}
			NetworkPolicies().Mirror(dst, src)
			if diff := cmp.Diff(tc.home, dst.Spec); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestNetworkPoliciesAreOff(t *testing.T) {
	if got := NetworkPolicies().Policy; got != PolicyNone {
		t.Errorf("their policy is %q", got)
	}
}
