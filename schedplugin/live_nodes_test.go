package schedplugin_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
