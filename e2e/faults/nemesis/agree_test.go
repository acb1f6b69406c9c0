package nemesis

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// agreed returns home and a provider that agree: one namespace, one pod, one ConfigMap, one Service.
func agreed() (View, View) {
	running := func(pod *corev1.Pod) *corev1.Pod {
		pod.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.1.1.1", PodIPs: []corev1.PodIP{{IP: "10.1.1.1"}},
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "app", Ready: true}},
		}
		return pod
	}
	node := corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "b", Labels: map[string]string{v1beta1.LabelRemoteClusterID: "b"}},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: corev1.ConditionTrue},
		}},
	}
	mapping := v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{Name: "b"}}
	mapping.Spec.DesiredMapping = map[string]string{"shop": "shop-a"}
	mapping.Status.CurrentMapping = map[string]v1beta1.TwinStatus{
		"shop": {RemoteNamespace: "shop-a", Phase: v1beta1.MappingAccepted},
	}
	config := func(ns string) corev1.ConfigMap {
		return corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "c"}, Data: map[string]string{"k": "v"},
		}
	}
	copied := config("shop-a")
	copied.Labels = map[string]string{v1beta1.LabelOrigin: "a"}
	copied.Annotations = map[string]string{v1beta1.AnnotationHomeUID: "9"}
	home := View{
		Cluster: "a", Nodes: []corev1.Node{node}, Maps: []v1beta1.NamespaceMap{mapping},
		Namespaces: []corev1.Namespace{*build.Namespace("shop").UID("1").Obj()},
		Pods:       []corev1.Pod{*running(build.Pod("web").Namespace("shop").UID("2").Node("b").Obj())},
		ConfigMaps: []corev1.ConfigMap{config("shop")}, Services: []corev1.Service{*build.Service("shop", "web")},
	}
	away := View{
		Cluster: "b",
		Namespaces: []corev1.Namespace{*build.Namespace("shop-a").Annotation(v1beta1.AnnotationTwinHomeUID, "1").
			Annotation(v1beta1.AnnotationTwinHomeName, "shop").Annotation(v1beta1.AnnotationTwinOrigin, "a").Obj()},
		Pods: []corev1.Pod{*running(build.Pod("web").Namespace("shop-a").Label(v1beta1.LabelOrigin, "a").
			Annotation(v1beta1.AnnotationHomeUID, "2").Obj())},
		ConfigMaps: []corev1.ConfigMap{copied}, Services: []corev1.Service{*build.Service("shop-a", "web")},
	}
	return home, away
}

func TestWhatHomeAndAProviderDisagreeAbout(t *testing.T) {
	now := ptr.To(metav1.Now())
	for what, test := range map[string]struct {
		change func(home, away *View)
		want   string
	}{
		"nothing": {func(_, _ *View) {}, ""},
		"a node that is missing": {
			func(home, away *View) { home.Nodes, home.Pods, away.Pods = nil, nil, nil }, "b: node b: is missing",
		},
		"a node that is not ready": {
			func(home, _ *View) { home.Nodes[0].Status.Conditions = nil }, "b: node b: is not ready",
		},
		"a node on its way out": {
			func(home, _ *View) { home.Nodes[0].DeletionTimestamp = now }, "b: node b: is being deleted",
		},
		"a node that still drives pods away": {
			func(home, _ *View) { home.Nodes[0].Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeNotReady}} },
			"b: taint of node b: is still node.kubernetes.io/not-ready",
		},
		"a twin that is missing": {
			func(_, away *View) { away.Namespaces = nil }, "b: twin shop-a: is missing",
		},
		"a twin of an earlier namespace": {
			func(home, _ *View) { home.Namespaces[0].UID = "0" }, "b: twin shop-a: is that of an earlier namespace",
		},
		"a twin that home does not know of, nor what is in it": {
			func(home, away *View) {
				home.Maps[0].Status.CurrentMapping, away.ConfigMaps, home.ConfigMaps = nil, nil, nil
			},
			"b: twin shop-a: is there, and home does not know",
		},
		"a twin that nobody wants": {
			func(home, away *View) {
				home.Maps[0].Spec.DesiredMapping, home.Pods, away.Pods, away.ConfigMaps = nil, nil, nil, nil
			},
			"b: twin shop-a: is wanted by nobody",
		},
		"a twin that nobody wants, on its way with what is in it": {
			func(home, away *View) {
				home.Maps[0].Spec.DesiredMapping, home.Pods, away.Pods = nil, nil, nil
				home.ConfigMaps, home.Services, away.Namespaces[0].DeletionTimestamp = nil, nil, now
			}, "",
		},
		"a twin for a namespace that is gone": {
			func(home, _ *View) { home.Namespaces = nil },
			"b: mapping of shop: is wanted still, and the namespace is gone or on its way",
		},
		"a pod that is missing": {
			func(_, away *View) { away.Pods = nil }, "b: pod shop/web (2): is Running and has no remote pod:  ",
		},
		"a finished pod that is gone": {
			func(home, away *View) { home.Pods[0].Status.Phase, away.Pods = corev1.PodFailed, nil }, "",
		},
		"a pod that says why it is nowhere, since its namespace is not offloaded": {
			func(home, away *View) {
				home.Maps[0].Spec.DesiredMapping, away.Namespaces, away.Pods, away.ConfigMaps = nil, nil, nil, nil
				home.Pods[0].Status.Phase, home.Pods[0].Status.Reason = corev1.PodPending, "OffloadingBackOff"
			}, "",
		},
		"a pod that policy came to forbid": {
			func(home, away *View) {
				home.Pods[0].Status.Phase, home.Pods[0].Status.Reason = corev1.PodPending, "OffloadingBackOff"
				away.Pods = nil
			}, "",
		},
		"a pod in another phase": {
			func(_, away *View) { away.Pods[0].Status.Phase = corev1.PodSucceeded },
			"b: pod shop/web (2): home is Running, the remote pod Succeeded",
		},
		"a pod with another address": {
			func(_, away *View) { away.Pods[0].Status.PodIPs[0].IP = "10.1.1.2" },
			"b: pod shop/web (2): home has the addresses [10.1.1.1], the remote pod [10.1.1.2]",
		},
		"a pod that was restarted": {
			func(_, away *View) { away.Pods[0].Status.ContainerStatuses[0].RestartCount = 1 },
			"b: pod shop/web (2): container app was restarted 1 times, and home says 0",
		},
		"a pod that is ready on one side": {
			func(_, away *View) { away.Pods[0].Status.Conditions = nil },
			"b: pod shop/web (2): home is ready: true, the remote pod: false",
		},
		"a pod that is deleted on one side": {
			func(home, _ *View) { home.Pods[0].DeletionTimestamp = now },
			"b: pod shop/web (2): is being deleted on one side only",
		},
		"a pod that waits for nothing to go": {
			func(home, away *View) { home.Pods[0].DeletionTimestamp, away.Pods = now, nil },
			"b: pod shop/web (2): is being deleted, and nothing of it is left on the provider",
		},
		"a pod without a home pod": {
			func(home, _ *View) { home.Pods = nil }, "b: remote pod shop-a/web: has no home pod (2)",
		},
		"somebody else's pod": {
			func(_, away *View) { away.Pods = append(away.Pods, *build.Pod("theirs").Namespace("shop-a").Obj()) }, "",
		},
		"a copy that is missing": {
			func(_, away *View) { away.Services = nil }, "b: copy of Service shop/web: is missing",
		},
		"a copy with another content": {
			func(_, away *View) { away.ConfigMaps[0].Data["k"] = "w" },
			"b: copy of ConfigMap shop/c: the copy has other data",
		},
		"a copy of what is gone": {
			func(home, _ *View) { home.ConfigMaps = nil },
			"b: copy of ConfigMap shop-a/c: is there, and nothing at home is",
		},
		"what stays at home": {
			func(home, away *View) {
				home.ConfigMaps[0].Annotations = map[string]string{v1beta1.AnnotationSkipReflection: "true"}
				away.ConfigMaps = nil
			}, "",
		},
	} {
		t.Run(what, func(t *testing.T) {
			home, away := agreed()
			test.change(&home, &away)
			got := ""
			for i, c := range Disagreements(home, []View{away}) {
				if i > 0 {
					got += "\n"
				}
				got += c.String()
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}
