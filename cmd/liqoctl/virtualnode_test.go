package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestUsageOfNodes(t *testing.T) {
	create := func(args ...string) []string {
		return append([]string{"create", "virtualnode", "vn", "--remote-cluster-id", "b"}, args...)
	}
	tests := map[string]struct {
		args []string
		want string
	}{
		"cordon what":        {[]string{"cordon"}, "NODE is missing"},
		"cordon two":         {[]string{"cordon", "a", "b"}, `unexpected argument "b"`},
		"uncordon what":      {[]string{"uncordon"}, "NODE is missing"},
		"drain what":         {[]string{"drain"}, "NODE is missing"},
		"drain without time": {[]string{"drain", "vn", "--timeout", "0s"}, "more than 0"},
		"cordon nothing":     {[]string{"cordon", ""}, "NODE is empty; see liqoctl cordon --help"},
		"drain with less than no grace": {
			[]string{"drain", "vn", "--grace-period", "-5s"},
			"--grace-period must not be less than 0",
		},
		"drain with a bad grace": {[]string{"drain", "vn", "--grace-period", "5"}, "missing unit"},
		"create what": {
			[]string{"create", "node"},
			`unknown command "node"; see liqoctl create --help`,
		},
		"create without a name": {[]string{"create", "virtualnode"}, "NAME is missing"},
		"create of whom":        {[]string{"create", "virtualnode", "vn"}, "--remote-cluster-id is missing"},
		"create of no cluster": {
			[]string{"create", "virtualnode", "vn", "--remote-cluster-id", "B!"},
			"--remote-cluster-id: ",
		},
		"a name that is none": {
			[]string{"create", "virtualnode", "Vn", "--remote-cluster-id", "b"},
			`"Vn" cannot be a node`,
		},
		"a name that is no label": {
			[]string{"create", "virtualnode", strings.Repeat("n", 64), "--remote-cluster-id", "b"},
			"cannot be a node: must be no more than 63",
		},
		"CPUs that are none":            {create("--cpu", "many"), `--cpu "many" is no amount: write one`},
		"memory that is less than none": {create("--memory", "-1Gi"), `--memory "-1Gi": must not be less than 0`},
		"a label that is none":          {create("--label", "x"), `--label "x": write key=value`},
		"labels that are none":          {create("--labels", "x"), "x must be formatted as key=value"},
		"a label with a bad key":        {create("--label", "a/b/c=d"), `label "a/b/c": `},
		"a label with a bad value":      {create("--label", "a=x y"), `label a="x y": `},
		"a label that a Node has anyway": {
			create("--label", "liqo.io/type=x"),
			`label liqo.io/type="x": this node always has liqo.io/type=virtual-node`,
		},
		"a label that tells of another provider": {
			create("--labels", "liqo.io/remote-cluster-id=c"), "this node always has liqo.io/remote-cluster-id=b",
		},
		"no time":                    {create("--timeout", "0s"), "more than 0"},
		"a bad output":               {create("-o", "wide"), `unknown output format "wide"`},
		"delete without a name":      {[]string{"delete", "virtualnode"}, "NAME is missing"},
		"delete without time":        {[]string{"delete", "virtualnode", "vn", "--timeout", "0s"}, "more than 0"},
		"delete without being asked": {[]string{"delete", "virtualnode", "vn"}, "repeat with --skip-confirm"},
		"drain without being asked":  {[]string{"drain", "vn"}, "repeat with --skip-confirm"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			vn := build.VirtualNode("vn", "b")
			s := newStage(t, vn, build.VirtualNodesNode(vn))
			code, out, errOut := s.run(tt.args...)
			line := strings.HasPrefix(errOut, "error: ") && strings.Count(errOut, "\n") == 1
			if code != exitUsage || out != "" || !line || !strings.Contains(errOut, tt.want) {
				t.Errorf("exit code %d, output %q, got %q, want one line with %q", code, out, errOut, tt.want)
			}
			if len(s.applied)+len(s.deleted) > 0 {
				t.Error("something was written")
			}
		})
	}
}

func TestTheManifestOfAVirtualNode(t *testing.T) {
	for file, args := range map[string][]string{
		"virtualnode.yaml": {"--output", "yaml"},
		"virtualnode-all.yaml": {
			"-o", "yaml", "--kubeconfig-secret-name", "other", "--create-node=false", "--disable-network-check",
			"--cpu", "4", "--memory", "8Gi", "--pods", "30", "--label", "tier=gold", "--labels", "a=b,c=d",
			"--storage-classes", "fast,slow", "--ingress-classes", "nginx", "--load-balancer-classes", "public",
			"--node-selector", "pool=batch", "--runtime-class-name", "gvisor",
		},
	} {
		t.Run(file, func(t *testing.T) {
			s := newStage(t)
			args = append([]string{"create", "virtualnode", "vn", "--remote-cluster-id", "b"}, args...)
			code, out, errOut := s.run(args...)
			if code != exitDone || errOut != "" || len(s.applied) > 0 {
				t.Fatalf("exit code %d, %d patches: %s", code, len(s.applied), errOut)
			}
			want, err := os.ReadFile(filepath.Join("testdata", file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

// credential is the Secret of a provider.
func credential(id string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1beta1.TenantNamespace(id), Name: "kubeconfig-" + id,
	}}
}

func TestWhatCannotBeAVirtualNode(t *testing.T) {
	dying := build.VirtualNode("vn", "b")
	dying.DeletionTimestamp, dying.Finalizers = ptr.To(metav1.Now()), []string{v1beta1.FinalizerVirtualNode}
	for name, tc := range map[string]struct {
		objects []client.Object
		want    string
	}{
		"of a provider that is none": {
			nil, "there is no credential for b, Secret liqo-tenant-b/kubeconfig-b: peer with it",
		},
		"named like another provider's": {
			[]client.Object{credential("b"), build.VirtualNode("vn", "c")}, "there is a virtual node vn of c",
		},
		"named like an ordinary node": {
			[]client.Object{credential("b"), build.Node("vn")}, "there is a node vn that is not of b: choose another",
		},
		"that is being deleted": {[]client.Object{credential("b"), dying}, "virtual node vn is being deleted"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, tc.objects...)
			code, _, errOut := s.run("create", "virtualnode", "vn", "--remote-cluster-id", "b", "--timeout", "1s")
			if code != exitFailed || !strings.Contains(errOut, tc.want) || len(s.applied) > 0 {
				t.Errorf("exit code %d, %d patches: %s", code, len(s.applied), errOut)
			}
		})
	}
}

func TestAVirtualNodeLosesNoLabelUnasked(t *testing.T) {
	for name, tc := range map[string]struct {
		flags []string
		want  string
	}{
		"one is not repeated":    {[]string{"--cpu", "8"}, "This takes region=west from virtual node vn"},
		"one gets another value": {[]string{"--label", "region=east"}, "This takes region=west from virtual node vn"},
		"all are repeated":       {[]string{"--label", "region=west", "--label", "pool=x"}, ""},
		"it is accepted":         {[]string{"--skip-confirm"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			vn := build.VirtualNode("vn", "b", "region", "west")
			s := newStage(t, credential("b"), vn, build.VirtualNodesNode(vn))
			args := []string{"create", "virtualnode", "vn", "--remote-cluster-id", "b", "--timeout", "1s"}
			_, _, errOut := s.run(append(args, tc.flags...)...)
			refused := strings.Contains(errOut, "repeat with --skip-confirm")
			if !strings.Contains(errOut, tc.want) || refused != (tc.want != "") || refused != (len(s.applied) == 0) {
				t.Errorf("%d patches: %s", len(s.applied), errOut)
			}
		})
	}
}

func TestNodeState(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*v1beta1.VirtualNode)
		done   bool
		waits  string
	}{
		"nobody serves it": {func(*v1beta1.VirtualNode) {}, false, "waiting for the agent of b"},
		"it runs": {func(vn *v1beta1.VirtualNode) {
			vn.Status.Conditions = []v1beta1.VirtualNodeCondition{{Type: "Node", Status: "Running"}}
		}, true, ""},
		"it runs, out of reach": {func(vn *v1beta1.VirtualNode) {
			vn.Status.Conditions = []v1beta1.VirtualNodeCondition{
				{Type: "Node", Status: "Running", Message: "no answer"},
			}
		}, false, "Node vn is Running: no answer"},
		"it begins": {func(vn *v1beta1.VirtualNode) {
			vn.Status.Conditions = []v1beta1.VirtualNodeCondition{
				{Type: "VirtualKubelet", Status: "Running"}, {Type: "Node", Status: "Creating"},
			}
		}, false, "Node vn is Creating"},
		"none is wanted": {func(vn *v1beta1.VirtualNode) {
			vn.Spec.CreateNode = ptr.To(false)
			vn.Status.Conditions = []v1beta1.VirtualNodeCondition{{Type: "Node", Status: "None"}}
		}, true, ""},
		"none is wanted, and one leaves": {func(vn *v1beta1.VirtualNode) {
			vn.Spec.CreateNode = ptr.To(false)
			vn.Status.Conditions = []v1beta1.VirtualNodeCondition{
				{Type: "Node", Status: "Draining", Message: "waiting"},
			}
		}, false, "Node vn is Draining: waiting"},
	} {
		t.Run(name, func(t *testing.T) {
			vn := build.VirtualNode("vn", "b")
			tc.change(vn)
			if done, waits := nodeState(vn); done != tc.done || waits != tc.waits {
				t.Errorf("done %t, %q", done, waits)
			}
		})
	}
}

func TestDeleteVirtualNode(t *testing.T) {
	waiting := build.VirtualNode("vn", "b")
	waiting.Status.Conditions = []v1beta1.VirtualNodeCondition{
		{Type: "Node", Status: "Draining", Message: "waiting for the controller-manager"},
		{Type: "VirtualKubelet", Status: "Draining", Message: "waiting for volumes on this virtual node"},
	}
	for name, tc := range map[string]struct {
		objects []client.Object
		args    []string
		stays   bool
		code    int
		want    string
		deleted int
	}{
		"one that is there": {
			objects: []client.Object{build.VirtualNode("vn", "b")}, want: "done: virtual node vn is gone", deleted: 1,
		},
		"one that is not": {
			objects: []client.Object{build.VirtualNodesNode(build.VirtualNode("other", "b"))}, code: exitFailed,
			want: `there is no virtual node "vn": this cluster has other`,
		},
		"one of several": {
			objects: []client.Object{build.VirtualNode("vn", "b"), build.VirtualNode("vn", "c")}, code: exitUsage,
			want: "say with --remote-cluster-id which of b, c",
		},
		"the right one of several": {
			objects: []client.Object{build.VirtualNode("vn", "b"), build.VirtualNode("vn", "c")},
			args:    []string{"--remote-cluster-id", "c"}, want: "done: virtual node vn is gone", deleted: 1,
		},
		"one of another provider": {
			objects: []client.Object{build.VirtualNode("vn", "b")}, args: []string{"--remote-cluster-id", "c"},
			code: exitFailed, want: "virtual node vn is of b, not of c",
		},
		"one that waits": {
			objects: []client.Object{waiting}, args: []string{"--timeout", "600ms"}, stays: true, code: exitFailed,
			want:    "virtual node vn is still there after 600ms: waiting for volumes on this virtual node; it goes",
			deleted: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, tc.objects...)
			s.stays = tc.stays
			code, _, errOut := s.run(append([]string{"delete", "virtualnode", "vn", "--skip-confirm"}, tc.args...)...)
			if code != tc.code || !strings.Contains(errOut, tc.want) || len(s.deleted) != tc.deleted {
				t.Errorf("exit code %d, deleted %q: %s", code, s.deleted, errOut)
			}
			if len(s.applied) > 0 {
				t.Errorf("it was forced: %s", s.applied)
			}
		})
	}
}

func TestDeleteVirtualNodeByForce(t *testing.T) {
	s := newStage(t, build.VirtualNode("vn", "b"))
	s.stays, s.typed = true, "y\n"
	_, _, errOut := s.run("delete", "virtualnode", "vn", "--force", "--timeout", "300ms")
	if !strings.Contains(errOut, "Data in volumes on it is lost. If it is the provider's last one, "+
		"PodDisruptionBudgets do not hold. [y/N]") {
		t.Errorf("asked %q", errOut)
	}
	if len(s.applied) != 1 || !strings.Contains(string(s.applied[0]), `"offloading.liqo.io/force-removal":"true"`) {
		t.Errorf("patches %s", s.applied)
	}
}

func TestCordonAndUncordon(t *testing.T) {
	for name, tc := range map[string]struct {
		command string
		change  func(*corev1.Node)
		code    int
		want    string
		closed  bool
	}{
		"an open node": {command: "cordon", want: "done: node vn takes no more pods", closed: true},
		"a closed node again": {
			command: "cordon", change: closed, want: "done: node vn is cordoned already", closed: true,
		},
		"a closed node":      {command: "uncordon", change: closed, want: "done: node vn takes pods again"},
		"an open node again": {command: "uncordon", want: "done: node vn is not cordoned"},
		"a node on its way out": {command: "uncordon", change: func(n *corev1.Node) {
			closed(n)
			n.Spec.Taints = append(n.Spec.Taints, v1beta1.TaintLeaving())
		}, code: exitFailed, want: "node vn is on its way out", closed: true},
		"an ordinary node": {command: "cordon", change: func(n *corev1.Node) {
			n.Labels = nil
		}, code: exitFailed, want: "node vn is an ordinary one: use kubectl cordon vn"},
	} {
		t.Run(name, func(t *testing.T) {
			node := build.VirtualNodesNode(build.VirtualNode("vn", "b"))
			node.UID = "uid-vn"
			if tc.change != nil {
				tc.change(node)
			}
			s := newStage(t, node)
			code, _, errOut := s.run(tc.command, "vn")
			if code != tc.code || !strings.Contains(errOut, tc.want) {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			if err := s.client.Get(t.Context(), client.ObjectKey{Name: "vn"}, node); err != nil {
				t.Fatal(err)
			}
			if node.Spec.Unschedulable != tc.closed {
				t.Errorf("cordoned %t", node.Spec.Unschedulable)
			}
		})
	}
	t.Run("a node that is not there", func(t *testing.T) {
		s := newStage(t, build.VirtualNodesNode(build.VirtualNode("vn", "b")), build.Node("ordinary"))
		code, _, errOut := s.run("cordon", "vm")
		want := "error: there is no node \"vm\": the virtual nodes of this cluster are vn\n"
		if diff := cmp.Diff(want, errOut); code != exitFailed || diff != "" {
			t.Errorf("exit code %d (-want,+got):\n%s", code, diff)
		}
	})
}

func closed(n *corev1.Node) { n.Spec.Unschedulable = true }
