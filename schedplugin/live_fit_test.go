package schedplugin_test

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// tell sets an annotation of a node, or removes it.
func (c *cluster) tell(node, annotation, text string) {
	c.t.Helper()
	value := "null"
	if text != "" {
		value = fmt.Sprintf("%q", text)
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, annotation, value)
	err := c.Patch(context.Background(), build.Node(node), client.RawPatch(types.MergePatchType, []byte(patch)))
	if err != nil {
		c.t.Fatalf("annotate node %s: %v", node, err)
	}
}

// What agents write on their Nodes decides, and wakes, in a real scheduler.
func testFit(c *cluster) {
	for _, strategy := range []v1beta1.PodOffloadingStrategy{v1beta1.Remote, v1beta1.LocalAndRemote} {
		ns := c.namespace(build.Namespace(map[v1beta1.PodOffloadingStrategy]string{
			v1beta1.Remote: "fit-remote", v1beta1.LocalAndRemote: "fit-both",
		}[strategy]))
		c.offload(eu(ns, strategy))
		c.twin("provider-1", ns, v1beta1.MappingAccepted)
		c.tell("provider-1", v1beta1.AnnotationLargestFree, `{"cpu":"2"}`)
		c.tell("provider-1", v1beta1.AnnotationUnfit, `{"web-1":"2999-01-01T00:00:00Z"}`)
		pod := func(name, cpu, controller string) *corev1.Pod {
			b := build.Pod(name).Namespace(ns).Request("cpu", cpu).Controller("ReplicaSet", controller, controller)
			return on("provider-1", b)
		}
		small, large, unfit := pod("small", "2", "web-2"), pod("large", "4", "web-2"), pod("unfit", "1", "web-1")
		c.create(small)
		c.runsOn(small, "provider-1") // now the scheduler has heard of all this

		c.create(large, unfit)
		c.waits(large, "largest free node has 2 CPUs, the pod asks for 4")
		c.waits(unfit, "no node of the provider took pods of ReplicaSet web-1")
		c.tell("provider-1", v1beta1.AnnotationLargestFree, `{"cpu":"4"}`)
		c.runsOn(large, "provider-1")
		if live := c.get(unfit); live.Spec.NodeName != "" {
			c.t.Errorf("the pod of an unfit controller went to %s", live.Spec.NodeName)
		}
		c.tell("provider-1", v1beta1.AnnotationUnfit, "")
		c.runsOn(unfit, "provider-1")
		c.tell("provider-1", v1beta1.AnnotationLargestFree, "")
	}
}
