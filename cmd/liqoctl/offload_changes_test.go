package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// TestOffloadKeepsWhatNoFlagSays: repeating the command with fewer flags resets nothing.
func TestOffloadKeepsWhatNoFlagSays(t *testing.T) {
	had := func() *build.OffloadingBuilder {
		return build.Offloading("shop").Strategy(v1beta1.Remote).RemoteName("boutique").
			Selector(build.Selector("a", "b"))
	}
	for name, test := range map[string]struct {
		had  *build.OffloadingBuilder
		args []string
		want *build.OffloadingBuilder
		code int
	}{
		"no flag": {had: had(), want: had()},
		"the strategy": {
			had: had(), args: []string{"--pod-offloading-strategy", "Local"}, want: had().Strategy("Local"),
		},
		"the default strategy, on purpose": {
			had: had(), args: []string{"--pod-offloading-strategy", "LocalAndRemote"},
			want: had().Strategy("LocalAndRemote"),
		},
		"the selector": {
			had: had(), args: []string{"-l", "c=d"}, want: had().Selector(build.Selector("c", "d")),
		},
		"the name that it has": {
			had: had(), args: []string{"--remote-namespace-name", "boutique"}, want: had(),
		},
		"a selector that picks every node by having no term": {
			had: had().Selector(nil), want: had().Selector(nil),
		},
		"a name for one that has another strategy": {
			had: build.Offloading("shop"), args: []string{"--remote-namespace-name", "boutique"}, code: exitUsage,
			want: build.Offloading("shop"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, build.Namespace("shop").Obj(), test.had.Obj())
			s.status = offloadedOn(v1beta1.PhaseReady, map[string]v1beta1.ClusterCondition{"b": twinReady})
			args := append([]string{"offload", "namespace", "shop", "--skip-confirm"}, test.args...)
			_, printed, _ := s.run(append(args, "-o", "yaml")...)
			code, _, errOut := s.run(args...)
			if code != test.code {
				t.Fatalf("exit code %d: %s", code, errOut)
			}
			var off v1beta1.NamespaceOffloading
			key := client.ObjectKey{Namespace: "shop", Name: v1beta1.OffloadingName}
			if err := s.client.Get(t.Context(), key, &off); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want.Obj().Spec, off.Spec); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
			if test.code == exitDone && printed != string(s.applied[0]) {
				t.Errorf("printed %q, applied %q", printed, s.applied[0])
			}
		})
	}
}

func TestOffloadPrintsWithoutACluster(t *testing.T) {
	s := newStage(t)
	s.client = failing(s.client, errors.New("nobody answers"), &v1beta1.NamespaceOffloading{}, nil)
	code, out, errOut := s.run("offload", "namespace", "shop", "-o", "yaml")
	const want = "warning: whether namespace shop is offloaded already is not known, so flags that are not given " +
		"mean " +
		"their default: read the offloading of namespace shop: nobody answers\n"
	if diff := cmp.Diff(want, errOut); code != exitDone || diff != "" {
		t.Errorf("exit code %d (-want,+got):\n%s", code, diff)
	}
	golden(t, "default.yaml", out)
}

// TestOffloadAsksBeforeItTakesSomethingAway: b and c are providers, both with a twin and a pod; the others are at home.
func TestOffloadAsksBeforeItTakesSomethingAway(t *testing.T) {
	const strategy = "--pod-offloading-strategy"
	for name, test := range map[string]struct {
		had      *build.OffloadingBuilder
		eviction v1beta1.PodEvictionStrategy
		args     []string
		want     string // "" when nothing is asked
	}{
		"a wider strategy": {
			had: build.Offloading("shop").Strategy(v1beta1.Local), args: []string{strategy, "LocalAndRemote"},
		},
		"the same": {had: build.Offloading("shop"), args: []string{"-l", "liqo.io/type=virtual-node"}},
		"pods that are left at home": {
			had: build.Offloading("shop"), args: []string{strategy, "Remote"},
			want: "Pods that run where that is no longer permitted: 2; they stay there until they are deleted.",
		},
		"pods that are left away; the one with class liqo may stay": {
			had: build.Offloading("shop"), args: []string{strategy, "Local"}, eviction: v1beta1.EvictOnPolicyChange,
			want: "Pods that run where that is no longer permitted: 1; they are evicted while other permitted nodes " +
				"could take them.",
		},
		"a cluster less": {
			had: build.Offloading("shop"), args: []string{"-l", "region=eu"},
			want: "This deletes the twins of namespace shop on c and everything in them.",
		},
		"a cluster less, whose pods leave first; bare ones and those of other schedulers go with the twin": {
			had: build.Offloading("shop"), args: []string{"-l", "region=eu"}, eviction: v1beta1.EvictOnPolicyChange,
			want: "Pods of namespace shop that are evicted from c first: 1. When they have left, this deletes the " +
				"twins there and everything that is left in them.",
		},
		"a cluster less, and home": {
			had: build.Offloading("shop"), args: []string{"-l", "region=eu", strategy, "Remote"},
			want: "This deletes the twins of namespace shop on c and everything in them. Pods that run where that " +
				"is no " +
				"longer permitted: 2; they stay there until they are deleted.",
		},
		"a cluster more": {
			had: build.Offloading("shop").Selector(build.Selector("region", "eu")), args: []string{"-l", "region"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			off := test.had.Obj()
			off.Spec.PodEvictionStrategy = test.eviction
			s := newStage(t, occupied(off)...)
			s.status = offloadedOn(v1beta1.PhaseReady, map[string]v1beta1.ClusterCondition{"b": twinReady})
			args := append([]string{"offload", "namespace", "shop"}, test.args...)
			code, _, errOut := s.run(args...)
			if test.want == "" {
				if code != exitDone {
					t.Errorf("exit code %d: %s", code, errOut)
				}
				return
			}
			want := "error: " + test.want + " Nobody can be asked here: repeat with --skip-confirm\n"
			if code != exitUsage || !strings.HasSuffix(errOut, want) || len(s.applied) > 0 {
				t.Errorf("exit code %d, got %q, want %q", code, errOut, want)
			}
			s.typed = "no\n"
			if code, _, _ = s.run(args...); code != exitFailed {
				t.Errorf("exit code %d after a no", code)
			}
			if len(s.applied) > 0 {
				t.Error("something was applied")
			}
			s.typed = "y\n"
			if code, _, errOut = s.run(args...); code != exitDone {
				t.Errorf("exit code %d after a yes: %s", code, errOut)
			}
		})
	}
	t.Run("what may not be seen", func(t *testing.T) {
		for right, fails := range map[string]client.ObjectList{
			"you may not list nodes": &corev1.NodeList{}, "you may not list pods in namespace shop": &corev1.PodList{},
		} {
			s := newStage(t, occupied(build.Offloading("shop").Obj())...)
			s.client = failing(s.client, apierrors.NewForbidden(schema.GroupResource{}, "", nil), nil, fails)
			code, _, errOut := s.run("offload", "namespace", "shop", "-l", "region=eu")
			if code != exitUsage || !strings.Contains(errOut, "which ones cannot be seen ("+right+").") {
				t.Errorf("exit code %d: %s", code, errOut)
			}
		}
	})
}

func occupied(off *v1beta1.NamespaceOffloading) []client.Object {
	on := func(name, node string) *build.PodBuilder {
		return build.Pod(name).Namespace("shop").Node(node).Phase(corev1.PodRunning)
	}
	owned := func(pod *corev1.Pod) *corev1.Pod {
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "1", Controller: ptr.To(true),
		}}
		return pod
	}
	liqo := func(name string) *build.PodBuilder { return on(name, "c").RuntimeClass("liqo") }
	theirs := func(s *corev1.PodSpec) { s.SchedulerName = "theirs" }
	return []client.Object{
		owned(liqo("web").Obj()), owned(liqo("over").Phase(corev1.PodFailed).Obj()),
		owned(liqo("other").Spec(theirs).Obj()),
		build.Namespace("shop").Obj(), off, build.Node("node-1"),
		build.VirtualNodesNode(build.VirtualNode("b", "b", "region", "eu")),
		build.VirtualNodesNode(build.VirtualNode("c", "c", "region", "us")),
		on("one", "node-1").Obj(), on("two", "node-1").Obj(), on("done", "node-1").Phase(corev1.PodSucceeded).Obj(),
		on("away", "b").Obj(), on("class", "c").RuntimeClass("liqo").Obj(), on("lost", "gone").Obj(),
		build.Pod("waits").Namespace("shop").Obj(),
	}
}

func TestVersionWithoutAKubeconfig(t *testing.T) {
	t.Setenv("KUBECONFIG", "/nonexistent")
	t.Setenv("HOME", t.TempDir())
	code, out, errOut := real(t.Context(), "version")
	if code != exitDone || !strings.HasPrefix(out, "liqoctl: ") ||
		!strings.Contains(errOut, "warning: no cluster was asked for its version: no kubeconfig found") {
		t.Errorf("exit code %d: %q %q", code, out, errOut)
	}
}
