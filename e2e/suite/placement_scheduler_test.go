package suite

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/manifests"
)

// priority makes a PriorityClass.
func (w *world) priority(name string, value int32) {
	w.t.Helper()
	class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Value: value}
	w.create(class)
	w.t.Cleanup(func() {
		if err := w.home.Delete(context.Background(), class); err != nil {
			w.t.Errorf("delete PriorityClass %s: %v", name, err)
		}
	})
}

// large returns a pod that leaves no room for another of its kind on an ordinary node of any cluster. Three of them
// fill a virtual node.
func large(ns, name, priority string) *build.PodBuilder {
	return build.Pod(name).Namespace(ns).Request(corev1.ResourceCPU, "30").Spec(func(s *corev1.PodSpec) {
		s.PriorityClassName = priority
		s.TerminationGracePeriodSeconds = ptr.To[int64](0)
	})
}

// cleared removes the namespace's pods at home and waits until they are gone, so that they are in nobody's way.
func (w *world) cleared() {
	w.t.Helper()
	w.Expect(w.home.DeleteAllOf(w.ctx, &corev1.Pod{}, client.InNamespace(w.ns), client.GracePeriodSeconds(0))).
		To(Succeed())
	w.Eventually(func() ([]corev1.Pod, error) {
		var pods corev1.PodList
		err := w.home.List(w.ctx, &pods, client.InNamespace(w.ns))
		return pods.Items, err
	}).Should(BeEmpty())
}

// P7: where only the policy keeps an important pod from running, nobody is evicted to make room for it.
func TestARefusalPreemptsNobody(t *testing.T) {
	victims, plain := newWorld(t, "preempt-victims"), newWorld(t, "preempt-plain")
	local, remote := newWorld(t, "preempt-local"), newWorld(t, "preempt-remote")
	victims.priority("preempt-low", 10)
	victims.priority("preempt-high", 1000)
	remote.block("provider-2")
	victims.create(build.Offloading(victims.ns).Obj(),
		build.Offloading(local.ns).Strategy(v1beta1.Local).Obj(),
		build.Offloading(remote.ns).Strategy(v1beta1.Remote).
			Selector(build.Selector("liqo.io/provider", "provider-2")).Obj())
	full := map[string]cell{}
	for _, node := range append(homeNodes(), "provider-1", "provider-1", "provider-1") { // which has three nodes, too
		name := fmt.Sprintf("victim-%d", len(full))
		full[name] = cell{pod: large(victims.ns, name, "preempt-low").Spec(pinned(node)).Obj(), on: node}
	}
	victims.createCells(full)
	victims.settle(t, full)

	pushy := map[string]cell{
		"Remote, and its twin is not ready": {
			pod: large(remote.ns, "pushy", "preempt-high").Obj(), says: []string{remoteGoes, notSelected, twinTaken},
		},
		"Local, and it wants a virtual node": {
			pod: large(local.ns, "pushy", "preempt-high").Spec(pinned("provider-1")).Obj(), says: []string{localStays},
		},
		"not offloaded, and it wants a virtual node": {
			pod:  large(plain.ns, "pushy", "preempt-high").Spec(pinned("provider-1")).Obj(),
			says: []string{notOffloaded},
		},
	}
	for name, c := range pushy {
		c.says = append(c.says, "Preemption is not helpful")
		pushy[name] = c
	}
	victims.createCells(pushy)
	victims.settle(t, pushy)
	t.Run("the victims stay", func(t *testing.T) { victims.settle(t, full) })
	for _, c := range pushy {
		victims.Expect(victims.get(victims.home, c.pod.Namespace, c.pod.Name, c.pod)).To(Succeed())
		victims.Expect(c.pod.Status.NominatedNodeName).To(BeEmpty())
		victims.Expect(refusal(c.pod)).NotTo(ContainSubstring("No preemption victims"), "nobody was even looked at")
	}

	// The control: where the policy permits, the same pod does evict.
	entitled := large(victims.ns, "entitled", "preempt-high").Spec(pinned("consumer-node-1")).Obj()
	victims.create(entitled)
	victims.settle(t, map[string]cell{"control": {pod: entitled, on: "consumer-node-1"}})
	victims.cleared()
}

// P9: pods that are alike are scheduled in batches, in ordinary namespaces and in offloaded ones. Kubernetes' default
// spreading over zones rules batches out by itself, so this scheduler runs without.
func TestPodsAreScheduledInBatches(t *testing.T) {
	plain, both := newWorld(t, "batches-plain"), newWorld(t, "batches-both")
	both.create(build.Offloading(both.ns).Obj())
	both.Eventually(both.phase).Should(Equal(v1beta1.PhaseReady))
	metrics := plain.scheduler()
	hits := func() float64 {
		text := metrics()
		attempts, err := parse(text, "scheduler_batch_attempts_total")
		plain.Expect(err).NotTo(HaveOccurred())
		return attempts.sum(`result="hint_used"`)
	}
	for _, w := range []*world{plain, both} {
		t.Run(w.ns, func(t *testing.T) {
			before := hits()
			cells := map[string]cell{}
			for n := range homeNodes() {
				pod := large(w.ns, fmt.Sprintf("pod-%d", n), "").
					Spec(func(s *corev1.PodSpec) { s.SchedulerName = v1beta1.SchedulerName }).Obj()
				cells[pod.Name] = cell{pod: pod, on: anOrdinaryNode}
			}
			w.createCells(cells)
			w.settle(t, cells)
			NewWithT(t).Expect(hits()-before).To(BeNumerically(">=", 1), "pods for which no node was searched")
			w.cleared()
		})
	}
}

// scheduler runs the scheduler as it ships for managed control planes, beside the playground's own, but for the default
// spreading over zones. It returns what reads its metrics.
func (w *world) scheduler() (metrics func() string) {
	w.t.Helper()
	config, err := manifests.File("scheduler/side-by-side.yaml")
	w.Expect(err).NotTo(HaveOccurred())
	kubeconfig := filepath.Join(playground.Dir(), env.Consumer, env.Scheduler+".kubeconfig")
	fields := config[0].Object
	w.Expect(unstructured.SetNestedField(fields, kubeconfig, "clientConnection", "kubeconfig")).To(Succeed())
	w.Expect(unstructured.SetNestedField(fields, false, "leaderElection", "leaderElect")).To(Succeed())
	profile := fields["profiles"].([]any)[0].(map[string]any)
	args, _ := profile["pluginConfig"].([]any)
	profile["pluginConfig"] = append(args, map[string]any{
		"name": "PodTopologySpread", "args": map[string]any{"defaultingType": "List"},
	})
	text, err := yaml.Marshal(fields)
	w.Expect(err).NotTo(HaveOccurred())
	file := filepath.Join(w.t.TempDir(), "scheduler.yaml")
	w.Expect(os.WriteFile(file, text, 0o600)).To(Succeed())

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.Expect(err).NotTo(HaveOccurred())
	server := listener.Addr().String()
	_, port, err := net.SplitHostPort(server)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(listener.Close()).To(Succeed())
	cmd := exec.CommandContext(w.ctx, filepath.Join(playground.Bin(), "scheduler"), "--config="+file,
		"--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+w.t.TempDir(),
		"--authentication-kubeconfig="+kubeconfig, "--authorization-kubeconfig="+kubeconfig,
		"--authorization-always-allow-paths=/metrics,/readyz")
	w.Expect(cmd.Start()).To(Succeed())
	w.t.Cleanup(func() { _ = cmd.Wait() }) // the test's context has ended it
	insecure, err := rest.HTTPClientFor(&rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	w.Expect(err).NotTo(HaveOccurred())
	ask := func(path string) (string, error) {
		response, err := insecure.Get("https://" + server + path)
		if err != nil {
			return "", err
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}
	w.Eventually(ask).WithArguments("/readyz").Should(Equal("ok"))
	return func() string {
		text, err := ask("/metrics")
		w.Expect(err).NotTo(HaveOccurred())
		return text
	}
}

// P10: the providers' schedulers are ours too, and there our kinds do not exist.
func TestTheSchedulerWorksWhereOurKindsAreMissing(t *testing.T) {
	w := newWorld(t, "elsewhere")
	readiness, err := playground.Cluster("provider-1").Ask(w.ctx, env.Scheduler, "/readyz")
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(readiness).To(Equal("ok"))
	pod := build.Pod("theirs").Spec(func(s *corev1.PodSpec) {
		s.TerminationGracePeriodSeconds = ptr.To[int64](0)
	}).Obj()
	w.Expect(away("provider-1").Create(w.ctx, pod)).To(Succeed())
	w.Eventually(func(g Gomega) {
		var now corev1.Pod
		g.Expect(w.get(away("provider-1"), metav1.NamespaceDefault, "theirs", &now)).To(Succeed())
		g.Expect(now.Status.Phase).To(Equal(corev1.PodRunning))
	}).Should(Succeed())
	w.Expect(away("provider-1").Delete(w.ctx, pod)).To(Succeed())
}
