package main

import (
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
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

func TestSelector(t *testing.T) {
	in, notIn, exists, not := corev1.NodeSelectorOpIn, corev1.NodeSelectorOpNotIn, corev1.NodeSelectorOpExists,
		corev1.NodeSelectorOpDoesNotExist
	one := func(key string, op corev1.NodeSelectorOperator, values ...string) corev1.NodeSelectorRequirement {
		return corev1.NodeSelectorRequirement{Key: key, Operator: op, Values: values}
	}
	type term = []corev1.NodeSelectorRequirement
	tests := map[string]struct {
		selectors []string
		want      []term
		wantErr   string
	}{
		"none picks every virtual node": {want: []term{{one("liqo.io/type", in, "virtual-node")}}},
		"commas mean and": {
			selectors: []string{"a=b,c=d"}, want: []term{{one("a", in, "b"), one("c", in, "d")}},
		},
		"repeating means or": {
			selectors: []string{"a=b,c=d", "e=f"},
			want:      []term{{one("a", in, "b"), one("c", in, "d")}, {one("e", in, "f")}},
		},
		"two equal signs": {selectors: []string{"a==b"}, want: []term{{one("a", in, "b")}}},
		"unequal":         {selectors: []string{"a!=b"}, want: []term{{one("a", notIn, "b")}}},
		"sets": {
			selectors: []string{"a in (c,b),d notin (e)"}, want: []term{{one("a", in, "b", "c"), one("d", notIn, "e")}},
		},
		"existence": {selectors: []string{"a,!b"}, want: []term{{one("a", exists), one("b", not)}}},
		"numbers": {
			selectors: []string{"a>1,b<2"}, want: []term{{one("a", "Gt", "1"), one("b", "Lt", "2")}},
		},
		"a prefix": {
			selectors: []string{"liqo.io/provider=x"}, want: []term{{one("liqo.io/provider", in, "x")}},
		},
		"an empty value":      {selectors: []string{"a="}, want: []term{{one("a", in, "")}}},
		"nothing":             {selectors: []string{""}, wantErr: "it is empty"},
		"spaces":              {selectors: []string{"  "}, wantErr: "it is empty"},
		"a key that is none":  {selectors: []string{"a/b/c=d"}, wantErr: "a/b/c"},
		"a value that is not": {selectors: []string{"a=x y"}, wantErr: "found 'y'"},
		"not a number":        {selectors: []string{"a>b"}, wantErr: "must be an integer"},
		"one of two is bad":   {selectors: []string{"a=b", "c in"}, wantErr: `--selector "c in"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := clusterSelector(tt.selectors)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) || !errors.As(err, new(usageError)) {
					t.Errorf("got %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var terms []term
			for _, term := range got.NodeSelectorTerms {
				terms = append(terms, term.MatchExpressions)
			}
			if diff := cmp.Diff(tt.want, terms); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestOffloadPrints(t *testing.T) {
	tests := map[string][]string{
		"default.yaml": {"-o", "yaml"},
		"default.json": {"-o", "json"},
		"selected.yaml": {
			"-o", "yaml", "--pod-offloading-strategy", "Remote", "--namespace-mapping-strategy", "SelectedName",
			"--remote-namespace-name", "boutique", "-l", "a=b,c in (d,e)", "-l", "!f",
		},
	}
	for name, flags := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			code, out, errOut := s.run(append([]string{"offload", "namespace", "shop"}, flags...)...)
			if code != exitDone || errOut != "" || len(s.applied) > 0 {
				t.Errorf("exit code %d, %q, %d writes", code, errOut, len(s.applied))
			}
			golden(t, name, out)
		})
	}
}

// TestOffloadAppliesWhatItPrints: the very bytes.
func TestOffloadAppliesWhatItPrints(t *testing.T) {
	args := []string{"offload", "namespace", "shop", "--pod-offloading-strategy", "Local", "-l", "a=b"}
	s := newStage(t, build.Namespace("shop").Obj())
	s.status = offloadedOn(v1beta1.PhaseReady, map[string]v1beta1.ClusterCondition{"b": twinReady, "c": twinReady})
	code, out, errOut := s.run(args...)
	want := "... namespace shop is offloaded with strategy Local; its twins are called shop-a\n" +
		"... ready on b, c\ndone: namespace shop is offloaded\n"
	if diff := cmp.Diff(want, errOut); code != exitDone || out != "" || diff != "" {
		t.Errorf("exit code %d, output %q (-want,+got):\n%s", code, out, diff)
	}
	_, printed, _ := s.run(append(args, "-o", "yaml")...)
	if len(s.applied) != 1 || string(s.applied[0]) != printed {
		t.Errorf("applied %q, printed %q", s.applied, printed)
	}
	_, printed, _ = s.run(append(args, "-o", "json")...)
	asJSON, err := yaml.YAMLToJSON(s.applied[0])
	if err != nil {
		t.Fatal(err)
	}
	var a, b any
	if err := errors.Join(json.Unmarshal(asJSON, &a), json.Unmarshal([]byte(printed), &b)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("JSON differs from YAML:\n%s", diff)
	}
}

func TestOffloadOutcomes(t *testing.T) {
	tests := map[string]struct {
		status v1beta1.NamespaceOffloadingStatus
		code   int
		want   string
	}{
		"no cluster": {
			status: offloadedOn(v1beta1.PhaseNoClusterSelected, nil), code: exitDone,
			want: "warning: no cluster matches the selector of namespace shop; one that does later is used by itself\n",
		},
		"all failed": {
			status: offloadedOn(v1beta1.PhaseAllFailed, map[string]v1beta1.ClusterCondition{"b": twinFailed}),
			code:   exitFailed,
			want: "error: namespace shop is not offloaded everywhere (AllFailed): " +
				"b: CreationLoopBackOff, namespace shop-a is not ours\n",
		},
		"some failed": {
			status: offloadedOn(v1beta1.PhaseSomeFailed, map[string]v1beta1.ClusterCondition{
				"b": twinFailed, "c": twinReady,
			}), code: exitFailed,
			want: "error: namespace shop is not offloaded everywhere (SomeFailed): " +
				"b: CreationLoopBackOff, namespace shop-a is not ours\n",
		},
		"terminating": {
			status: offloadedOn(v1beta1.PhaseTerminating, nil), code: exitFailed,
			want: "error: namespace shop is being un-offloaded: " +
				"no cluster has answered yet; repeat this when it is\n",
		},
		"in progress for too long": {
			status: offloadedOn(v1beta1.PhaseInProgress, map[string]v1beta1.ClusterCondition{
				"b": {Status: "False", Reason: "Creating"},
			}), code: exitFailed,
			want: "... waiting for twins: b: Creating\nerror: namespace shop is not ready after 500ms: " +
				"waiting for twins: b: Creating; it goes on by itself, see liqoctl info\n",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, build.Namespace("shop").Obj())
			s.status = tt.status
			code, _, errOut := s.run("offload", "namespace", "shop", "--timeout", "500ms")
			_, errOut, _ = strings.Cut(errOut, "\n") // that it was applied
			if diff := cmp.Diff(tt.want, errOut); code != tt.code || diff != "" {
				t.Errorf("exit code %d (-want,+got):\n%s", code, diff)
			}
		})
	}
}

func TestOffloadUpdates(t *testing.T) {
	s := newStage(t, build.Namespace("shop").Obj(), build.Offloading("shop").Obj())
	s.status = offloadedOn(v1beta1.PhaseReady, map[string]v1beta1.ClusterCondition{"b": twinReady})
	code, _, errOut := s.run("offload", "namespace", "shop", "--pod-offloading-strategy", "Remote", "-l", "a=b")
	if code != exitDone || !strings.HasPrefix(errOut,
		"... the pod strategy changes from LocalAndRemote to Remote\n"+
			"... the clusters change from liqo.io/type in (virtual-node) to a in (b)\n") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	var off v1beta1.NamespaceOffloading
	if err := s.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "offloading"}, &off); err != nil {
		t.Fatal(err)
	}
	want := build.Offloading("shop").Strategy(v1beta1.Remote).Selector(build.Selector("a", "b")).Obj().Spec
	if diff := cmp.Diff(want, off.Spec); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

// TestOffloadRefusals: nothing is applied.
func TestOffloadRefusals(t *testing.T) {
	long := strings.Repeat("n", 63)
	dying := build.Namespace("shop").Obj()
	at := metav1.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	dying.DeletionTimestamp, dying.Finalizers = &at, []string{"kubernetes.io/x"}
	tests := map[string]struct {
		objects []client.Object
		args    []string
		refusal error
		want    string
	}{
		"a namespace that does not exist": {args: []string{"shop"}, want: "kubectl create namespace shop"},
		"a namespace that is going": {
			objects: []client.Object{dying}, args: []string{"shop"}, want: "is being deleted",
		},
		"a twin's name that is too long": {
			objects: []client.Object{build.Namespace(long).Obj()}, args: []string{long},
			want: "65 characters, the limit is 63",
		},
		"a twin's name that is reserved": {
			objects: []client.Object{build.Namespace("shop").Obj()}, want: `"kube-x" is reserved`,
			args: []string{"shop", "--namespace-mapping-strategy", "SelectedName", "--remote-namespace-name", "kube-x"},
		},
		"a system namespace": {
			args: []string{"kube-system"},
			want: "system namespaces may not be offloaded, and kube-system is one: offload a namespace of yours",
		},
		"a system namespace, printed": {
			args: []string{"liqo-tenant-x", "-o", "yaml"}, want: "system namespaces may not be offloaded",
		},
		"the API server's own words": {
			objects: []client.Object{build.Namespace("shop").Obj()}, args: []string{"shop"},
			refusal: errors.New("spec.namespaceMappingStrategy: Forbidden: namespaceMappingStrategy is immutable"),
			want: "offload namespace shop: " +
				"spec.namespaceMappingStrategy: Forbidden: namespaceMappingStrategy is immutable",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, tt.objects...)
			s.refusal = tt.refusal
			code, _, errOut := s.run(append([]string{"offload", "namespace"}, tt.args...)...)
			if code != exitFailed || !strings.Contains(errOut, tt.want) || strings.Count(errOut, "\n") != 1 {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			if len(s.applied) > 0 {
				t.Error("something was applied")
			}
		})
	}
}
