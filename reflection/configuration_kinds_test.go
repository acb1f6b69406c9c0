package reflection_test

import (
	"os"
	"path/filepath"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
)

// grant applies a role of the manifests, and does what Kubernetes' controller-manager, which does not run here, does
// with its label.
func (w *world) grant(c *env.Cluster, file, aggregated string) {
	w.t.Helper()
	root, err := env.RepositoryRoot()
	if err != nil {
		w.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "manifests", "components", "more-kinds", file))
	if err != nil {
		w.t.Fatal(err)
	}
	more := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(text, more); err != nil {
		w.t.Fatal(err)
	}
	w.create(c, more)
	change(w, c, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: aggregated}}, func(role *rbacv1.ClusterRole) {
		selector, err := metav1.LabelSelectorAsSelector(&role.AggregationRule.ClusterRoleSelectors[0])
		if err != nil || !selector.Matches(labels.Set(more.Labels)) {
			w.t.Errorf("%s is not added to %s: %v", file, aggregated, err)
		}
		role.Rules = append(role.Rules, more.Rules...)
	})
}

// moreKinds also shows what a kind takes: a file, a line in the list, and the rights.
func (w *world) moreKinds() {
	policy := func(namespace string) *networkingv1.NetworkPolicy {
		return &networkingv1.NetworkPolicy{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "closed"},
			Spec: networkingv1.NetworkPolicySpec{
				PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			},
		}
	}
	budget := func(namespace string) *policyv1.PodDisruptionBudget {
		return &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "two"},
			Spec: policyv1.PodDisruptionBudgetSpec{
				Selector:     &metav1.LabelSelector{MatchLabels: one("app", "web")},
				MinAvailable: ptr.To(intstr.FromInt32(2)),
			},
		}
	}
	atHome, err := w.home.Audit()
	if err != nil {
		w.t.Fatal(err)
	}
	w.under("networkpolicies=None")
	home, away := w.offload("more")
	w.create(w.home, policy(home), budget(home), configMap(home, "settings", one("a", "1")))
	eventually(w, configMap(away, "settings", nil), at(away, "settings"), "created", is("a", "1"))
	w.settled()
	agents := func(user string, _ bool) bool { return strings.HasSuffix(user, ":"+v1beta1.AgentServiceAccount) }
	for _, did := range w.audited(atHome, agents) {
		if strings.Contains(did, " networkpolicies/") || strings.Contains(did, " poddisruptionbudgets/") {
			w.t.Errorf("a kind that is off is looked at: %s", did)
		}
	}

	w.grant(w.home, "home.yaml", v1beta1.OffloadedNamespaceRole)
	w.grant(w.away, "provider.yaml", v1beta1.TwinRole)
	w.under("networkpolicies=DenyList,poddisruptionbudgets=DenyList")
	w.mirror.TwinReady(home, away)
	closed, two := policy(home), budget(home)
	eventually(w, &networkingv1.NetworkPolicy{}, at(away, "closed"), "created", there)
	eventually(w, &policyv1.PodDisruptionBudget{}, at(away, "two"), "created", there)
	change(w, w.home, two, func(b *policyv1.PodDisruptionBudget) { b.Spec.MinAvailable = ptr.To(intstr.FromInt32(1)) })
	isOne := func(b *policyv1.PodDisruptionBudget) bool { return b.Spec.MinAvailable.IntValue() == 1 }
	eventually(w, &policyv1.PodDisruptionBudget{}, at(away, "two"), "changed", isOne)
	w.delete(w.home, closed, two)
	w.eventuallyGone(&networkingv1.NetworkPolicy{}, away, "closed")
	w.eventuallyGone(&policyv1.PodDisruptionBudget{}, away, "two")
}
