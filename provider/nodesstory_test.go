package provider

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// host makes a VirtualNode that the controller-manager would hold, and waits for its Node.
func (s *site) host(name string) (*v1beta1.VirtualNode, *corev1.Node) {
	s.Helper()
	vn := s.virtualNode(name, func(vn *v1beta1.VirtualNode) { vn.Finalizers = []string{v1beta1.FinalizerVirtualNode} })
	return vn, s.node(name, readyIs(corev1.ConditionTrue, "KubeletReady"))
}

// guest makes a pod that runs on a Node, and on a node of the provider.
func (s *site) guest(name, node, worker string, change func(*build.PodBuilder)) (home, away *corev1.Pod) {
	s.Helper()
	b := build.Pod(name).Namespace(s.ns).Node(node)
	if change != nil {
		change(b)
	}
	home = must(s.T, s.home.CoreV1().Pods(s.ns).Create, b.Obj())
	away = s.remote(home)
	if err := s.away.CoreV1().Pods(s.twin).Bind(s.Context(), &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: away.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: worker},
	}, metav1.CreateOptions{}); err != nil {
		s.Fatal(err)
	}
	s.report(away, corev1.PodStatus{Phase: corev1.PodRunning})
	return s.phase(home, corev1.PodRunning), away
}

// farewell deletes a home pod and plays the provider's kubelet, until both are gone.
func (s *site) farewell(home, away *corev1.Pod) {
	s.Helper()
	s.deleteHome(home.Name, nil)
	s.eventually("the remote pod is being deleted", func() error {
		if pod, err := s.awayPod(away.Name); err == nil && pod.DeletionTimestamp == nil {
			return errors.New("it is not")
		}
		return nil
	})
	if _, err := s.awayPod(away.Name); err == nil {
		s.end(away)
	}
	s.gone(s.homePod, home)
}

// noNode waits until there is no Node of that name.
func (s *site) noNode(name string) {
	s.Helper()
	s.eventually("Node "+name+" goes", func() error {
		_, err := s.home.CoreV1().Nodes().Get(s.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("it is there: %w", err)
	})
}

func isClosed(n *corev1.Node) error {
	if !n.Spec.Unschedulable || !hasTaint(n, v1beta1.TaintLeaving()) {
		return fmt.Errorf("it takes pods: cordoned %t, taints %v", n.Spec.Unschedulable, n.Spec.Taints)
	}
	return nil
}

func isOpen(n *corev1.Node) error {
	if n.Spec.Unschedulable || hasTaint(n, v1beta1.TaintLeaving()) {
		return fmt.Errorf("it takes no pods: cordoned %t, taints %v", n.Spec.Unschedulable, n.Spec.Taints)
	}
	return nil
}

// mayGo plays the controller-manager, for which nothing holds the VirtualNode any more.
func (s *site) mayGo(vn *v1beta1.VirtualNode) {
	s.Helper()
	s.eventually("the controller-manager says that it may go", func() error {
		var now v1beta1.VirtualNode
		if err := s.vns.Get(s.Context(), client.ObjectKeyFromObject(vn), &now); err != nil {
			return err
		}
		for i, c := range now.Status.Conditions {
			if c.Type == v1beta1.VirtualKubeletCondition {
				now.Status.Conditions[i].Status = v1beta1.StatusDeleting
			}
		}
		return s.vns.Status().Update(s.Context(), &now)
	})
}

// A VirtualNode that is held, by its volumes say, keeps its Node and what runs there; nothing new comes.
func testNodeHeld(s *site) {
	vn, node := s.host("vn-held")
	home, away := s.guest("stays", "vn-held", "worker-1", nil)
	if err := s.vns.Delete(s.Context(), vn); err != nil {
		s.Fatal(err)
	}
	s.state(vn, v1beta1.StatusDraining, "waiting for 1 pods to end, such as "+s.ns+"/stays")
	s.node("vn-held", isClosed)
	was := s.renewal("vn-held")
	s.patchNode("vn-held", `{"metadata":{"labels":{"kubernetes.io/arch":"z80"}},"spec":{"unschedulable":null}}`)
	now := s.node("vn-held", func(n *corev1.Node) error {
		if n.Labels[corev1.LabelArchStable] != "arm64" {
			return fmt.Errorf("drift stays: %v", n.Labels)
		}
		return isClosed(n)
	})
	if now.DeletionTimestamp != nil || now.UID != node.UID {
		s.Error("a Node goes whose VirtualNode is held")
	}
	s.eventually("its lease is kept", func() error {
		if now := s.renewal("vn-held"); !now.After(was.Time) {
			return fmt.Errorf("renewed at %v, before at %v", now, was)
		}
		return nil
	})
	s.farewell(home, away)
	s.state(vn, v1beta1.StatusDraining, "waiting for the controller-manager, see condition VirtualKubelet")
	s.never("a Node goes whose VirtualNode is held", func() error {
		n, err := s.home.CoreV1().Nodes().Get(s.Context(), "vn-held", metav1.GetOptions{})
		if err == nil && n.DeletionTimestamp != nil {
			return errors.New("it is being deleted")
		}
		return err
	})
	s.mayGo(vn)
	s.noNode("vn-held")
	s.state(vn, v1beta1.StatusNone, "")
}

func (s *site) renewal(node string) *metav1.MicroTime {
	s.Helper()
	l, err := s.home.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(s.Context(), node, metav1.GetOptions{})
	if err != nil || l.Spec.RenewTime == nil {
		s.Fatalf("lease %v: %v", l, err)
	}
	return l.Spec.RenewTime
}

// Kubernetes forgets the pods of a Node that is gone. So the Node waits, and then comes back.
func testNodeDeletedByHand(s *site) {
	vn, node := s.host("vn-deleted")
	home, away := s.guest("runs", "vn-deleted", "worker-1", nil)
	if err := s.home.CoreV1().Nodes().Delete(s.Context(), "vn-deleted", metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.state(vn, v1beta1.StatusDraining,
		"somebody deleted the Node, which is made anew when it is empty: waiting for 1 pods")
	s.node("vn-deleted", isClosed)
	s.never("the Node goes before its pod", func() error {
		n, err := s.home.CoreV1().Nodes().Get(s.Context(), "vn-deleted", metav1.GetOptions{})
		if err == nil && n.UID != node.UID {
			return errors.New("it is another one")
		}
		return err
	})
	s.farewell(home, away)
	again := s.node("vn-deleted", func(n *corev1.Node) error {
		if n.UID == node.UID {
			return errors.New("it is still the old one")
		}
		return errors.Join(isOpen(n), readyIs(corev1.ConditionTrue, "KubeletReady")(n))
	})
	s.state(vn, v1beta1.StatusRunning, "")
	s.eventually("the lease is the new Node's", func() error {
		l, err := s.home.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(s.Context(), "vn-deleted",
			metav1.GetOptions{})
		if err == nil && l.OwnerReferences[0].UID != again.UID {
			return errors.New("it is the old one's")
		}
		return err
	})
	s.guest("follows", "vn-deleted", "worker-1", nil)
}

// A home pod that is deleted by force leaves a remote pod for a while, and the Node waits for that too.
func testNodeWaitsForRemotePods(s *site) {
	_, node := s.host("vn-forced")
	home, away := s.guest("forced", "vn-forced", "worker-1", nil)
	held := fmt.Sprintf(`{"metadata":{"uid":%q,"finalizers":["example.com/hold"]}}`, away.UID)
	patch := func(body string) {
		s.Helper()
		if _, err := s.away.CoreV1().Pods(s.twin).Patch(s.Context(), away.Name, types.MergePatchType, []byte(body),
			metav1.PatchOptions{}); err != nil {
			s.Fatal(err)
		}
	}
	patch(held)
	s.deleteHome(home.Name, ptr.To[int64](0))
	s.gone(s.homePod, home)
	if err := s.home.CoreV1().Nodes().Delete(s.Context(), "vn-forced", metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	s.never("the Node goes before the remote pod", func() error {
		n, err := s.home.CoreV1().Nodes().Get(s.Context(), "vn-forced", metav1.GetOptions{})
		if err == nil && n.UID != node.UID {
			return errors.New("it is another one")
		}
		return err
	})
	patch(`{"metadata":{"finalizers":null}}`)
	s.node("vn-forced", func(n *corev1.Node) error {
		if n.UID == node.UID {
			return errors.New("it is still the old one")
		}
		return nil
	})
}

// What has no finalizer, because somebody took it away, goes at once; it is made anew all the same.
func testNodeTornAway(s *site) {
	_, node := s.host("vn-torn")
	s.eventually("the Node is deleted behind our back", func() error {
		if _, err := s.home.CoreV1().Nodes().Patch(s.Context(), "vn-torn", types.MergePatchType,
			[]byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
			return err
		}
		err := s.home.CoreV1().Nodes().Delete(s.Context(), "vn-torn", metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			return err
		}
		now, err := s.home.CoreV1().Nodes().Get(s.Context(), "vn-torn", metav1.GetOptions{})
		if err == nil && now.UID == node.UID {
			return errors.New("it is there")
		}
		return nil
	})
	s.node("vn-torn", func(n *corev1.Node) error {
		if n.UID == node.UID || !slices.Contains(n.Finalizers, v1beta1.FinalizerNode) {
			return fmt.Errorf("uid %s, finalizers %v", n.UID, n.Finalizers)
		}
		return readyIs(corev1.ConditionTrue, "KubeletReady")(n)
	})
}

// Whether a Node that stays is cordoned is for users to say.
func testNodeCordoned(s *site) {
	s.host("vn-cordoned")
	s.patchNode("vn-cordoned", `{"metadata":{"labels":{"kubernetes.io/arch":"z80"}},"spec":{"unschedulable":true}}`)
	n := s.node("vn-cordoned", func(n *corev1.Node) error {
		if n.Labels[corev1.LabelArchStable] != "arm64" {
			return fmt.Errorf("drift stays: %v", n.Labels)
		}
		return nil
	})
	if !n.Spec.Unschedulable {
		s.Error("the cordon was taken away with the drift")
	}

	// Off and on again makes another Node, which is open.
	vn := build.VirtualNode("vn-cordoned", provider)
	s.wanted(vn, false)
	s.noNode("vn-cordoned")
	s.wanted(vn, true)
	s.node("vn-cordoned", func(n *corev1.Node) error {
		return errors.Join(isOpen(n), readyIs(corev1.ConditionTrue, "KubeletReady")(n))
	})
}

func (s *site) wanted(vn *v1beta1.VirtualNode, node bool) {
	s.Helper()
	body := fmt.Appendf(nil, `{"spec":{"createNode":%t}}`, node)
	if err := s.vns.Patch(s.Context(), vn, client.RawPatch(types.MergePatchType, body)); err != nil {
		s.Fatal(err)
	}
}

// A VirtualNode whose finalizer somebody took away leaves a Node that nobody wants.
func testNodeAbandoned(s *site) {
	vn, _ := s.host("vn-abandoned")
	home, away := s.guest("last", "vn-abandoned", "worker-1", nil)
	ordinary := build.Node("ordinary")
	ordinary.Labels[v1beta1.LabelRemoteClusterID] = provider // somebody's mistake
	must(s.T, s.home.CoreV1().Nodes().Create, ordinary)
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	if err := errors.Join(s.vns.Patch(s.Context(), vn, patch), s.vns.Delete(s.Context(), vn)); err != nil {
		s.Fatal(err)
	}
	s.node("vn-abandoned", func(n *corev1.Node) error {
		if n.DeletionTimestamp == nil {
			return errors.New("it is not being deleted")
		}
		if n.Labels["topology.kubernetes.io/zone"] != provider {
			return fmt.Errorf("its labels are gone: %v", n.Labels)
		}
		return isClosed(n)
	})
	s.farewell(home, away)
	s.noNode("vn-abandoned")
	if n, err := s.home.CoreV1().Nodes().Get(s.Context(), "ordinary", metav1.GetOptions{}); err != nil ||
		n.DeletionTimestamp != nil || n.Spec.Unschedulable {
		s.Errorf("an ordinary Node was touched: %+v, %v", n, err)
	}
}

func (s *site) says(node, want string) {
	s.Helper()
	s.node(node, func(n *corev1.Node) error {
		if got := n.Annotations[v1beta1.AnnotationLargestFree]; got != want {
			return fmt.Errorf("the largest node has %s free, want %s", got, want)
		}
		return nil
	})
}

// The provider has nodes of 4, 2 and, by now, 1 CPU.
func testNodeFree(s *site) {
	s.host("vn-free")
	s.says("vn-free", `{"cpu":"4"}`)
	ask := func(cpus string) func(*build.PodBuilder) {
		return func(b *build.PodBuilder) { b.Request(corev1.ResourceCPU, cpus) }
	}
	first, away := s.guest("takes-3", "vn-free", "worker-1", ask("3"))
	s.says("vn-free", `{"cpu":"2"}`)
	_, second := s.guest("takes-half", "vn-free", "worker-2", ask("500m"))
	s.says("vn-free", `{"cpu":"1500m"}`)
	s.report(second, corev1.PodStatus{Phase: corev1.PodSucceeded}) // what is finished takes nothing
	s.says("vn-free", `{"cpu":"2"}`)
	s.farewell(first, away)
	s.says("vn-free", `{"cpu":"4"}`)
}

func testNodeQuotaPressure(s *site) {
	s.host("vn-crowded")
	pressure := func(status corev1.ConditionStatus, words string) {
		s.Helper()
		s.node("vn-crowded", func(n *corev1.Node) error {
			for _, c := range n.Status.Conditions {
				if c.Type == QuotaPressure && c.Status == status && strings.Contains(c.Message, words) {
					return nil
				}
			}
			return fmt.Errorf("conditions %v", n.Status.Conditions)
		})
	}
	pressure(corev1.ConditionFalse, "")
	cpu := resource.MustParse("1")
	quota := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "small"}, Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{corev1.ResourceRequestsCPU: cpu},
	}}
	quotas := s.away.CoreV1().ResourceQuotas(s.twin)
	quota = must(s.T, quotas.Create, quota)
	quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{
		corev1.ResourceRequestsCPU: cpu, // there is no controller here that would count
	}}
	if _, err := quotas.UpdateStatus(s.Context(), quota, metav1.UpdateOptions{}); err != nil {
		s.Fatal(err)
	}
	// Quotas are read through a cache of the API server's own: until it knows this one, a pod may slip through.
	probe := build.Pod("probe").Namespace(s.twin).Request(corev1.ResourceCPU, "2").Obj()
	s.eventually("the quota holds", func() error {
		_, err := s.away.CoreV1().Pods(s.twin).Create(s.Context(), probe.DeepCopy(),
			metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if !apierrors.IsForbidden(err) {
			return fmt.Errorf("the answer is %w", err)
		}
		return nil
	})
	crowding := build.Pod("crowding").Namespace(s.ns).Node("vn-crowded").Request(corev1.ResourceCPU, "2").Obj()
	must(s.T, s.home.CoreV1().Pods(s.ns).Create, crowding)
	pressure(corev1.ConditionTrue, "pod "+s.ns+"/crowding: the provider refuses the pod")
	if err := quotas.Delete(s.Context(), "small", metav1.DeleteOptions{}); err != nil {
		s.Fatal(err)
	}
	pressure(corev1.ConditionFalse, "")
}
