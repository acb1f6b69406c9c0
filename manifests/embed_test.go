package manifests_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/manifests"
)

var update = flag.Bool("update", false, "write the golden file anew")

// objects returns what a folder holds.
func objects(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	out, err := manifests.Objects(dir)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestObjects(t *testing.T) {
	for _, dir := range []string{"crd", "base", "provider"} {
		seen := map[string]bool{}
		for _, o := range objects(t, dir) {
			key := o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
			if o.GetKind() == "" || o.GetName() == "" || o.GetKind() == "Kustomization" || seen[key] {
				t.Errorf("unexpected object %q in %s", key, dir)
			}
			seen[key] = true
		}
		if len(seen) == 0 {
			t.Errorf("no object in %s", dir)
		}
	}
	if first := objects(t, "base")[0]; first.GetKind() != "Namespace" {
		t.Errorf("base begins with a %s, not with the namespace of the others", first.GetKind())
	}
	if _, err := manifests.Objects("nowhere"); err == nil {
		t.Error("a folder that does not exist was read")
	}
}

// TestKustomizationsAreComplete: kubectl apply -k applies every file that the binaries carry.
func TestKustomizationsAreComplete(t *testing.T) {
	for _, dir := range []string{"crd", "base", "provider"} {
		content, err := manifests.Files.ReadFile(path.Join(dir, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var listed struct{ Resources []string }
		if err := yaml.Unmarshal(content, &listed); err != nil {
			t.Fatal(err)
		}
		var there []string
		entries, err := fs.ReadDir(manifests.Files, dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if entry.Name() != "kustomization.yaml" {
				there = append(there, entry.Name())
			}
		}
		slices.Sort(listed.Resources)
		if diff := cmp.Diff(there, listed.Resources); diff != "" {
			t.Errorf("%s (-files,+kustomization):\n%s", dir, diff)
		}
	}
}

// rules returns the rules of every role of a folder, as typed objects.
func rules(t *testing.T, dir string) map[string][]rbacv1.PolicyRule {
	t.Helper()
	out := map[string][]rbacv1.PolicyRule{}
	for _, o := range objects(t, dir) {
		if o.GetKind() != "ClusterRole" && o.GetKind() != "Role" || o.GetAnnotations()[rulesOf] != "" {
			continue
		}
		var role rbacv1.ClusterRole // a Role has the same rules
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role); err != nil {
			t.Fatal(err)
		}
		out[o.GetKind()+" "+role.Name] = role.Rules
	}
	return out
}

// TestRoles compares with testdata/roles.txt: a right that comes or goes is seen in review.
func TestRoles(t *testing.T) {
	var lines []string
	for _, dir := range []string{"base", "provider"} {
		for role, rules := range rules(t, dir) {
			for _, rule := range rules {
				lines = append(lines, sentences(role, rule)...)
			}
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	const file = "testdata/roles.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want,+got):\n%s", file, diff)
	}
}

func sentences(role string, rule rbacv1.PolicyRule) []string {
	var out []string
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			name := resource
			if group != "" {
				name += "." + group
			}
			line := fmt.Sprintf("%s: %s: %s", role, name, strings.Join(rule.Verbs, ","))
			if len(rule.ResourceNames) > 0 {
				line += " of " + strings.Join(rule.ResourceNames, ",")
			}
			out = append(out, line)
		}
	}
	return out
}

// TestNoRoleIsTooWide: what no role of ours may ever say.
func TestNoRoleIsTooWide(t *testing.T) {
	// Roles that are bound for a whole cluster may not read its secrets.
	wide := []string{"ClusterRole liqo-controller-manager", "ClusterRole liqo-virtual-kubelet", "ClusterRole liqo-peer",
		"ClusterRole liqo-scheduler", "ClusterRole liqo-offloading-edit", "ClusterRole liqo-offloading-view"}
	for _, dir := range []string{"base", "provider"} {
		for role, rules := range rules(t, dir) {
			for _, rule := range rules {
				everything := slices.Concat(rule.APIGroups, rule.Resources, rule.Verbs, rule.ResourceNames)
				for _, word := range []string{"*", "escalate", "impersonate", "deletecollection"} {
					if slices.Contains(everything, word) {
						t.Errorf("%s says %s: %v", role, word, rule)
					}
				}
				if slices.Contains(rule.Resources, "secrets") && slices.Contains(wide, role) {
					t.Errorf("%s reaches the secrets of every namespace", role)
				}
				if slices.Contains(rule.Verbs, "bind") && len(rule.ResourceNames) != 1 {
					t.Errorf("%s may bind any role", role)
				}
			}
		}
	}
}

// TestRuntimeClass: the class brings what the code calls it.
func TestRuntimeClass(t *testing.T) {
	for _, o := range objects(t, "base") {
		if o.GetKind() != "RuntimeClass" {
			continue
		}
		handler, _, _ := unstructured.NestedString(o.Object, "handler")
		selector, _, _ := unstructured.NestedStringMap(o.Object, "scheduling", "nodeSelector")
		tolerations, _, _ := unstructured.NestedSlice(o.Object, "scheduling", "tolerations")
		want := v1beta1.Toleration()
		wantTolerations := []any{map[string]any{
			"key": want.Key, "operator": string(want.Operator), "value": want.Value, "effect": string(want.Effect),
		}}
		got := []any{o.GetName(), handler, selector, tolerations}
		wanted := []any{
			v1beta1.RuntimeClass, v1beta1.RuntimeClass,
			map[string]string{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual}, wantTolerations,
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("(-want,+got):\n%s", diff)
		}
		return
	}
	t.Error("there is no RuntimeClass")
}
