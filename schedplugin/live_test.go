package schedplugin_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// TestLive runs the scheduler as it is shipped against real API servers.
func TestLive(t *testing.T) {
	planes := env.Planes(t, 2)
	home, blank := planes[0], planes[1]
	if err := home.Apply(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	c := &cluster{t, home.Client()}
	c.node(build.Node("worker-1"))
	for _, vn := range []*v1beta1.VirtualNode{
		build.VirtualNode("provider-1", "provider-1", corev1.LabelTopologyRegion, "eu"),
		build.VirtualNode("provider-2", "provider-2", corev1.LabelTopologyRegion, "eu"),
		build.VirtualNode("provider-3", "provider-3", corev1.LabelTopologyRegion, "us"),
	} {
		c.node(build.VirtualNodesNode(vn))
	}
	requests := &traffic{}
	startScheduler(t, requests.wrap(home.Config()), "replace-default.yaml")
	evictTainted(t, home.Config())

	t.Run("truth table", func(t *testing.T) { testTruthTable(&cluster{t, home.Client()}) })
	t.Run("affinity and policy", func(t *testing.T) { testAffinity(&cluster{t, home.Client()}) })
	t.Run("a pod obeys what was created before it", func(t *testing.T) {
		requests.delay("/namespaceoffloadings", 150*time.Millisecond)
		defer requests.delay("", 0)
		testBatch(&cluster{t, home.Client()})
	})
	t.Run("edits reach pending pods", func(t *testing.T) { testEdits(&cluster{t, home.Client()}) })
	t.Run("what makes a virtual node usable wakes pods", func(t *testing.T) { testWakes(&cluster{t, home.Client()}) })
	t.Run("tolerations", func(t *testing.T) { testTolerations(&cluster{t, home.Client()}, requests) })
	t.Run("what providers have left", func(t *testing.T) { testFit(&cluster{t, home.Client()}) })
	t.Run("definitions arrive late", func(t *testing.T) { testLateDefinitions(t, blank) })
}

func eu(namespace string, s v1beta1.PodOffloadingStrategy) *v1beta1.NamespaceOffloading {
	return build.Offloading(namespace).Strategy(s).Selector(build.Selector(corev1.LabelTopologyRegion, "eu")).Obj()
}

// on pins a pod to a node, so that the verdict about that node is what becomes of the pod.
func on(node string, pod *build.PodBuilder) *corev1.Pod {
	return pod.NodeSelector(corev1.LabelHostname, node).Obj()
}

func testTruthTable(c *cluster) {
	announced := func(ns string) *build.NamespaceBuilder {
		return build.Namespace(ns).Label(v1beta1.LabelSchedulingEnabled, "true")
	}
	c.namespace(build.Namespace("table-ordinary"))
	c.namespace(announced("table-announced"))
	c.namespace(build.Namespace("table-local"))
	c.offload(eu("table-local", v1beta1.Local))
	c.namespace(announced("table-remote"))
	c.offload(eu("table-remote", v1beta1.Remote))
	c.namespace(announced("table-both"))
	c.offload(eu("table-both", v1beta1.LocalAndRemote))
	for _, ns := range []string{"table-local", "table-remote", "table-both"} {
		c.twin("provider-1", ns, v1beta1.MappingAccepted)
		c.twin("provider-3", ns, v1beta1.MappingAccepted)
	}
	for _, strategy := range []v1beta1.PodOffloadingStrategy{v1beta1.Remote, v1beta1.Local} {
		ns := c.namespace(build.Namespace("table-terminating-" + strings.ToLower(string(strategy))))
		off := eu(ns, strategy)
		off.Finalizers = []string{v1beta1.FinalizerOffloading}
		c.offload(off)
		c.twin("provider-1", ns, v1beta1.MappingAccepted)
		if err := c.Delete(context.Background(), off); err != nil {
			c.t.Fatal(err)
		}
	}

	// A pod is not bound by a policy that is not in force, so this one tells when the scheduler has heard of all.
	probe := on("worker-1", build.Pod("probe").Namespace("table-terminating-local"))
	c.create(probe)
	c.runsOn(probe, "worker-1")

	const runs = ""
	type row struct{ Ordinary, Ready, OnItsWay, NotSelected string }
	for name, test := range map[string]struct {
		namespace, class string
		want             row
	}{
		"not offloaded": {"table-ordinary", "", row{
			runs, "namespace is not offloaded", "namespace is not offloaded", "namespace is not offloaded",
		}},
		"not offloaded, class liqo": {"table-ordinary", "liqo", row{
			"namespace is not offloaded", "namespace is not offloaded", "namespace is not offloaded",
			"namespace is not offloaded",
		}},
		"Local": {"table-local", "", row{
			runs, "strategy Local keeps", "strategy Local keeps", "strategy Local keeps",
		}},
		"Local, class liqo": {"table-local", "liqo", row{
			"node affinity", runs, `cluster "provider-2" is not ready yet`, "cluster is not selected",
		}},
		"Remote": {"table-remote", "", row{
			"strategy Remote sends", runs, `cluster "provider-2" is not ready yet`, "cluster is not selected",
		}},
		"Remote, class liqo": {"table-remote", "liqo", row{
			"node affinity", runs, `cluster "provider-2" is not ready yet`, "cluster is not selected",
		}},
		"LocalAndRemote": {"table-both", "", row{
			runs, runs, `cluster "provider-2" is not ready yet`, "cluster is not selected",
		}},
		"LocalAndRemote, class liqo": {"table-both", "liqo", row{
			"node affinity", runs, `cluster "provider-2" is not ready yet`, "cluster is not selected",
		}},
		"announced": {"table-announced", "", row{
			"waiting for the offloading", "waiting for the offloading", "waiting for the offloading",
			"waiting for the offloading",
		}},
		"announced, class liqo": {"table-announced", "liqo", row{
			"waiting for the offloading", "waiting for the offloading", "waiting for the offloading",
			"waiting for the offloading",
		}},
		"Local, terminating": {"table-terminating-local", "", row{
			runs, "is being removed", "is being removed", "is being removed",
		}},
		"Remote, terminating": {"table-terminating-remote", "", row{
			"twin namespaces of this namespace are gone", "twin namespaces of this namespace are gone",
			"twin namespaces of this namespace are gone", "twin namespaces of this namespace are gone",
		}},
	} {
		for node, want := range map[string]string{
			"worker-1": test.want.Ordinary, "provider-1": test.want.Ready,
			"provider-2": test.want.OnItsWay, "provider-3": test.want.NotSelected,
		} {
			c.t.Run(name+" on "+node, func(t *testing.T) {
				t.Parallel()
				c := &cluster{t, c.Client}
				for kind, b := range map[string]*build.PodBuilder{
					"plain": build.Pod("plain-"), "everywhere": build.Pod("everywhere-").
							Tolerate(corev1.Toleration{Operator: corev1.TolerationOpExists}),
				} {
					if test.class != "" {
						b.RuntimeClass(test.class)
					}
					pod := on(node, b.Namespace(test.namespace))
					pod.Name, pod.GenerateName = "", pod.Name
					c.create(pod)
					live := c.decided(pod)
					if want == runs && live.Spec.NodeName != node {
						t.Errorf("%s pod: on %q, refusal %q; want it to run", kind, live.Spec.NodeName, refusal(live))
					}
					if want != runs && (live.Spec.NodeName != "" || !strings.Contains(refusal(live), want)) {
						t.Errorf("%s pod: on %q, refusal %q; want %q", kind, live.Spec.NodeName, refusal(live), want)
					}
				}
			})
		}
	}
}

func testAffinity(c *cluster) {
	for _, strategy := range []v1beta1.PodOffloadingStrategy{v1beta1.Local, v1beta1.Remote, v1beta1.LocalAndRemote} {
		ns := c.namespace(build.Namespace("affinity-" + strings.ToLower(string(strategy))))
		c.offload(eu(ns, strategy))
		c.twin("provider-1", ns, v1beta1.MappingAccepted)
	}
	type cells struct{ VirtualNone, VirtualClass, OrdinaryNone, OrdinaryClass bool }
	for namespace, want := range map[string]cells{
		"affinity-local":          {VirtualClass: true, OrdinaryNone: true},
		"affinity-remote":         {VirtualNone: true, VirtualClass: true},
		"affinity-localandremote": {VirtualNone: true, VirtualClass: true, OrdinaryNone: true},
	} {
		c.t.Run(namespace, func(t *testing.T) {
			t.Parallel()
			c := &cluster{t, c.Client}
			runs := func(name string, op corev1.NodeSelectorOperator, class string) bool {
				pod := build.Pod(name).Namespace(namespace).Spec(func(s *corev1.PodSpec) {
					terms := []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
						{Key: v1beta1.LabelNodeType, Operator: op},
					}}}
					s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
						RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: terms},
					}}
				})
				if class != "" {
					pod.RuntimeClass(class)
				}
				obj := pod.Obj()
				c.create(obj)
				return c.decided(obj).Spec.NodeName != ""
			}
			got := cells{
				VirtualNone:   runs("virtual-none", corev1.NodeSelectorOpExists, ""),
				VirtualClass:  runs("virtual-class", corev1.NodeSelectorOpExists, "liqo"),
				OrdinaryNone:  runs("ordinary-none", corev1.NodeSelectorOpDoesNotExist, ""),
				OrdinaryClass: runs("ordinary-class", corev1.NodeSelectorOpDoesNotExist, "liqo"),
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("which run (-want +got):\n%s", diff)
			}
		})
	}
}
