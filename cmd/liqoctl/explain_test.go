package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// noon is when everything happens.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// staged is a cluster with five ordinary nodes and two providers, of which one is selected and ready, a pod that waits
// and one that runs.
func staged(t *testing.T) *stage {
	t.Helper()
	objects := []client.Object{
		build.Namespace("shop").Obj(),
		build.Offloading("shop").Strategy(v1beta1.Remote).Phase(v1beta1.PhaseReady).
			Selector(build.Selector("region", "eu")).Obj(),
		build.Map("b").Has("shop", "shop-a", v1beta1.MappingAccepted).Obj(),
		build.VirtualNodesNode(build.VirtualNode("b", "b", "region", "eu")),
		build.VirtualNodesNode(build.VirtualNode("c", "c", "region", "us")),
		&nodev1.RuntimeClass{
			ObjectMeta: metav1.ObjectMeta{Name: "liqo"}, Handler: "liqo",
			Scheduling: &nodev1.Scheduling{
				NodeSelector: map[string]string{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual},
			},
		},
	}
	for n := range 5 {
		objects = append(objects, build.Node(fmt.Sprintf("node-%d", n+1)))
	}
	waiting := build.Pod("web").Namespace("shop").NodeSelector("disk", "ssd").Obj()
	waiting.Status.Conditions = []corev1.PodCondition{{
		Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/7 nodes are available: ...",
	}}
	running := build.Pod("old").Namespace("shop").Node("node-1").Phase(corev1.PodRunning).Obj()
	return newStage(t, append(objects, waiting, running)...)
}

func TestExplainPrints(t *testing.T) {
	const file = `apiVersion: apps/v1
kind: Deployment
metadata: {name: front}
spec: {template: {spec: {runtimeClassName: liqo, containers: [{name: a, image: b}]}}}
---
apiVersion: v1
kind: Pod
metadata: {name: back, namespace: shop}
spec: {containers: [{name: a, image: b}]}
`
	for name, args := range map[string][]string{
		"explain-pending.txt":        {"pod", "web", "-n", "shop"},
		"explain-pending.yaml":       {"pod", "web", "-n", "shop", "-o", "yaml"},
		"explain-running.txt":        {"pod", "old", "-n", "shop", "--all-nodes"},
		"explain-file.txt":           {"pod", "-f", "-", "-n", "shop"},
		"explain-file.json":          {"pod", "-f", "-", "-n", "shop", "-o", "json"},
		"explain-namespace.txt":      {"namespace", "shop"},
		"explain-namespace-liqo.txt": {"namespace", "shop", "--runtime-class", "liqo"},
	} {
		t.Run(name, func(t *testing.T) {
			s := staged(t)
			s.typed = file
			code, out, errOut := s.run(append([]string{"explain"}, args...)...)
			if code != exitDone || errOut != "" || len(s.applied)+len(s.deleted) > 0 {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			golden(t, name, out)
		})
	}
}

func TestExplainPicksOneOfAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pods.yaml")
	const text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: b}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, errOut := staged(t).run("explain", "pod", "b", "-n", "shop", "-f", file)
	if code != exitDone || !strings.HasPrefix(out, "Pod shop/b, if created,") || strings.Contains(out, "shop/a") {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
}

// TestExplainRefusals: one line, what and what to do.
func TestExplainRefusals(t *testing.T) {
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop}\n"
	for name, test := range map[string]struct {
		args []string
		file string
		code int
		want string
	}{
		"no pod named": {args: []string{"pod"}, code: exitUsage, want: "NAME is missing; see liqoctl explain pod " +
			"--help"},
		"two pods named": {
			args: []string{"pod", "a", "b", "-f", "-"}, code: exitUsage, want: `unexpected argument "b"`,
		},
		"a bad output": {
			args: []string{"pod", "web", "-o", "wide"}, code: exitUsage, want: "use yaml or json",
		},
		"a bad output of a namespace": {
			args: []string{"namespace", "shop", "-o", "wide"}, code: exitUsage, want: "use yaml or json",
		},
		"no namespace named": {args: []string{"namespace"}, code: exitUsage, want: "NAME is missing"},
		"what can be explained": {
			args: []string{"node", "x"}, code: exitUsage, want: `unknown command "node"; see liqoctl explain --help`,
		},
		"two namespaces at once": {
			args: []string{"pod", "-f", "-", "-n", "bank"}, file: pod, code: exitUsage,
			want: "standard input says that the namespace is shop, --namespace says bank: leave one out",
		},
		"a pod that does not exist": {
			args: []string{"pod", "x", "-n", "shop"}, code: exitFailed,
			want: `there is no pod "x" in namespace shop: name another with --namespace`,
		},
		"a pod of the default namespace, which does not exist here": {
			args: []string{"pod", "x"}, code: exitFailed, want: `there is no namespace "default"`,
		},
		"a pod of a namespace that does not exist": {
			args: []string{"pod", "x", "-n", "bank"}, code: exitFailed,
			want: `there is no namespace "bank": create it first with kubectl create namespace bank`,
		},
		"a namespace that does not exist": {
			args: []string{"namespace", "bank"}, code: exitFailed, want: `there is no namespace "bank"`,
		},
		"a class that does not exist": {
			args: []string{"namespace", "shop", "--runtime-class", "x"}, code: exitFailed,
			want: `there is no RuntimeClass "x": kubectl get runtimeclasses lists those there are`,
		},
		"a file that does not exist": {
			args: []string{"pod", "-f", "/nowhere.yaml"}, code: exitFailed, want: "/nowhere.yaml: no such file",
		},
		"a file without a pod": {
			args: []string{"pod", "-f", "-"}, file: "apiVersion: v1\nkind: Service\n", code: exitFailed,
			want: "read standard input: it has no pod, but a Service: give a Pod, Deployment",
		},
		"a file that is no YAML": {
			args: []string{"pod", "-f", "-"}, file: "a: [", code: exitFailed, want: "read standard input: document " +
				"1: yaml: ",
		},
		"a file without that pod": {
			args: []string{"pod", "b", "-f", "-"}, file: pod, code: exitFailed,
			want: `standard input has no pod called "b"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := staged(t)
			s.typed = test.file
			code, out, errOut := s.run(append([]string{"explain"}, test.args...)...)
			line := strings.Count(errOut, "\n") == 1 && strings.Contains(errOut, test.want)
			if code != test.code || out != "" || !line {
				t.Errorf("exit code %d: %q %q", code, out, errOut)
			}
		})
	}
}

// Errors that are no missing right are not taken for one.
func TestExplainFailsWhereTheClusterDoes(t *testing.T) {
	for name, fails := range map[string]struct {
		get  client.Object
		list client.ObjectList
		args []string
	}{
		"namespace":  {get: &corev1.Namespace{}, args: []string{"namespace", "shop"}},
		"offloading": {get: &v1beta1.NamespaceOffloading{}, args: []string{"namespace", "shop"}},
		"pod":        {get: &corev1.Pod{}, args: []string{"pod", "web", "-n", "shop"}},
		"class":      {get: &nodev1.RuntimeClass{}, args: []string{"namespace", "shop", "--runtime-class", "liqo"}},
		"nodes":      {list: &corev1.NodeList{}, args: []string{"namespace", "shop"}},
		"maps":       {list: &v1beta1.NamespaceMapList{}, args: []string{"pod", "web", "-n", "shop"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := staged(t)
			s.client = failing(s.client, apierrors.NewInternalError(fmt.Errorf("etcd is full")), fails.get, fails.list)
			code, out, errOut := s.run(append([]string{"explain"}, fails.args...)...)
			if code != exitFailed || out != "" || !strings.Contains(errOut, "etcd is full") {
				t.Errorf("exit code %d: %q %q", code, out, errOut)
			}
		})
	}
}

// What may not be read is named with its right, and never taken for something that is not there.
func TestExplainNamesTheMissingRight(t *testing.T) {
	for right, fails := range map[string]struct {
		get  client.Object
		list client.ObjectList
	}{
		"get namespaces": {get: &corev1.Namespace{}},
		"get namespaceoffloadings.offloading.liqo.io": {get: &v1beta1.NamespaceOffloading{}},
		"get runtimeclasses.node.k8s.io":              {get: &nodev1.RuntimeClass{}},
		"list nodes":                                  {list: &corev1.NodeList{}},
		"list namespacemaps.offloading.liqo.io":       {list: &v1beta1.NamespaceMapList{}},
	} {
		t.Run(right, func(t *testing.T) {
			s := staged(t)
			s.client = failing(s.client, apierrors.NewForbidden(schema.GroupResource{}, "", nil), fails.get, fails.list)
			code, out, errOut := s.run("explain", "namespace", "shop", "--runtime-class", "liqo")
			if code != exitDone || !strings.Contains(out, "  - you may not "+right+"\n") {
				t.Errorf("exit code %d: %s%s", code, out, errOut)
			}
		})
	}
}

// Whether our scheduler runs beside another is seen by its lease, as long as somebody holds it.
func TestExplainKnowsALeaseThatWasLeftOver(t *testing.T) {
	held := func(by string, ago time.Duration) coordinationv1.LeaseSpec {
		return coordinationv1.LeaseSpec{HolderIdentity: &by, RenewTime: &metav1.MicroTime{Time: noon.Add(-ago)}}
	}
	for name, tc := range map[string]struct {
		lease *coordinationv1.LeaseSpec
		want  bool
	}{
		"no lease":                               {},
		"one that is held":                       {lease: ptr.To(held("a", time.Second)), want: true},
		"one that is held by a clock that leads": {lease: ptr.To(held("a", -time.Minute)), want: true},
		"one that was given up":                  {lease: ptr.To(held("", time.Second))},
		"one whose holder is gone for long":      {lease: ptr.To(held("a", time.Hour))},
		"one that nobody ever held":              {lease: &coordinationv1.LeaseSpec{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := staged(t)
			if tc.lease != nil {
				lease := &coordinationv1.Lease{Spec: *tc.lease}
				lease.Namespace, lease.Name = metav1.NamespaceSystem, v1beta1.SchedulerName
				if err := s.client.Create(t.Context(), lease); err != nil {
					t.Fatal(err)
				}
			}
			_, out, errOut := s.run("explain", "pod", "web", "-n", "shop")
			if !strings.HasPrefix(out, "Pod shop/web is pending") {
				t.Fatalf("%s%s", out, errOut)
			}
			if got := strings.Contains(out, "beside which ours runs here"); got != tc.want {
				t.Errorf("beside another: %v, want %v:\n%s", got, tc.want, out)
			}
		})
	}
}

// A right that one pod of a file lacks is not missing for the next.
func TestExplainNamesAMissingRightOnlyWhereItMatters(t *testing.T) {
	s := staged(t)
	forbidden := apierrors.NewForbidden(schema.GroupResource{}, "", nil)
	s.client = failing(s.client, forbidden, &nodev1.RuntimeClass{}, nil)
	const pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s, namespace: shop}\nspec: {%s}\n---\n"
	s.typed = fmt.Sprintf(pod, "a", "runtimeClassName: liqo") + fmt.Sprintf(pod, "b", "")
	code, out, errOut := s.run("explain", "pod", "-f", "-")
	first, second, both := strings.Cut(out, "Pod shop/b,")
	const right = "you may not get runtimeclasses.node.k8s.io"
	if code != exitDone || !both || !strings.Contains(first, right) || strings.Contains(second, right) {
		t.Errorf("exit code %d: %s%s", code, out, errOut)
	}
}

func failing(c client.Client, err error, get client.Object, list client.ObjectList) client.Client {
	of := func(a, b any) bool { return fmt.Sprintf("%T", a) == fmt.Sprintf("%T", b) }
	return interceptor.NewClient(c.(client.WithWatch), interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object,
			opts ...client.GetOption,
		) error {
			if of(o, get) {
				return err
			}
			return c.Get(ctx, key, o, opts...)
		},
		List: func(ctx context.Context, c client.WithWatch, o client.ObjectList, opts ...client.ListOption) error {
			if of(o, list) {
				return err
			}
			return c.List(ctx, o, opts...)
		},
	})
}
