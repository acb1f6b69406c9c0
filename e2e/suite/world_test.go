package suite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// playground is the one that all scenarios share; each works in namespaces of its own.
var playground *env.Env

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	root, err := env.RepositoryRoot()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "twinspace-suite-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	playground, err = env.Up(ctx, env.Options{
		Dir: dir, Bin: filepath.Join(root, "bin"), Ours: raced(root), Providers: 2, Nodes: 3, Peer: true, Tied: true,
		Exec:    true,
		Manager: unhurried(),
		Agent: append(unhurried(),
			"--release-after="+patience.String(), "--unfit-for="+grudge.String(), "--home-api-server="+homeAPIServer),
		Out: os.Stderr,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "start playground:", err)
		return 1
	}
	code := m.Run()
	if code != 0 {
		fmt.Fprintln(os.Stderr, playground.LogTails(40))
	}
	if err := races(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := playground.Down(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "stop playground:", err)
		code = 1
	}
	return code
}

// unhurried are flags of processes that nobody starts again: an API server of a machine that runs three of them beside
// the race detector may not answer for longer than a lease usually lasts.
func unhurried() []string {
	return []string{"--leader-elect-lease-duration=40s", "--leader-elect-renew-deadline=30s"}
}

// raced returns the folder of our components built with the race detector, or "" where there is none.
func raced(root string) string {
	dir := filepath.Join(root, "bin", "race")
	if _, err := os.Stat(filepath.Join(dir, "virtual-kubelet")); err != nil {
		return ""
	}
	return dir
}

// races returns what the race detector found in any component.
func races(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	if err != nil {
		return err
	}
	var errs []error
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			errs = append(errs, err)
		}
		if at := bytes.Index(text, []byte("WARNING: DATA RACE")); at >= 0 {
			errs = append(errs, fmt.Errorf("%s:\n%s", log, text[at:min(len(text), at+4000)]))
		}
	}
	return errors.Join(errs...)
}

// world is what a scenario acts on.
type world struct {
	*WithT
	t    *testing.T
	ctx  context.Context
	home client.Client
	ns   string
}

// newWorld makes a namespace at home, labelled with pairs of key and value, which goes after the scenario, and returns
// what acts on it. Nobody waits for it to be gone: Kubernetes takes its time with that, and the scenarios that
// are about it wait themselves.
func newWorld(t *testing.T, ns string, labels ...string) *world {
	t.Helper()
	w := &world{WithT: NewWithT(t), t: t, ctx: t.Context(), home: playground.Consumer().Client(), ns: ns}
	w.SetDefaultEventuallyTimeout(later)
	w.SetDefaultEventuallyPollingInterval(poll)
	w.SetDefaultConsistentlyDuration(steady)
	w.SetDefaultConsistentlyPollingInterval(poll)
	namespace := build.Namespace(ns)
	for i := 0; i+1 < len(labels); i += 2 {
		namespace.Label(labels[i], labels[i+1])
	}
	w.create(namespace.Obj())
	t.Cleanup(func() {
		// The test's own context is done by now.
		if err := w.home.Delete(context.Background(), build.Namespace(ns).Obj()); client.IgnoreNotFound(err) != nil {
			t.Errorf("delete namespace %s: %v", ns, err)
		}
	})
	return w
}

func providers() []string {
	var names []string
	for _, p := range playground.Providers() {
		names = append(names, p.Name)
	}
	return names
}

// away returns the administrator's client of a provider.
func away(provider string) client.Client { return playground.Cluster(provider).Client() }

// twin returns the default name of the namespace's twin.
func (w *world) twin() string { return w.ns + "-" + env.Consumer }

func (w *world) create(objs ...client.Object) {
	w.t.Helper()
	for _, obj := range objs {
		w.Expect(w.home.Create(w.ctx, obj)).To(Succeed())
	}
}

func (w *world) get(c client.Client, namespace, name string, obj client.Object) error {
	return c.Get(w.ctx, client.ObjectKey{Namespace: namespace, Name: name}, obj)
}

// deleted deletes an object at home and waits until it is gone.
func (w *world) deleted(obj client.Object) {
	w.t.Helper()
	w.Expect(client.IgnoreNotFound(w.home.Delete(w.ctx, obj))).To(Succeed())
	w.Eventually(func() error { return w.home.Get(w.ctx, client.ObjectKeyFromObject(obj), obj) }).
		Should(MatchError(apierrors.IsNotFound, "not found"))
}

// twinGone waits until a provider has no namespace of ours.
func (w *world) twinGone(provider string) {
	w.t.Helper()
	w.Eventually(func(g Gomega) {
		var namespaces corev1.NamespaceList
		g.Expect(away(provider).List(w.ctx, &namespaces)).To(Succeed())
		for _, n := range namespaces.Items {
			g.Expect(n.Annotations[v1beta1.AnnotationTwinHomeName]).NotTo(Equal(w.ns), "%s on %s", n.Name, provider)
		}
	}).Should(Succeed())
}

// offload offloads the namespace as a user does, and fails unless the command succeeds.
func (w *world) offload(args ...string) {
	w.t.Helper()
	out, code := w.liqoctl(append([]string{"offload", "namespace", w.ns}, args...)...)
	w.Expect(code).To(Equal(0), out)
}

// liqoctl runs the command at home and returns what it printed and its exit code.
func (w *world) liqoctl(args ...string) (string, int) {
	w.t.Helper()
	cmd := exec.CommandContext(w.ctx, filepath.Join(playground.Bin(), "liqoctl"),
		append([]string{"--kubeconfig", playground.Consumer().Kubeconfig, "--skip-confirm"}, args...)...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("run liqoctl: %v", err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// offloading returns the namespace's NamespaceOffloading.
func (w *world) offloading() *v1beta1.NamespaceOffloading {
	w.t.Helper()
	var off v1beta1.NamespaceOffloading
	w.Expect(w.get(w.home, w.ns, v1beta1.OffloadingName, &off)).To(Succeed())
	return &off
}

// phase returns the phase, for waiting.
func (w *world) phase() (v1beta1.OffloadingPhase, error) {
	var off v1beta1.NamespaceOffloading
	err := w.get(w.home, w.ns, v1beta1.OffloadingName, &off)
	return off.Status.OffloadingPhase, err
}

// pods returns the live pods of a namespace.
func (w *world) pods(c client.Client, namespace string) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := c.List(w.ctx, &list, client.InNamespace(namespace)); err != nil {
		return nil, err
	}
	var live []corev1.Pod
	for _, pod := range list.Items {
		finished := pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded
		if pod.DeletionTimestamp.IsZero() && !finished {
			live = append(live, pod)
		}
	}
	return live, nil
}

// running waits until n pods of the namespace, and no others, run at home's word; it returns them.
func (w *world) running(n int) []corev1.Pod {
	w.t.Helper()
	var pods []corev1.Pod
	w.Eventually(func(g Gomega) {
		var err error
		pods, err = w.pods(w.home, w.ns)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(pods).To(HaveLen(n))
		for _, pod := range pods {
			g.Expect(pod.Status.Phase).To(Equal(corev1.PodRunning), "%s: %s", pod.Name, waitingFor(&pod))
		}
	}).Should(Succeed())
	return pods
}

func waitingFor(pod *corev1.Pod) string {
	var says []string
	for _, c := range pod.Status.Conditions {
		if c.Status != corev1.ConditionTrue && c.Message != "" {
			says = append(says, c.Message)
		}
	}
	return strings.Join(append(says, pod.Status.Message), "; ")
}

// twinPods waits until the twins of all providers together have n live pods.
func (w *world) twinPods(n int) []corev1.Pod {
	w.t.Helper()
	var all []corev1.Pod
	w.Eventually(func(g Gomega) {
		all = nil
		for _, p := range providers() {
			pods, err := w.pods(away(p), w.twin())
			g.Expect(err).NotTo(HaveOccurred())
			all = append(all, pods...)
		}
		g.Expect(all).To(HaveLen(n))
	}).Should(Succeed())
	return all
}

// endpoints returns how often each ready address is behind a Service in a namespace of a cluster.
func (w *world) endpoints(c client.Client, namespace, service string) (map[string]int, error) {
	var slices discoveryv1.EndpointSliceList
	err := c.List(w.ctx, &slices, client.InNamespace(namespace),
		client.MatchingLabels{discoveryv1.LabelServiceName: service})
	addresses := map[string]int{}
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				addresses[endpoint.Addresses[0]]++
			}
		}
	}
	return addresses, err
}

// once returns each pod's address, once.
func once(pods []corev1.Pod) map[string]int {
	addresses := map[string]int{}
	for _, pod := range pods {
		addresses[pod.Status.PodIP] = 1
	}
	return addresses
}

// nodesOf returns where the pods are.
func nodesOf(pods []corev1.Pod) []string {
	nodes := sets.New[string]()
	for _, pod := range pods {
		nodes.Insert(pod.Spec.NodeName)
	}
	return sets.List(nodes)
}

// logs reads a pod's log through the home API server, as kubectl logs does.
func (w *world) logs(pod string) (string, error) {
	clientset, err := kubernetes.NewForConfig(playground.Consumer().Config())
	if err != nil {
		return "", err
	}
	out, err := clientset.CoreV1().Pods(w.ns).GetLogs(pod, &corev1.PodLogOptions{}).DoRaw(w.ctx)
	return string(out), err
}
