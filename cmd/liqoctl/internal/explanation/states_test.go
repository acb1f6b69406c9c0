package explanation_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/liqoctl/internal/explanation"
	"github.com/twinspace/twinspace/e2e/build"
)

const (
	load   = "not looked at: what else runs on the nodes, so a permitted node may be full"
	ranges = "not looked at: requests that a LimitRange of the namespace gives to containers when the pod is created"
)

func TestHowItStandsWithAPod(t *testing.T) {
	gate := func(s *corev1.PodSpec) { s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/quota"}} }
	scheduler := func(name string) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { s.SchedulerName = name }
	}
	owned := func(kind string) *corev1.Pod {
		pod := build.Pod("web").Node("provider-3").Phase("Running").Obj()
		pod.OwnerReferences = []metav1.OwnerReference{{Kind: kind, Name: "web", UID: "1", Controller: ptr.To(true)}}
		return pod
	}
	const astray = "pod shop/web runs on provider-3, which the policy no longer permits: cluster is not selected for " +
		"this namespace "
	evicting := func(off *v1beta1.NamespaceOffloading) {
		off.Spec.PodEvictionStrategy = v1beta1.EvictOnPolicyChange
	}
	const (
		foreign = `the policy is not applied by scheduler "theirs" unless it is one of ours: the verdicts are what ` +
			`the ` +
			"policy says, not what it does; set schedulerName: default-scheduler or liqo-scheduler"
		beside = `the policy is not applied by scheduler "default-scheduler", beside which ours runs here: the ` +
			`verdicts ` +
			"are what the policy says, not what it does; set schedulerName: liqo-scheduler"
		notRead = `whether scheduler "default-scheduler" applies the policy is not known (you may not read leases): ` +
			"where ours runs beside another, only pods with schedulerName: liqo-scheduler follow the policy"
	)
	for name, test := range map[string]struct {
		facts *scene
		pod   *corev1.Pod
		new   bool
		state explanation.State
		want  string
		notes []string
	}{
		"pending, and may go somewhere": {
			facts: shop(), pod: build.Pod("web").Obj(), state: "Pending",
			want: "pod shop/web is pending: it may go to 1 of 5 nodes", notes: []string{load},
		},
		"pending, and waits": {
			facts: shop().only("provider-2", "worker-1"), pod: build.Pod("web").Obj(), state: "Pending",
			want: "pod shop/web is pending: it may go to no node yet: see what they wait for", notes: []string{load},
		},
		"pending, and refused everywhere": {
			facts: shop().only("worker-1"), pod: build.Pod("web").Obj(), state: "Pending",
			want: "pod shop/web is pending: it may go to no node", notes: []string{load},
		},
		"pending in a cluster without nodes": {
			facts: shop().only(), pod: build.Pod("web").Obj(), state: "Pending",
			want: "pod shop/web is pending: it may go nowhere: the cluster has no nodes", notes: []string{load},
		},
		"running where it may": {
			facts: shop(), pod: build.Pod("web").Node("provider-1").Phase("Running").Obj(), state: "Running",
			want: "pod shop/web runs on provider-1, permitted", notes: []string{load},
		},
		"running at a provider that is full with it": {
			facts: shop().telling("provider-1", `{"cpu":"0"}`, `{"1":"2026-11-21T18:00:00Z"}`),
			pod: build.Pod("web").Node("provider-1").Phase("Running").Request("cpu", "1").
				Controller("ReplicaSet", "web", "1").Obj(),
			state: "Running", want: "pod shop/web runs on provider-1, permitted", notes: []string{load},
		},
		"running where it may no longer": {
			facts: shop(), pod: build.Pod("web").Node("worker-1").Phase("Running").Obj(), state: "Running",
			want: "pod shop/web runs on worker-1, which the policy no longer permits: strategy Remote sends the " +
				"pods of " +
				"this namespace to virtual nodes (it stays until it is deleted)",
			notes: []string{load},
		},
		"running where it may no longer, and pods are evicted": {
			facts: shop(evicting), pod: owned("ReplicaSet"), state: "Running",
			want:  astray + "(it is evicted while another permitted node could take it)",
			notes: []string{load},
		},
		"running where it may no longer, and pods are evicted, but nobody would replace it": {
			facts: shop(evicting), pod: build.Pod("web").Node("provider-3").Phase("Running").Obj(), state: "Running",
			want:  astray + "(it stays until it is deleted: pods that no controller would replace are not evicted)",
			notes: []string{load},
		},
		"running where it may no longer, and pods are evicted, but it belongs there": {
			facts: shop(evicting), pod: owned("DaemonSet"), state: "Running",
			want:  astray + "(it stays: pods that belong to their node are not evicted)",
			notes: []string{load},
		},
		"running where it may no longer, and pods are evicted, but its scheduler would put it back": {
			facts: shop(evicting), pod: theirs(owned("ReplicaSet")), state: "Running",
			want:  astray + "(it stays: its scheduler is none of ours and would put another one there)",
			notes: []string{foreign, load},
		},
		"running where the twin is not ready any more": {
			facts: shop(), pod: build.Pod("web").Node("provider-2").Phase("Running").Obj(), state: "Running",
			want: "pod shop/web runs on provider-2, to which a new pod would wait to go: the twin namespace on " +
				"cluster " +
				`"provider-2" is not ready yet`,
			notes: []string{load},
		},
		"running, says its status, on a node that is gone": {
			facts: shop(), pod: build.Pod("web").Node("worker-9").Phase("Running").Obj(), state: "Running",
			want: "pod shop/web runs on worker-9, which does not exist", notes: []string{load},
		},
		"running, and nodes may not be read": {
			facts: shop().unread(explanation.Nodes), pod: build.Pod("web").Node("provider-1").Phase("Running").Obj(),
			state: "Running", want: "pod shop/web runs on provider-1; whether the policy permits that is not known: " +
				"you may not read nodes",
			notes: []string{"you may not read nodes", load},
		},
		"bound behind the scheduler's back": {
			facts: shop(strategy(v1beta1.Local)),
			pod:   backedOff(build.Pod("web").Node("provider-1").Phase("Pending").Obj()),
			state: "Bound",
			want: "pod shop/web is bound to provider-1, which the policy does not permit: strategy Local keeps the " +
				"pods " +
				"of this namespace at home",
			notes: []string{"the node says: OffloadingBackOff: not here", load},
		},
		"finished": {
			facts: shop(), pod: build.Pod("web").Node("worker-1").Phase("Succeeded").Obj(), state: "Finished",
			want: "pod shop/web has finished (Succeeded) on worker-1: it is not scheduled again", notes: []string{},
		},
		"deleting before it was bound": {
			facts: shop(), pod: deleting(build.Pod("web").Phase("Pending").Obj()), state: "Deleting",
			want: "pod shop/web is being deleted: it is not scheduled again", notes: []string{},
		},
		"gated": {
			facts: shop(), pod: build.Pod("web").Spec(gate).Obj(), state: "Gated",
			want: "pod shop/web is held by its scheduling gate example.com/quota: no scheduler looks at it until " +
				"that " +
				"is removed",
			notes: []string{load},
		},
		"not created": {
			facts: shop(), pod: build.Pod("web").Obj(), new: true, state: "NotCreated",
			want: "pod shop/web, if created, may go to 1 of 5 nodes", notes: []string{ranges, load},
		},
		"not created, and gated": {
			facts: shop(), pod: build.Pod("web").Spec(gate).Obj(), new: true, state: "NotCreated",
			want: "pod shop/web, if created, may go to 1 of 5 nodes, once its scheduling gate example.com/quota is " +
				"removed",
			notes: []string{ranges, load},
		},
		"not created, with a node": {
			facts: shop(), pod: build.Pod("web").Node("provider-1").Obj(), new: true, state: "NotCreated",
			want: "pod shop/web, if created, may go to 1 of 5 nodes",
			notes: []string{
				ranges,
				"spec.nodeName passes the scheduler by; a virtual node checks the policy itself and leaves a pod " +
					"that " +
					"is not permitted Pending, with reason OffloadingBackOff", load,
			},
		},
		"not created, with a node that does not exist": {
			facts: shop(), pod: build.Pod("web").Node("worker-9").Obj(), new: true, state: "NotCreated",
			want: "pod shop/web, if created, may go to no node",
			notes: []string{
				ranges, "spec.nodeName passes the scheduler by, and node worker-9 does not exist: the pod is deleted " +
					"again", load,
			},
		},
		"another scheduler": {
			facts: shop(), pod: build.Pod("web").Spec(scheduler("theirs")).Obj(), state: "Pending",
			want: "pod shop/web is pending: it may go to 1 of 5 nodes", notes: []string{foreign, load},
		},
		"the default scheduler, beside which ours runs": {
			facts: shop().beside(), pod: build.Pod("web").Obj(), state: "Pending",
			want: "pod shop/web is pending: it may go to 1 of 5 nodes", notes: []string{beside, load},
		},
		"ours, which runs beside": {
			facts: shop().beside(), pod: build.Pod("web").Spec(scheduler("liqo-scheduler")).Obj(), state: "Pending",
			want: "pod shop/web is pending: it may go to 1 of 5 nodes", notes: []string{load},
		},
		"a scheduler of which nothing may be known": {
			facts: shop().unread(explanation.Leases), pod: build.Pod("web").Obj(), state: "Pending",
			want: "pod shop/web is pending: it may go to 1 of 5 nodes", notes: []string{notRead, load},
		},
		"a class that does not exist": {
			facts: shop().without("gvisor"), pod: build.Pod("web").RuntimeClass("gvisor").Obj(), new: true,
			state: "NotCreated", want: "pod shop/web, if created, may go to 1 of 5 nodes",
			notes: []string{
				`the pod cannot be created: RuntimeClass "gvisor" does not exist (kubectl get runtimeclasses lists ` +
					"those that do)", ranges, load,
			},
		},
		"a class that contradicts the node selector": {
			facts: shop(), pod: build.Pod("web").RuntimeClass("liqo").NodeSelector(v1beta1.LabelNodeType, "none").Obj(),
			new: true, state: "NotCreated", want: "pod shop/web, if created, may go to no node",
			notes: []string{
				"the pod cannot be created: its node selector says liqo.io/type=none, RuntimeClass \"liqo\" says " +
					"liqo.io/type=virtual-node", ranges, load,
			},
		},
		"rules that nobody looks at here": {
			facts: shop(), pod: build.Pod("web").Spec(farFetched).Obj(), state: "Pending",
			want: "pod shop/web is pending: it may go to 1 of 5 nodes",
			notes: []string{
				"not looked at: the pod's affinity to other pods, topology spread, zones and limits of volumes, " +
					"host ports", load,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := explanation.OfPod(test.facts.Facts, explanation.Subject{
				Pod: inShop(test.pod), Live: !test.new,
			})
			if got.Pod.State != test.state {
				t.Errorf("state %s, want %s", got.Pod.State, test.state)
			}
			if diff := cmp.Diff(test.want, got.Summary); diff != "" {
				t.Errorf("summary (-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff(test.notes, got.Notes); diff != "" {
				t.Errorf("notes (-want,+got):\n%s", diff)
			}
		})
	}
}

func inShop(pod *corev1.Pod) *corev1.Pod {
	pod.Namespace = "shop"
	return pod
}

func theirs(pod *corev1.Pod) *corev1.Pod {
	pod.Spec.SchedulerName = "theirs"
	return pod
}

func backedOff(pod *corev1.Pod) *corev1.Pod {
	pod.Status.Reason, pod.Status.Message = "OffloadingBackOff", "not here"
	return pod
}

func deleting(pod *corev1.Pod) *corev1.Pod {
	pod.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	return pod
}

func farFetched(s *corev1.PodSpec) {
	s.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{}}
	s.TopologySpreadConstraints = []corev1.TopologySpreadConstraint{{}}
	s.Volumes = []corev1.Volume{{VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{},
	}}}
	s.Containers[0].Ports = []corev1.ContainerPort{{HostPort: 80}}
}

func TestWhatTheSchedulerSaidIsRepeated(t *testing.T) {
	pod := inShop(build.Pod("web").Obj())
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionFalse, Message: "no"},
		{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/5 nodes are\n available"},
	}
	got := explanation.OfPod(shop().Facts, explanation.Subject{Pod: pod, Live: true}).Pod.SchedulerSays
	if got != "0/5 nodes are available" {
		t.Errorf("got %q", got)
	}
}

func TestWhereThePodsOfANamespaceMayGo(t *testing.T) {
	for name, test := range map[string]struct {
		facts   *scene
		class   string
		want    []string
		summary string
	}{
		"not offloaded": {
			facts: shop().bare().only("provider-1", "worker-1", "worker-2"), want: []string{
				"provider-1: refused | NotOffloaded: namespace is not offloaded", "worker-1,worker-2: permitted",
			}, summary: "pods of namespace shop may go to 2 of 3 nodes",
		},
		"with class liqo": {
			facts: shop(strategy(v1beta1.LocalAndRemote)), class: "liqo", want: []string{
				"provider-1: permitted", "provider-2: waits | " + twinWaits, "provider-3: refused | " + notSelected,
				"worker-1,worker-2: refused | " + class,
			}, summary: "pods of namespace shop with RuntimeClass liqo may go to 1 of 5 nodes",
		},
		"a virtual node whose Node does not exist": {
			facts: shop().only("worker-1").declares("provider-1"), want: []string{
				"provider-1: waits | NodeMissing: the node does not exist yet: is the provider's agent running?",
				"worker-1: refused | " + remote,
			}, summary: "pods of namespace shop may go to no node yet: see what they wait for",
		},
		"everywhere": {
			facts:   shop(strategy(v1beta1.LocalAndRemote)).only("provider-1", "worker-1"),
			want:    []string{"provider-1: permitted", "worker-1: permitted"},
			summary: "pods of namespace shop may go to all 2 nodes",
		},
		"a cordoned node is told, the policy permits it": {
			facts:   shop().only("provider-1").cordoned(),
			want:    []string{"provider-1: permitted | (the node is cordoned)"},
			summary: "pods of namespace shop may go to the only node",
		},
		"twins may not be read": {
			facts: shop().unread(explanation.Maps), want: []string{
				`provider-1: unknown | Unknown: whether the twin namespace on cluster "provider-1" is ready is not ` +
					`known: ` +
					"you may not read namespacemaps",
				`provider-2: unknown | Unknown: whether the twin namespace on cluster "provider-2" is ready is not ` +
					`known: ` +
					"you may not read namespacemaps",
				"provider-3: refused | " + notSelected, "worker-1,worker-2: refused | " + remote,
			}, summary: "pods of namespace shop may perhaps go to 2 of 5 nodes: not everything is known",
		},
		"the policy may not be read": {
			facts: shop().unread(explanation.Offloadings).only("provider-1", "worker-1"), want: []string{
				"provider-1: unknown | Unknown: you may not read namespaceoffloadings",
				"worker-1: unknown | Unknown: you may not read namespaceoffloadings",
			}, summary: "pods of namespace shop may perhaps go to all 2 nodes: not everything is known",
		},
		"the namespace may not be read, but its offloading is processed": {
			facts: shop().unread(explanation.Namespaces).only("provider-1", "worker-1"), want: []string{
				"provider-1: permitted", "worker-1: refused | " + remote,
			}, summary: "pods of namespace shop may go to 1 of 2 nodes",
		},
		"the namespace may not be read, and its label matters": {
			facts: shop().bare().unread(explanation.Namespaces).only("worker-1"), want: []string{
				"worker-1: unknown | Unknown: you may not read namespaces",
			}, summary: "pods of namespace shop may perhaps go to the only node: not everything is known",
		},
		"nodes may not be read, strategy Remote": {
			facts: shop(settled).unread(explanation.Nodes), want: []string{
				`: unknown | Unknown: you may not read nodes | (its NamespaceOffloading says of the twin on ` +
					`cluster "b": ` +
					"NamespaceCreated)",
				": refused | " + remote,
			}, summary: "pods of namespace shop may go to nodes that are not known: you may not read nodes",
		},
		"nodes may not be read, strategy Local": {
			facts: shop(strategy(v1beta1.Local)).unread(explanation.Nodes), want: []string{
				": refused | " + local, ": permitted",
			}, summary: "pods of namespace shop may go to ordinary nodes only",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := explanation.OfNamespace(test.facts.Facts, test.class)
			if diff := cmp.Diff(test.want, lines(got.Verdicts)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff(test.summary, got.Summary); diff != "" {
				t.Errorf("summary (-want,+got):\n%s", diff)
			}
		})
	}
}

func settled(off *v1beta1.NamespaceOffloading) {
	off.Status.RemoteNamespacesConditions = map[string][]v1beta1.ClusterCondition{"b": {
		{Type: v1beta1.ConditionOffloadingRequired, Status: "True", Reason: v1beta1.ReasonClusterSelected},
		{Type: v1beta1.ConditionReady, Status: "True", Reason: v1beta1.ReasonNamespaceCreated},
	}}
}

// A pod's own rules need the nodes, so where these may not be read ordinary nodes are not known to take it either.
func TestAPodWhoseNodesMayNotBeRead(t *testing.T) {
	facts := shop(strategy(v1beta1.Local)).unread(explanation.Nodes).Facts
	got := explanation.OfPod(facts, explanation.Subject{Pod: inShop(build.Pod("web").Obj()), Live: true})
	want := []string{": refused | " + local, ": unknown | Unknown: you may not read nodes"}
	if diff := cmp.Diff(want, lines(got.Verdicts)); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	if want := "pod shop/web is pending: it may go to nodes that are not known: you may not read " +
		"nodes"; got.Summary != want {
		t.Errorf("got %q, want %q", got.Summary, want)
	}
}
