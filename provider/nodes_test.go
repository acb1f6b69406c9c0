package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/reflection/remote"
)

// site is a world in which the agent keeps the Nodes.
type site struct {
	*shop
	vns    client.Client
	health *fakeHealth
}

// One pair of API servers and one agent, as it is in life; the cases follow each other on different VirtualNodes.
func TestNodesOnRealServers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := &site{shop: w.shop(t, "shop"), vns: w.planes[0].Client(), health: &fakeHealth{}}
	s.namespace(s.home, v1beta1.TenantNamespace(provider), nil)
	s.worker("worker-1", "4", true)
	s.worker("worker-2", "2", true)
	s.worker("broken", "64", false)
	s.start()
	for _, tc := range []struct {
		name string
		test func(*site)
	}{
		{"a Node says what the provider offers", testNodeTrue},
		{"drift is repaired, and what others set stays", testNodeDrift},
		{"a steady Node is not written to", testNodeSteady},
		{"a quota wins over what the provider has", testNodeQuota},
		{"a foreign Node is never touched", testNodeForeign},
		{"an unreachable provider shows with its reason", testNodeUnreachable},
		{"a lease never goes back", testLease},
		{"a VirtualNode that is held keeps its Node and its pods", testNodeHeld},
		{"a Node deleted by hand waits for its pods and comes back", testNodeDeletedByHand},
		{"a Node waits for remote pods that outlive theirs", testNodeWaitsForRemotePods},
		{"a Node that was torn away comes back", testNodeTornAway},
		{"a cordon stays", testNodeCordoned},
		{"a Node that lost its VirtualNode goes", testNodeAbandoned},
		{"the largest free node follows nodes and pods", testNodeFree},
		{"a quota that is used up shows", testNodeQuotaPressure},
		{"no Node is made when none is asked for", testNoNode},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.test(&site{shop: &shop{world: &world{T: t, home: s.home, away: s.away, planes: s.planes}, ns: s.ns,
				twin: s.twin},
				vns: s.vns, health: s.health})
		})
	}
}

// worker makes a node of the provider.
func (s *site) worker(name, cpus string, ready bool) {
	s.Helper()
	node := must(s.T, s.away.CoreV1().Nodes().Create, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
	node.Status = corev1.NodeStatus{
		Capacity: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpus),
			corev1.ResourcePods: resource.MustParse("110")},
		Allocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpus),
			corev1.ResourcePods: resource.MustParse("100")},
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}},
		NodeInfo:   corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "arm64"},
	}
	if ready {
		node.Status.Conditions[0].Status = corev1.ConditionTrue
	}
	if _, err := s.away.CoreV1().Nodes().UpdateStatus(s.Context(), node, metav1.UpdateOptions{}); err != nil {
		s.Fatal(err)
	}
}

func (s *site) start(changes ...func(*PodsOptions)) {
	s.Helper()
	mgr, err := ctrl.NewManager(s.planes[0].Config(), ctrl.Options{
		Scheme: s.vns.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Controller: config.Controller{SkipNameValidation: ptr.To(true)}, // several tests have one in this process
	})
	if err != nil {
		s.Fatal(err)
	}
	recorder := events.NewFakeRecorder(1000)
	home, away := clientset(s.T, s.planes[0], agentName), clientset(s.T, s.planes[1], agentName)
	o := PodsOptions{
		Home: home, Away: away, Origin: "home", Destination: provider, Recorder: recorder, Health: s.health,
		NodeIPs: []string{"192.0.2.1"}, Mapped: Mapped(mgr.GetClient(), provider),
	}
	for _, change := range changes {
		change(&o)
	}
	pods := NewPods(o)
	nodes := &Nodes{
		Client: mgr.GetClient(), Home: home, Provider: provider, Offers: NewOffers(away, provider),
		Pods: pods, Health: s.health,
		IPs: []string{"192.0.2.1"}, Port: 10250, Version: "v1.35.4-twinspace", Clock: clock.RealClock{},
		Recorder: recorder,
	}
	if err := errors.Join(mgr.Add(pods), nodes.SetupWithManager(mgr)); err != nil {
		s.Fatal(err)
	}
	pods.TwinReady(s.ns, s.twin)
	ctx, cancel := context.WithCancel(s.Context())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	s.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.Error(err)
		}
	})
}

func (s *site) virtualNode(name string, change func(*v1beta1.VirtualNode)) *v1beta1.VirtualNode {
	s.Helper()
	vn := build.VirtualNode(name, provider, "topology.kubernetes.io/region", "region-1")
	if change != nil {
		change(vn)
	}
	if err := s.vns.Create(s.Context(), vn); err != nil {
		s.Fatal(err)
	}
	return vn
}

// node waits until the Node is as check wants it.
func (s *site) node(name string, check func(*corev1.Node) error) *corev1.Node {
	s.Helper()
	var out *corev1.Node
	s.eventually("Node "+name, func() (err error) {
		if out, err = s.home.CoreV1().Nodes().Get(s.Context(), name, metav1.GetOptions{}); err != nil {
			return err
		}
		return check(out)
	})
	return out
}

func readyIs(status corev1.ConditionStatus, reason string) func(*corev1.Node) error {
	return func(n *corev1.Node) error {
		for _, c := range n.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == status && c.Reason == reason {
				return nil
			}
		}
		return fmt.Errorf("want Ready %s %s, got %v", status, reason, n.Status.Conditions)
	}
}

// state waits until the VirtualNode says this of its Node.
func (s *site) state(vn *v1beta1.VirtualNode, status v1beta1.VirtualNodeConditionStatus, message string) {
	s.Helper()
	s.eventually("VirtualNode "+vn.Name, func() error {
		var got v1beta1.VirtualNode
		if err := s.vns.Get(s.Context(), client.ObjectKeyFromObject(vn), &got); err != nil {
			return err
		}
		for _, c := range got.Status.Conditions {
			if c.Type == v1beta1.NodeCondition && c.Status == status && strings.Contains(c.Message, message) {
				return nil
			}
		}
		return fmt.Errorf("want %s %q, got %v", status, message, got.Status.Conditions)
	})
}

func testNodeTrue(s *site) {
	vn := s.virtualNode("vn-true", func(vn *v1beta1.VirtualNode) {
		vn.Spec.Annotations = map[string]string{"note": "n"}
		vn.Spec.Taints = []corev1.Taint{{Key: "extra", Effect: corev1.TaintEffectNoSchedule}}
		vn.Spec.Images = []corev1.ContainerImage{{Names: []string{"registry.example/app:1"}, SizeBytes: 5}}
	})
	n := s.node("vn-true", readyIs(corev1.ConditionTrue, "KubeletReady"))
	s.state(vn, v1beta1.StatusRunning, "")
	labels := vn.NodeLabels()
	labels[corev1.LabelArchStable], labels[corev1.LabelOSStable] = "arm64", "linux"
	if !equality.Semantic.DeepEqual(labels, n.Labels) || n.Annotations["note"] != "n" {
		s.Errorf("labels %v, annotations %v", n.Labels, n.Annotations)
	}
	for _, want := range []corev1.Taint{v1beta1.Taint(), {Key: "extra", Effect: corev1.TaintEffectNoSchedule}} {
		if !hasTaint(n, want) {
			s.Errorf("taint %v is missing: %v", want, n.Spec.Taints)
		}
	}
	want := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("6"),
		corev1.ResourcePods: resource.MustParse("200")}
	if !equality.Semantic.DeepEqual(want, n.Status.Allocatable) {
		s.Errorf("want the two ready nodes' sum %v, got %v", want, n.Status.Allocatable)
	}
	if n.Status.DaemonEndpoints.KubeletEndpoint.Port != 10250 || len(n.Status.Images) != 1 ||
		n.Status.NodeInfo.KubeletVersion != "v1.35.4-twinspace" || len(n.Status.Addresses) != 2 {
		s.Errorf("the status lacks something: %+v", n.Status)
	}
}

func hasTaint(n *corev1.Node, want corev1.Taint) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool {
		return t.MatchTaint(&want) &&
			t.Value == want.Value
	})
}

func (s *site) patchNode(name, patch string, subresources ...string) {
	s.Helper()
	if _, err := s.home.CoreV1().Nodes().Patch(s.Context(), name, types.MergePatchType, []byte(patch),
		metav1.PatchOptions{}, subresources...); err != nil {
		s.Fatal(err)
	}
}

func testNodeDrift(s *site) {
	s.patchNode("vn-true", `{"metadata":{"labels":{"kubernetes.io/arch":"z80","mine":"stays"}},"spec":{"taints":[`+
		`{"key":"node.kubernetes.io/not-ready","effect":"NoExecute"},{"key":"admins","effect":"NoSchedule"}]}}`)
	s.patchNode("vn-true", `{"status":{"allocatable":{"cpu":"999"},"capacity":{"gpu":"1"}}}`, "status")
	n := s.node("vn-true", func(n *corev1.Node) error {
		if n.Labels[corev1.LabelArchStable] != "arm64" || !hasTaint(n, v1beta1.Taint()) ||
			n.Status.Allocatable.Cpu().Value() != 6 {
			return fmt.Errorf("labels %v, taints %v, %v", n.Labels, n.Spec.Taints, n.Status.Allocatable)
		}
		return nil
	})
	if n.Labels["mine"] != "stays" || !hasTaint(n, corev1.Taint{Key: "admins", Effect: corev1.TaintEffectNoSchedule}) ||
		!hasTaint(n, corev1.Taint{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoExecute}) {
		s.Errorf("what others set is gone: %v, %v", n.Labels, n.Spec.Taints)
	}

	vn := build.VirtualNode("vn-true", provider)
	patch := `{"spec":{"taints":null,"labels":{"topology.kubernetes.io/region":null,"new":"label"}}}`
	if err := s.vns.Patch(s.Context(), vn, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		s.Fatal(err)
	}
	s.node("vn-true", func(n *corev1.Node) error {
		if n.Labels["new"] != "label" || n.Labels["topology.kubernetes.io/region"] != "" {
			return fmt.Errorf("labels %v", n.Labels)
		}
		if hasTaint(n, corev1.Taint{Key: "extra", Effect: corev1.TaintEffectNoSchedule}) || len(n.Spec.Taints) != 3 {
			return fmt.Errorf("taints %v", n.Spec.Taints)
		}
		return nil
	})
	s.worker("worker-3", "1", true)
	s.node("vn-true", func(n *corev1.Node) error {
		if n.Status.Allocatable.Cpu().Value() != 7 {
			return fmt.Errorf("a new worker does not count: %v", n.Status.Allocatable)
		}
		return nil
	})
}

func testNodeSteady(s *site) {
	was := s.node("vn-true", readyIs(corev1.ConditionTrue, "KubeletReady"))
	s.never("the Node is written to", func() error {
		n, err := s.home.CoreV1().Nodes().Get(s.Context(), "vn-true", metav1.GetOptions{})
		if err == nil && n.ResourceVersion != was.ResourceVersion {
			return fmt.Errorf("resource version %s, was %s", n.ResourceVersion, was.ResourceVersion)
		}
		return err
	})
}

func testNodeQuota(s *site) {
	s.virtualNode("vn-quota", func(vn *v1beta1.VirtualNode) {
		vn.Spec.ResourceQuota.Hard = corev1.ResourceList{
			corev1.ResourceRequestsCPU: resource.MustParse("3"), corev1.ResourceLimitsCPU: resource.MustParse("9"),
			"example.com/gpu": resource.MustParse("2"),
		}
	})
	s.node("vn-quota", func(n *corev1.Node) error {
		want := corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("3"),
			"example.com/gpu":   resource.MustParse("2"),
			corev1.ResourcePods: resource.MustParse("300")}
		if !equality.Semantic.DeepEqual(want, n.Status.Allocatable) {
			return fmt.Errorf("want %v, got %v", want, n.Status.Allocatable)
		}
		return nil
	})
}

func testNodeForeign(s *site) {
	foreign := must(s.T, s.home.CoreV1().Nodes().Create, build.Node("vn-foreign"))
	vn := s.virtualNode("vn-foreign", nil)
	s.state(vn, v1beta1.StatusNone, "is not ours")
	if err := s.vns.Delete(s.Context(), vn); err != nil {
		s.Fatal(err)
	}
	s.never("a foreign Node is touched", func() error {
		n, err := s.home.CoreV1().Nodes().Get(s.Context(), "vn-foreign", metav1.GetOptions{})
		if err == nil && n.ResourceVersion != foreign.ResourceVersion {
			return errors.New("its resource version changed")
		}
		return err
	})
}

func testNodeUnreachable(s *site) {
	s.health.set(&remote.UnhealthyError{Reason: remote.ReasonCredentialsRejected, Message: "our token expired"})
	s.node("vn-true", readyIs(corev1.ConditionFalse, "RemoteCredentialsRejected"))
	s.health.set(nil)
	s.node("vn-true", readyIs(corev1.ConditionTrue, "KubeletReady"))
}

func testLease(s *site) {
	leases := s.home.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	future := metav1.NewMicroTime(time.Now().Add(time.Hour))
	must(s.T, leases.Create, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "vn-lease"}, Spec: coordinationv1.LeaseSpec{RenewTime: &future},
	})
	s.virtualNode("vn-lease", nil)
	n := s.node("vn-lease", readyIs(corev1.ConditionTrue, "KubeletReady"))
	s.eventually("the lease goes on from where another replica left it", func() error {
		l, err := leases.Get(s.Context(), "vn-lease", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if len(l.OwnerReferences) != 1 || l.OwnerReferences[0].UID != n.UID || !l.Spec.RenewTime.After(future.Time) {
			return fmt.Errorf("%v, renewed %v", l.OwnerReferences, l.Spec.RenewTime)
		}
		return nil
	})
}

func testNoNode(s *site) {
	vn := s.virtualNode("vn-none", func(vn *v1beta1.VirtualNode) { vn.Spec.CreateNode = ptr.To(false) })
	s.state(vn, v1beta1.StatusNone, "")
	if _, err := s.home.CoreV1().Nodes().Get(s.Context(), "vn-none", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		s.Errorf("a Node was made: %v", err)
	}
	vn.Spec.CreateNode = nil
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"createNode":true}}`))
	if err := s.vns.Patch(s.Context(), vn, patch); err != nil {
		s.Fatal(err)
	}
	s.node("vn-none", readyIs(corev1.ConditionTrue, "KubeletReady"))
}
