package schedplugin_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/pkg/controller/tainteviction"
	"sigs.k8s.io/controller-runtime/pkg/client"

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
						t.Errorf("%s pod: on %q, refusal %q; want it on the node", kind, live.Spec.NodeName, refusal(live))
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
					s.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{
						RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
							NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
								{Key: v1beta1.LabelNodeType, Operator: op},
							}}},
						},
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

// testBatch has pods follow their NamespaceOffloading as closely as a client can, while the scheduler hears of the
// latter late.
func testBatch(c *cluster) {
	const namespaces = 20
	for i := range namespaces {
		ns := c.namespace(build.Namespace(fmt.Sprintf("batch-%d", i)))
		c.twin("provider-1", ns, v1beta1.MappingAccepted)
	}
	var batches sync.WaitGroup
	for i := range namespaces {
		batches.Go(func() {
			ns := fmt.Sprintf("batch-%d", i)
			c.create(eu(ns, v1beta1.Remote), build.Pod("web").Namespace(ns).Obj())
		})
	}
	batches.Wait()
	for i := range namespaces {
		c.runsOn(build.Pod("web").Namespace(fmt.Sprintf("batch-%d", i)).Obj(), "provider-1")
	}

	c.t.Run("also after an edit", func(t *testing.T) {
		c := &cluster{t, c.Client}
		ns := c.namespace(build.Namespace("batch-edit"))
		c.twin("provider-1", ns, v1beta1.MappingAccepted)
		off := eu(ns, v1beta1.Local)
		c.offload(off)
		first := build.Pod("first").Namespace(ns).Obj()
		c.create(first)
		c.runsOn(first, "worker-1")
		off.Spec.PodOffloadingStrategy = v1beta1.Remote
		if err := c.Update(context.Background(), off); err != nil {
			t.Fatal(err)
		}
		second := build.Pod("second").Namespace(ns).Obj()
		c.create(second)
		c.runsOn(second, "provider-1")
	})

	c.t.Run("also after a deletion", func(t *testing.T) {
		c := &cluster{t, c.Client}
		ns := c.namespace(build.Namespace("batch-delete"))
		c.twin("provider-1", ns, v1beta1.MappingAccepted)
		off := eu(ns, v1beta1.LocalAndRemote)
		c.offload(off)
		first := on("provider-1", build.Pod("first").Namespace(ns))
		c.create(first)
		c.runsOn(first, "provider-1")
		if err := c.Delete(context.Background(), off); err != nil {
			t.Fatal(err)
		}
		second := on("provider-1", build.Pod("second").Namespace(ns))
		c.create(second)
		c.waits(second, "namespace is not offloaded")
	})
}

func testEdits(c *cluster) {
	const soon = 2 * time.Second
	c.t.Run("of the strategy", func(t *testing.T) {
		c := &cluster{t, c.Client}
		ns := c.namespace(build.Namespace("edit-strategy"))
		c.twin("provider-1", ns, v1beta1.MappingAccepted)
		off := eu(ns, v1beta1.Local)
		c.offload(off)
		pod := on("provider-1", build.Pod("web").Namespace(ns))
		c.create(pod)
		c.waits(pod, "strategy Local keeps")
		off.Spec.PodOffloadingStrategy = v1beta1.LocalAndRemote
		edited := time.Now()
		if err := c.Update(context.Background(), off); err != nil {
			t.Fatal(err)
		}
		c.runsOn(pod, "provider-1")
		if took := time.Since(edited); took > soon {
			t.Errorf("the edit reached the pod after %s, want %s at most", took, soon)
		}
	})
	c.t.Run("of the selector", func(t *testing.T) {
		c := &cluster{t, c.Client}
		ns := c.namespace(build.Namespace("edit-selector"))
		c.twin("provider-3", ns, v1beta1.MappingAccepted)
		off := eu(ns, v1beta1.Remote)
		c.offload(off)
		pod := on("provider-3", build.Pod("web").Namespace(ns))
		c.create(pod)
		c.waits(pod, "cluster is not selected")
		off.Spec.ClusterSelector = build.Selector(corev1.LabelTopologyRegion, "us")
		edited := time.Now()
		if err := c.Update(context.Background(), off); err != nil {
			t.Fatal(err)
		}
		c.runsOn(pod, "provider-3")
		if took := time.Since(edited); took > soon {
			t.Errorf("the edit reached the pod after %s, want %s at most", took, soon)
		}
	})
	c.t.Run("a NamespaceOffloading that comes after its pods", func(t *testing.T) {
		c := &cluster{t, c.Client}
		ns := c.namespace(build.Namespace("edit-late"))
		c.twin("provider-1", ns, v1beta1.MappingAccepted)
		pod := on("provider-1", build.Pod("web").Namespace(ns))
		c.create(pod)
		c.waits(pod, "namespace is not offloaded")
		c.offload(eu(ns, v1beta1.Remote))
		c.runsOn(pod, "provider-1")
	})
	c.t.Run("a label that is taken back", func(t *testing.T) {
		c := &cluster{t, c.Client}
		ns := c.namespace(build.Namespace("edit-label").Label(v1beta1.LabelSchedulingEnabled, "true"))
		pod := build.Pod("web").Namespace(ns).Obj()
		c.create(pod)
		c.waits(pod, "waiting for the offloading")
		unlabelled := client.RawPatch(types.MergePatchType,
			[]byte(`{"metadata":{"labels":{"`+v1beta1.LabelSchedulingEnabled+`":null}}}`))
		if err := c.Patch(context.Background(), build.Namespace(ns).Obj(), unlabelled); err != nil {
			t.Fatal(err)
		}
		c.runsOn(pod, "worker-1")
	})
}

func testWakes(c *cluster) {
	ns := c.namespace(build.Namespace("wake"))
	c.offload(eu(ns, v1beta1.Remote))
	notReady := corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule}
	vn := build.VirtualNode("provider-4", "provider-4", corev1.LabelTopologyRegion, "us")
	node := build.VirtualNodesNode(vn)
	node.Spec.Taints = append(node.Spec.Taints, notReady)
	c.node(node)
	pod := on("provider-4", build.Pod("web").Namespace(ns))
	c.create(pod)
	update := func(change func(*corev1.Node)) {
		c.t.Helper()
		if err := c.Get(context.Background(), client.ObjectKeyFromObject(node), node); err != nil {
			c.t.Fatal(err)
		}
		change(node)
		if err := c.Update(context.Background(), node); err != nil {
			c.t.Fatal(err)
		}
	}
	// One obstacle goes after the other; each time the pod learns what is left.
	c.decided(pod)
	update(func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{v1beta1.Taint()} })
	c.waits(pod, "cluster is not selected")
	update(func(n *corev1.Node) { n.Labels[corev1.LabelTopologyRegion] = "eu" })
	// The label makes the node selected, though not yet permitted, so nothing is tried again until the twin is ready.
	c.twin("provider-4", ns, v1beta1.MappingAccepted)
	c.runsOn(pod, "provider-4")

	c.t.Run("a node that is ready after everything else", func(t *testing.T) {
		c := &cluster{t, c.Client}
		late := build.VirtualNodesNode(build.VirtualNode("provider-5", "provider-5", corev1.LabelTopologyRegion, "eu"))
		late.Spec.Taints = append(late.Spec.Taints, notReady)
		c.node(late)
		c.twin("provider-5", ns, v1beta1.MappingAccepted)
		pod := on("provider-5", build.Pod("late").Namespace(ns))
		c.create(pod)
		c.waits(pod, "untolerated taint")
		late.Spec.Taints = []corev1.Taint{v1beta1.Taint()}
		if err := c.Update(context.Background(), late); err != nil {
			t.Fatal(err)
		}
		c.runsOn(pod, "provider-5")
	})
}

func testTolerations(c *cluster, requests *traffic) {
	ns := c.namespace(build.Namespace("toleration"))
	c.offload(eu(ns, v1beta1.LocalAndRemote))
	c.twin("provider-1", ns, v1beta1.MappingAccepted)
	probe := on("provider-1", build.Pod("probe").Namespace(ns))
	c.create(probe)
	c.runsOn(probe, "provider-1") // now the scheduler has heard of all this
	ours := func(pod *corev1.Pod) int {
		n := 0
		for _, toleration := range pod.Spec.Tolerations {
			if toleration == v1beta1.Toleration() {
				n++
			}
		}
		return n
	}
	away := on("provider-1", build.Pod("away").Namespace(ns).
		Tolerate(corev1.Toleration{Key: "theirs", Operator: corev1.TolerationOpExists}))
	classy := build.Pod("classy").Namespace(ns).RuntimeClass("liqo").Obj()
	home := on("worker-1", build.Pod("home").Namespace(ns))
	c.create(away, classy, home)
	before := c.get(away)

	live := c.runsOn(away, "provider-1")
	want := append(slices.Clone(before.Spec.Tolerations), v1beta1.Toleration())
	if before.Spec.NodeName == "" && ours(before) == 0 {
		if diff := cmp.Diff(want, live.Spec.Tolerations); diff != "" {
			c.t.Errorf("tolerations of a pod that went away (-want +got):\n%s", diff)
		}
	}
	if n := ours(live); n != 1 {
		c.t.Errorf("the pod that went away has the toleration %d times, want once", n)
	}
	if n := ours(c.runsOn(classy, "provider-1")); n != 1 {
		c.t.Errorf("the pod whose class brought the toleration has it %d times, want once", n)
	}
	if n := ours(c.runsOn(home, "worker-1")); n != 0 {
		c.t.Errorf("the pod that stayed at home has the toleration %d times, want none", n)
	}
	for pod, want := range map[string]int{"away": 1, "classy": 0, "home": 0} {
		if got := requests.count("PATCH", "/namespaces/"+ns+"/pods/"+pod); got != want {
			c.t.Errorf("%d patches of pod %s, want %d", got, pod, want)
		}
		if got := requests.count("PATCH", "/namespaces/"+ns+"/pods/"+pod+"/status"); got != 0 {
			c.t.Errorf("%d writes of the status of pod %s, want none for a pod that is bound at once", got, pod)
		}
	}

	// The control: a pod that was bound past the scheduler is evicted, so eviction is at work.
	stray := build.Pod("stray").Namespace(ns).Node("provider-1").Obj()
	c.create(stray)
	deadline := time.After(settles)
	for tick := time.NewTicker(poll); ; {
		var pod corev1.Pod
		err := c.Get(context.Background(), client.ObjectKeyFromObject(stray), &pod)
		if apierrors.IsNotFound(err) || err == nil && pod.DeletionTimestamp != nil {
			break
		}
		select {
		case <-deadline:
			c.t.Fatal("a pod without the toleration was not evicted; the next check would prove nothing")
		case <-tick.C:
		}
	}
	for _, pod := range []*corev1.Pod{away, classy} {
		if live := c.get(pod); live.DeletionTimestamp != nil {
			c.t.Errorf("pod %s was evicted from the virtual node", pod.Name)
		}
	}
}

func testLateDefinitions(t *testing.T, plane *env.Cluster) {
	c := &cluster{t, plane.Client()}
	c.node(build.Node("worker-1"))
	c.node(build.VirtualNodesNode(build.VirtualNode("provider-1", "provider-1", corev1.LabelTopologyRegion, "eu")))
	if err := plane.Apply(t.Context(), "base"); err != nil && !strings.Contains(err.Error(), "no matches for kind") {
		t.Fatal(err)
	}
	startScheduler(t, plane.Config(), "side-by-side.yaml")
	ours := func(pod *build.PodBuilder) *corev1.Pod {
		return pod.Spec(func(s *corev1.PodSpec) { s.SchedulerName = v1beta1.SchedulerName }).Obj()
	}

	ordinary := ours(build.Pod("ordinary").Namespace(c.namespace(build.Namespace("early"))))
	c.create(ordinary)
	c.runsOn(ordinary, "worker-1")
	ns := c.namespace(build.Namespace("announced").Label(v1beta1.LabelSchedulingEnabled, "true"))
	pod := ours(build.Pod("web").Namespace(ns))
	c.create(pod)
	c.waits(pod, "waiting for the offloading")

	if err := plane.Apply(t.Context(), "crd"); err != nil {
		t.Fatal(err)
	}
	deadline := time.After(settles)
	for tick := time.NewTicker(poll); ; {
		err := c.Create(context.Background(), eu(ns, v1beta1.Remote))
		if err == nil {
			break
		}
		select {
		case <-deadline:
			t.Fatalf("create offloading: %v", err)
		case <-tick.C:
		}
	}
	var off v1beta1.NamespaceOffloading
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: v1beta1.OffloadingName}, &off); err != nil {
		t.Fatal(err)
	}
	off.Status.OffloadingPhase = v1beta1.PhaseReady
	if err := c.Status().Update(t.Context(), &off); err != nil {
		t.Fatal(err)
	}
	c.twin("provider-1", ns, v1beta1.MappingAccepted)
	c.runsOn(pod, "provider-1")
}

// evictTainted runs the controller of kube-controller-manager that acts on NoExecute taints.
func evictTainted(t *testing.T, cfg *rest.Config) {
	t.Helper()
	core, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	factory := informers.NewSharedInformerFactory(core, 0)
	err = factory.Core().V1().Pods().Informer().AddIndexers(cache.Indexers{
		"spec.nodeName": func(obj any) ([]string, error) { return []string{obj.(*corev1.Pod).Spec.NodeName}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	evictor, err := tainteviction.New(
		t.Context(), core, factory.Core().V1().Pods(), factory.Core().V1().Nodes(), "taint-eviction",
	)
	if err != nil {
		t.Fatal(err)
	}
	factory.Start(t.Context().Done())
	go evictor.Run(t.Context())
}
