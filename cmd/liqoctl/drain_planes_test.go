package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// drainWorld is an API server with a virtual node on which two pods of one controller run, with a budget for both.
type drainWorld struct {
	*testing.T
	home *env.Cluster
	pdb  *policyv1.PodDisruptionBudget
}

func newDrainWorld(t *testing.T) *drainWorld {
	t.Helper()
	w := &drainWorld{T: t, home: env.Planes(t, 1)[0]}
	if err := w.home.Apply(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	vn := build.VirtualNode("vn", "b")
	w.create(build.Namespace("shop").Obj(), build.Namespace(v1beta1.TenantNamespace("b")).Obj(), credential("b"),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "default"}}, vn,
		build.VirtualNodesNode(vn))
	for _, name := range []string{"web-1", "web-2"} {
		w.pod(podOwnedBy("ReplicaSet", "web", name))
	}
	w.pdb = &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(2)),
			Selector:     &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}
	w.create(w.pdb)
	w.pdb.Status = policyv1.PodDisruptionBudgetStatus{
		ObservedGeneration: w.pdb.Generation, ExpectedPods: 2, CurrentHealthy: 2, DesiredHealthy: 2,
	}
	if err := w.home.Client().Status().Update(t.Context(), w.pdb); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *drainWorld) create(objects ...client.Object) {
	w.Helper()
	for _, o := range objects {
		if err := w.home.Client().Create(w.Context(), o); err != nil {
			w.Fatal(err)
		}
	}
}

// pod makes a running, ready pod on the node; without a kubelet it is gone at once when it is evicted.
func (w *drainWorld) pod(pod corev1.Pod) {
	w.Helper()
	pod.Labels = map[string]string{"app": "web"}
	pod.Spec.NodeName, pod.Spec.TerminationGracePeriodSeconds = "vn", ptr.To[int64](0)
	w.create(&pod)
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue},
	}}
	if err := w.home.Client().Status().Update(w.Context(), &pod); err != nil {
		w.Fatal(err)
	}
}

func (w *drainWorld) run(args ...string) (int, string) {
	w.Helper()
	args = append([]string{"--kubeconfig", w.home.Kubeconfig, "--skip-confirm"}, args...)
	code, _, errOut := real(w.Context(), args...)
	return code, errOut
}

func (w *drainWorld) names() string {
	w.Helper()
	var list corev1.PodList
	if err := w.home.Client().List(w.Context(), &list); err != nil {
		w.Fatal(err)
	}
	var names []string
	for _, pod := range list.Items {
		names = append(names, pod.Name)
	}
	return strings.Join(names, " ")
}

// TestNodesOnAnAPIServer drains and changes a virtual node with a user's rights and Kubernetes' own budgets.
func TestNodesOnAnAPIServer(t *testing.T) {
	w := newDrainWorld(t)
	w.pod(podOwnedBy("DaemonSet", "agents", "agent"))
	single := *build.Pod("single").Namespace("shop").Obj()
	w.pod(single)

	code, errOut := w.run("drain", "vn")
	if code != exitFailed || !strings.Contains(errOut, "no controller would replace shop/single") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	node := &corev1.Node{}
	err := w.home.Client().Get(t.Context(), client.ObjectKey{Name: "vn"}, node)
	if err != nil || node.Spec.Unschedulable {
		t.Errorf("a drain that is refused changes nothing: cordoned %t, %v", node.Spec.Unschedulable, err)
	}

	code, errOut = w.run("drain", "vn", "--force", "--timeout", "3s")
	if code != exitFailed || !strings.Contains(errOut, "held by a PodDisruptionBudget: shop/single, shop/web-1, "+
		"shop/web-2 (The disruption budget web needs 2 healthy pods and has 2 currently)") ||
		!strings.Contains(errOut, "it stays cordoned, repeat the command to go on") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	if got := w.names(); got != "agent single web-1 web-2" {
		t.Errorf("left are %s", got)
	}

	if err := w.home.Client().Delete(t.Context(), w.pdb); err != nil {
		t.Fatal(err)
	}
	code, errOut = w.run("drain", "vn", "--force", "--grace-period", "0s")
	if code != exitDone || !strings.Contains(errOut, "pods of DaemonSets stay: shop/agent") ||
		!strings.Contains(errOut, "done: node vn is drained") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	if got := w.names(); got != "agent" {
		t.Errorf("left are %s", got)
	}
	code, errOut = w.run("uncordon", "vn")
	if code != exitDone || !strings.Contains(errOut, "takes pods again") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	t.Run("what is printed is what is applied", func(t *testing.T) { w.in(t).virtualNodeIsWhatIsPrinted() })
	t.Run("a virtual node comes and goes", func(t *testing.T) { w.in(t).virtualNodeLives() })
}

func (w *drainWorld) in(t *testing.T) *drainWorld { return &drainWorld{T: t, home: w.home} }

func (w *drainWorld) virtualNodeIsWhatIsPrinted() {
	args := []string{"create", "virtualnode", "vn-2", "--remote-cluster-id", "b", "--cpu", "2", "--label", "a=b"}
	code, errOut := w.run(append(args, "--timeout", "1s")...)
	if code != exitFailed ||
		!strings.Contains(errOut, "virtual node vn-2 is not ready after 1s: waiting for the agent of b") {
		w.Errorf("exit code %d: %s", code, errOut)
	}
	vn := build.VirtualNode("vn-2", "b")
	if err := w.home.Client().Get(w.Context(), client.ObjectKeyFromObject(vn), vn); err != nil {
		w.Fatal(err)
	}
	if vn.Spec.ResourceQuota.Hard.Cpu().Value() != 2 || vn.Spec.Labels["a"] != "b" || vn.Spec.ClusterID != "b" ||
		vn.Spec.KubeconfigSecretRef.Name != "kubeconfig-b" || vn.Labels[v1beta1.LabelRemoteClusterID] != "b" {
		w.Errorf("made is %+v", vn)
	}
	// Said again without the quota: what no flag asks for any more is taken back.
	w.run("create", "virtualnode", "vn-2", "--remote-cluster-id", "b", "--label", "a=b", "--timeout", "1s")
	if err := w.home.Client().Get(w.Context(), client.ObjectKeyFromObject(vn), vn); err != nil ||
		len(vn.Spec.ResourceQuota.Hard) > 0 || vn.Spec.Labels["a"] != "b" {
		w.Errorf("changed to %+v, %v", vn.Spec, err)
	}
}

// virtualNodeLives plays the agent and the controller-manager of a VirtualNode, as far as it takes.
func (w *drainWorld) virtualNodeLives() {
	vn := build.VirtualNode("vn-3", "b")
	played := make(chan error, 1)
	// A logger of its own: the command that runs meanwhile sets everybody's.
	ctx := klog.NewContext(w.Context(), logr.Discard())
	go func() {
		played <- wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, time.Minute, true,
			func(ctx context.Context) (bool, error) {
				if err := w.home.Client().Get(ctx, client.ObjectKeyFromObject(vn), vn); err != nil {
					return false, client.IgnoreNotFound(err)
				}
				vn.Status.Conditions = []v1beta1.VirtualNodeCondition{{
					Type: v1beta1.NodeCondition, Status: v1beta1.StatusRunning,
				}}
				return true, w.home.Client().Status().Update(ctx, vn)
			})
	}()
	code, errOut := w.run("create", "virtualnode", "vn-3", "--remote-cluster-id", "b")
	if err := <-played; err != nil || code != exitDone ||
		!strings.Contains(errOut, "done: virtual node vn-3 of b is ready") {
		w.Errorf("exit code %d, %v: %s", code, err, errOut)
	}
	code, errOut = w.run("delete", "virtualnode", "vn-3")
	if code != exitDone || !strings.Contains(errOut, "done: virtual node vn-3 is gone") {
		w.Errorf("exit code %d: %s", code, errOut)
	}
	if err := w.home.Client().Get(w.Context(), client.ObjectKeyFromObject(vn), vn); !apierrors.IsNotFound(err) {
		w.Errorf("it is there: %v", err)
	}
}
