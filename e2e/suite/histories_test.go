package suite

import (
	"slices"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	past "github.com/twinspace/twinspace/e2e/history"
)

// takes is the annotation that says how long the fake kubelet takes to end a pod. It is long enough to tell things that
// happen too early from those that are only heard of in another order.
const takes = "playground.twinspace/takes"

// chronicle records the pods of a namespace and of its twins, from the moment on that it is made.
type chronicle struct {
	home *past.Recorder
	away map[string]*past.Recorder
	// forced are home pods that the scenario deletes by force.
	forced map[types.UID]bool
}

// chronicle begins a history of the world's pods. The twins have to be there.
func (w *world) chronicle() *chronicle { return w.chronicleOf(providers()...) }

// chronicleOf leaves out the providers that are not named.
func (w *world) chronicleOf(names ...string) *chronicle {
	w.t.Helper()
	c := &chronicle{
		home: w.recorder(env.Consumer, w.ns), away: map[string]*past.Recorder{}, forced: map[types.UID]bool{},
	}
	for _, p := range names {
		c.away[p] = w.recorder(p, w.twin())
	}
	return c
}

func (w *world) recorder(cluster, namespace string) *past.Recorder {
	w.t.Helper()
	r, err := past.Record(w.ctx, cluster, w.clientset(cluster).CoreV1().Pods(namespace))
	w.Expect(err).NotTo(HaveOccurred())
	return r
}

func (w *world) clientset(cluster string) kubernetes.Interface {
	w.t.Helper()
	set, err := kubernetes.NewForConfig(playground.Cluster(cluster).Config())
	w.Expect(err).NotTo(HaveOccurred())
	return set
}

// history returns what was recorded so far.
func (w *world) history(c *chronicle) past.History {
	w.t.Helper()
	h := past.History{Slack: skew, Forced: c.forced}
	var err error
	h.Home, err = c.home.Changes(w.ctx)
	w.Expect(err).NotTo(HaveOccurred())
	for _, r := range c.away {
		changes, err := r.Changes(w.ctx)
		w.Expect(err).NotTo(HaveOccurred())
		h.Away = append(h.Away, changes...)
	}
	slices.SortStableFunc(h.Away, func(a, b past.Change) int { return a.At.Compare(b.At) })
	return h
}

// kept checks that no promise was broken at any time (I1, I2, I5, I7, I8, O13), and none is now (I3, I4).
func (w *world) kept(c *chronicle) {
	w.t.Helper()
	w.Expect(w.history(c).Broken()).To(BeEmpty())
	w.Eventually(func() []string { return w.history(c).AtRest(providers()...) }).Should(BeEmpty())
}

// statefulSet returns a StatefulSet whose pods take their time to end.
func statefulSet(namespace, name string, replicas int32) *appsv1.StatefulSet {
	labels := map[string]string{"app": name}
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: appsv1.StatefulSetSpec{
			Replicas: ptr.To(replicas), Selector: &metav1.LabelSelector{MatchLabels: labels}, ServiceName: name,
			PodManagementPolicy: appsv1.ParallelPodManagement,
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{takes: "3s"}},
				Spec:       build.Pod(name).Obj().Spec,
			},
		},
	}
}
