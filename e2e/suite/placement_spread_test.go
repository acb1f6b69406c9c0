package suite

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// Pods of a namespace that may use both stay at home while there is room, and only what finds none goes away.
func TestPodsStayAtHomeUntilItIsFull(t *testing.T) {
	const perNode = 3
	fits := int32(perNode * len(homeNodes()))
	w := newWorld(t, "overflow")
	w.create(build.Offloading(w.ns).Obj())
	w.Eventually(w.phase).Should(Equal(v1beta1.PhaseReady))
	w.create(build.Deployment("web").Namespace(w.ns).Replicas(fits - 1).PodSpec(func(s *corev1.PodSpec) {
		s.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10")}
	}).Obj())
	w.Expect(w.places(int(fits) - 1)).To(Equal(map[string]int{anOrdinaryNode: int(fits) - 1}))
	w.scale(fits + 3)
	w.Expect(w.places(int(fits) + 3)).To(Equal(map[string]int{anOrdinaryNode: int(fits), aVirtualNode: 3}))
}

// places waits until n pods run and counts them by the kind of their node.
func (w *world) places(n int) map[string]int {
	w.t.Helper()
	virtual, err := w.virtualNodes()
	w.Expect(err).NotTo(HaveOccurred())
	places := map[string]int{}
	for _, pod := range w.running(n) {
		if virtual[pod.Spec.NodeName] {
			places[aVirtualNode]++
		} else {
			places[anOrdinaryNode]++
		}
	}
	return places
}
