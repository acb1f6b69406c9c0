package manifests_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
)

// watchable returns what may be watched by some rules, as "resource.group", with other verbs as a mistake.
func watchable(t *testing.T, rules []rbacv1.PolicyRule, only bool) []string {
	t.Helper()
	var out []string
	for _, rule := range rules {
		if !slices.Contains(rule.Verbs, "watch") {
			continue
		}
		if want := []string{"list", "watch"}; only && !slices.Equal(rule.Verbs, want) {
			t.Errorf("%v: the verbs are %v, want %v", rule.Resources, rule.Verbs, want)
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				out = append(out, resource+"."+group)
			}
		}
	}
	slices.Sort(out)
	return out
}

// TestWideScope: whoever may watch all namespaces sees in them what others see in offloaded ones, and no Secret.
func TestWideScope(t *testing.T) {
	for name, c := range map[string]struct{ dir, narrow, wide string }{
		"of an agent at home": {
			"base", "ClusterRole liqo-offloaded-namespace", "ClusterRole liqo-virtual-kubelet-cluster",
		},
		"of a consumer away": {"provider", "ClusterRole liqo-twin", "ClusterRole liqo-peer-cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			roles := rules(t, c.dir)
			want := watchable(t, roles[c.narrow], false)
			if !slices.Contains(want, "secrets.") {
				t.Fatalf("%s has no Secrets: %v", c.narrow, want)
			}
			want = slices.DeleteFunc(want, func(resource string) bool { return resource == "secrets." })
			if diff := cmp.Diff(want, watchable(t, roles[c.wide], true)); diff != "" {
				t.Errorf("%s (-want,+got):\n%s", c.wide, diff)
			}
		})
	}
}
