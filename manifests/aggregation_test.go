package manifests_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/twinspace/twinspace/e2e/env"
)

// rulesOf, on a ClusterRole, names the one whose rules it has as well.
const rulesOf = "offloading.liqo.io/rules-of"

// TestAggregatedRolesKeepTheirOwnRules: where Kubernetes aggregates a role, it replaces its rules by those of the roles
// that are selected. One of them has to have what we ship, whoever applies it.
func TestAggregatedRolesKeepTheirOwnRules(t *testing.T) {
	for dir, name := range map[string]string{"base": "liqo-offloaded-namespace", "provider": "liqo-twin"} {
		for how, objects := range map[string][]*unstructured.Unstructured{
			"liqoctl": objects(t, dir), "kubectl apply -k": kustomized(t, dir),
		} {
			roles := map[string]rbacv1.ClusterRole{}
			for _, object := range objects {
				if object.GetKind() == "ClusterRole" {
					var role rbacv1.ClusterRole
					if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &role); err != nil {
						t.Fatal(err)
					}
					roles[role.Name] = role
				}
			}
			whole, base := roles[name], roles[name+"-base"]
			if len(whole.Rules) == 0 || whole.AggregationRule == nil {
				t.Fatalf("%s of %s: %s is not what it should be: %+v", how, dir, name, whole)
			}
			selector, err := metav1.LabelSelectorAsSelector(&whole.AggregationRule.ClusterRoleSelectors[0])
			if err != nil {
				t.Fatal(err)
			}
			if !selector.Matches(labels.Set(base.Labels)) {
				t.Errorf("%s of %s: %s selects %s, not %v", how, dir, name, selector, base.Labels)
			}
			if diff := cmp.Diff(whole.Rules, base.Rules); diff != "" {
				t.Errorf("%s of %s: rules of %s (-role,+base)\n%s", how, dir, name, diff)
			}
		}
	}
}

// kustomized returns what kubectl makes of a folder.
func kustomized(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	root, err := env.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	cmd := &exec.Cmd{
		Path: filepath.Join(root, "bin", "playground"), Stdout: &out, Stderr: &errOut,
		Args: []string{"kubectl", "--kubeconfig", none, "kustomize", dir},
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("kubectl kustomize %s: %v\n%s", dir, err, errOut.String())
	}
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(&out, 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
			return objects
		} else if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, object)
	}
}
