package main

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
)

// profile returns a profile with our plugins and one more.
func profile(name, plugin string, disabled ...string) string {
	var off strings.Builder
	for _, d := range disabled {
		fmt.Fprintf(&off, ", {name: %s}", d)
	}
	return fmt.Sprintf(`
  - schedulerName: %s
    plugins:
      multiPoint:
        enabled: [{name: NamespaceOffloading}, {name: OffloadingTaintToleration, weight: 3}, {name: %s, weight: 1000}]
        disabled: [{name: TaintToleration}%s]
      bind: {enabled: [{name: NamespaceOffloading}]}
    pluginConfig:`, name, plugin, off.String())
}

func args(plugin, rest string) string {
	return fmt.Sprintf(`
      - name: %s
        args: {apiVersion: kubescheduler.config.k8s.io/v1, kind: %[1]sArgs%s}`, plugin, rest)
}

const head = `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection:
  qps: 300
  burst: 500
leaderElection: {leaderElect: false}
profiles:`

// onOffer: each plugin on offer does its work beside ours, with its arguments.
func onOffer(h *home) {
	audit, err := h.plane.Audit()
	if err != nil {
		h.Fatal(err)
	}
	const resources = ", resources: [{name: cpu, weight: 1}]"
	h.serve(head +
		profile("most", "NodeResourcesAllocatable") + args("NodeResourcesAllocatable", ", mode: Most"+resources) +
		profile("least", "NodeResourcesAllocatable") + args("NodeResourcesAllocatable", ", mode: Least"+resources) +
		profile("tolerant", "PreemptionToleration", "DefaultPreemption") +
		args("PreemptionToleration", ", minCandidateNodesPercentage: 20") +
		profile("leaving", "PodState") + " []\n")

	for scheduler, node := range map[string]string{"most": "big", "least": "small"} {
		pod := scheduledBy("allocatable-"+scheduler, scheduler).Namespace("plain").Obj()
		away := scheduledBy("allocatable-"+scheduler, scheduler).Namespace("shop").Obj()
		h.create(pod, away)
		h.runsOn(pod, node)
		h.runsOn(away, "provider-1")
	}

	going := build.Pod("going").Namespace("plain").Node("small").Obj()
	h.create(going)
	if err := h.Delete(h.Context(), going); err != nil {
		h.Fatal(err)
	}
	coming := scheduledBy("coming", "leaving").Namespace("plain").Obj()
	h.create(coming)
	h.runsOn(coming, "small")

	preempt(h)
	h.frugal(audit)
}

// preempt: a PriorityClass that says so spares its pods from all but the most urgent.
func preempt(h *home) {
	const policy = "preemption-toleration.scheduling.x-k8s.io/"
	for name, value := range map[string]int32{"spared": 10, "modest": 100, "urgent": 10000} {
		class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value}
		if name == "spared" {
			class.Annotations = map[string]string{
				policy + "minimum-preemptable-priority": "1000", policy + "toleration-seconds": "-1",
			}
		}
		h.create(class)
	}
	h.node(build.Node("full"), "4")
	full := func(class string) *corev1.Pod {
		return scheduledBy(class, "tolerant").Namespace("plain").NodeSelector(corev1.LabelHostname, "full").
			Request(corev1.ResourceCPU, "3").Spec(func(s *corev1.PodSpec) { s.PriorityClassName = class }).Obj()
	}
	victim := full("spared")
	h.create(victim)
	h.runsOn(victim, "full")
	modest := full("modest")
	h.create(modest)
	h.waits(modest, "Insufficient cpu")
	if h.gone(victim) {
		h.Error("a pod was preempted that its class spares")
	}
	h.create(full("urgent"))
	h.eventually("an urgent pod preempts", func() string {
		if h.gone(victim) {
			return ""
		}
		return "the victim runs"
	})
}

func (h *home) gone(pod *corev1.Pod) bool {
	h.Helper()
	err := h.Get(h.Context(), client.ObjectKeyFromObject(pod), pod)
	if client.IgnoreNotFound(err) != nil {
		h.Fatal(err)
	}
	return err != nil || pod.DeletionTimestamp != nil
}

// gangs: only when it is on does the plugin ask for its kinds, so [home.frugal] would see it.
func gangs(h *home) {
	audit, err := h.plane.Audit()
	if err != nil {
		h.Fatal(err)
	}
	config := head + profile("together", "Coscheduling", "PrioritySort") + args("Coscheduling", "") + "\n"
	kubeconfig := h.kubeconfig()
	config = strings.Replace(config, "clientConnection:\n", "clientConnection:\n  kubeconfig: "+kubeconfig+"\n", 1)
	start(h.T, ours, "--config", write(h.T, "config.yaml", config), "--secure-port=0")
	h.eventually("the scheduler asks for PodGroups", func() string {
		events, err := audit.Events()
		if err != nil {
			h.Fatal(err)
		}
		for _, event := range events {
			if event.User.Username == account && strings.Contains(event.RequestURI, kinds) {
				return ""
			}
		}
		return fmt.Sprint(len(events), " other requests")
	})
}
