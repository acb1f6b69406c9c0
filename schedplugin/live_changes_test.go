package schedplugin_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

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
