package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// viewOf sees what a cache of the agent of provider milan would hold.
func viewOf(t *testing.T, objs ...client.Object) *homeView {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objs...).Build()
	return &homeView{home: c, homeID: "rome", clusterID: "milan"}
}

func virtualNode(name string, change func(*v1beta1.VirtualNodeSpec)) *v1beta1.VirtualNode {
	vn := &v1beta1.VirtualNode{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1beta1.TenantNamespace("milan"), Name: name,
	}}
	change(&vn.Spec)
	return vn
}

func node(name, provider string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, UID: "uid", ResourceVersion: "7", Annotations: map[string]string{"large": "x"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "m", Operation: metav1.ManagedFieldsOperationApply,
			APIVersion: "v1", FieldsType: "FieldsV1", FieldsV1: &metav1.FieldsV1{Raw: []byte("{}")}}},
	}, Status: corev1.NodeStatus{Phase: corev1.NodeRunning}}
	if provider != "" {
		n.Labels = map[string]string{v1beta1.LabelRemoteClusterID: provider, "other": "label"}
	}
	return n
}

func TestWherePodsOfANodeRun(t *testing.T) {
	view := viewOf(t, node("milan", "milan"), node("turin-big", "turin"), node("worker", ""))
	for name, want := range map[string]string{
		"milan": "milan", "turin-big": "turin", "worker": "rome", "not in the cache": "rome", "": "rome",
	} {
		if got := view.clusterOf(name); got != want {
			t.Errorf("pods of node %q: want cluster %s, got %s", name, want, got)
		}
	}
}

func TestLoadBalancerClassesOfAllVirtualNodes(t *testing.T) {
	offers := func(names ...string) func(*v1beta1.VirtualNodeSpec) {
		return func(spec *v1beta1.VirtualNodeSpec) {
			for _, name := range names {
				spec.LoadBalancerClasses = append(spec.LoadBalancerClasses,
					v1beta1.LoadBalancerType{LoadBalancerClassName: name})
			}
		}
	}
	elsewhere := virtualNode("d", offers("of another provider"))
	elsewhere.Namespace = v1beta1.TenantNamespace("turin")
	view := viewOf(t, virtualNode("b", offers("x/2", "x/1")), virtualNode("a", offers("x/3")),
		virtualNode("c", offers()), elsewhere)
	var got []string
	for _, class := range view.loadBalancerClasses() {
		got = append(got, class.LoadBalancerClassName)
	}
	if diff := cmp.Diff([]string{"x/3", "x/2", "x/1"}, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestOnlyVirtualNodesThatAskForANodeHaveOne(t *testing.T) {
	create := func(does *bool) func(*v1beta1.VirtualNodeSpec) {
		return func(spec *v1beta1.VirtualNodeSpec) { spec.CreateNode = does }
	}
	view := viewOf(t, virtualNode("unsaid", create(nil)), virtualNode("yes", create(ptr.To(true))),
		virtualNode("no", create(ptr.To(false))))
	for name, want := range map[string]bool{"unsaid": true, "yes": true, "no": false, "unknown": false} {
		if got := view.ourNode(name); got != want {
			t.Errorf("%s: want %v, got %v", name, want, got)
		}
	}
}

func TestOfOtherProvidersNodesOnlyTheProviderIsKept(t *testing.T) {
	for name, tc := range map[string]struct{ have, want any }{
		"ours, whole": {node("milan", "milan"), node("milan", "milan")},
		"another's": {node("turin", "turin"), &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: "turin", UID: "uid", ResourceVersion: "7",
			Labels: map[string]string{v1beta1.LabelRemoteClusterID: "turin"},
		}}},
		"no Node": {"a tombstone", "a tombstone"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := theirsByLabel("milan")(tc.have)
			if diff := cmp.Diff(tc.want, got); diff != "" || err != nil {
				t.Errorf("%v; -want,+got:\n%s", err, diff)
			}
		})
	}
}

func TestIngressClassesOfAllVirtualNodes(t *testing.T) {
	offers := func(name string) func(*v1beta1.VirtualNodeSpec) {
		return func(spec *v1beta1.VirtualNodeSpec) {
			spec.IngressClasses = []v1beta1.IngressType{{IngressClassName: name, Default: true}}
		}
	}
	view := viewOf(t, virtualNode("b", offers("traefik")), virtualNode("a", offers("nginx")))
	want := []v1beta1.IngressType{
		{IngressClassName: "nginx", Default: true}, {IngressClassName: "traefik", Default: true},
	}
	if diff := cmp.Diff(want, view.ingressClasses()); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestReflectionLooksAgainWhenVirtualNodesOfferSomethingElse(t *testing.T) {
	vn := virtualNode("a", func(*v1beta1.VirtualNodeSpec) {})
	view := viewOf(t, vn)
	looks := 0
	changed := refreshOnNewNodes(view, func() { looks++ })
	for _, step := range []struct {
		name   string
		change func()
		want   int
	}{
		{"it is seen", func() {}, 1},
		{"its status changes", func() { vn.Status.Conditions = []v1beta1.VirtualNodeCondition{{Type: "Node"}} }, 1},
		{"it offers a class", func() {
			vn.Spec.IngressClasses = []v1beta1.IngressType{{IngressClassName: "nginx"}}
		}, 2},
		{"that is for all now", func() { vn.Spec.IngressClasses[0].Default = true }, 3},
		{"it has a Node no more", func() { vn.Spec.CreateNode = ptr.To(false) }, 4},
	} {
		step.change()
		if err := view.home.Update(t.Context(), vn); err != nil {
			t.Fatal(err)
		}
		changed(vn)
		if looks != step.want {
			t.Errorf("%s: want %d looks, got %d", step.name, step.want, looks)
		}
	}
}
