package suite

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// takeover is what is promised for a standby to lead when the leader has gone without a word.
const takeover = 20 * time.Second

// replicated is a playground in which the controller-manager and the agent have two replicas each.
type replicated struct {
	*WithT
	t        *testing.T
	e        *env.Env
	home     client.Client
	provider *env.Cluster
	agents   []string
	ns       string
}

func newReplicated(t *testing.T, ns string) *replicated {
	t.Helper()
	root, err := env.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	e := env.Start(t, env.Options{Ours: raced(root), Providers: 1, Nodes: 2, Peer: true, Replicas: 2, Exec: true})
	provider := e.Providers()[0]
	r := &replicated{
		WithT: NewWithT(t), t: t, e: e, home: e.Consumer().Client(), provider: provider, ns: ns,
		agents: e.Replicas(env.AgentOf(provider.Name)),
	}
	r.SetDefaultEventuallyTimeout(later)
	r.SetDefaultEventuallyPollingInterval(poll)
	return r
}

// leads says whether a replica's metrics say that it leads.
func (r *replicated) leads(replica string) (bool, error) {
	text, err := r.e.Consumer().Metrics(r.t.Context(), replica)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "leader_election_master_status{") {
			return strings.HasSuffix(line, " 1\n"), nil
		}
	}
	if err == nil {
		err = fmt.Errorf("%s does not say whether it leads", replica)
	}
	return false, err
}

// leader returns which of two replicas leads, and which stands by.
func (r *replicated) leader(replicas []string) (leads, standsBy string) {
	r.t.Helper()
	r.Eventually(func() int {
		count := 0
		for i, name := range replicas {
			if is, err := r.leads(name); err == nil && is {
				leads, standsBy = name, replicas[1-i]
				count++
			}
		}
		return count
	}).Should(Equal(1), "how many lead")
	return leads, standsBy
}

// takesOver waits until a replica leads whose leader has just gone, and holds it against the promise.
func (r *replicated) takesOver(replica string, gone time.Time) {
	r.t.Helper()
	r.Eventually(func() (bool, error) { return r.leads(replica) }).Should(BeTrue(), "%s leads", replica)
	took := time.Since(gone)
	r.t.Logf("%s leads after %s", replica, took)
	r.Expect(took).To(BeNumerically("<", takeover))
}

// kubectl types a command at home until it succeeds, and returns what it printed.
func (r *replicated) kubectl(args ...string) string {
	r.t.Helper()
	dir, err := r.e.LinkTools()
	r.Expect(err).NotTo(HaveOccurred())
	var out []byte
	r.Eventually(func() error {
		ctx, cancel := context.WithTimeout(r.t.Context(), later)
		defer cancel()
		args := append([]string{"--kubeconfig", r.e.Consumer().Kubeconfig, "--namespace", r.ns}, args...)
		cmd := exec.CommandContext(ctx, filepath.Join(dir, "kubectl"), args...) //nolint:gosec // G204: our own program
		out, err = cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	}).Should(Succeed())
	return string(out)
}

// runs makes a pod and waits until it runs at the provider.
func (r *replicated) runs(name string) {
	r.t.Helper()
	r.Expect(r.home.Create(r.t.Context(), build.Pod(name).Namespace(r.ns).Obj())).To(Succeed())
	r.Eventually(func() (corev1.PodPhase, error) {
		var pod corev1.Pod
		err := r.home.Get(r.t.Context(), client.ObjectKey{Namespace: r.ns, Name: name}, &pod)
		return pod.Status.Phase, err
	}).Should(Equal(corev1.PodRunning), name)
}

// offload offloads a namespace, which it makes, and waits until that is done.
func (r *replicated) offload(ns string) {
	r.t.Helper()
	r.Expect(r.home.Create(r.t.Context(), build.Namespace(ns).Obj())).To(Succeed())
	r.Expect(r.home.Create(r.t.Context(),
		build.Offloading(ns).Strategy(v1beta1.Remote).Obj())).To(Succeed())
	r.Eventually(func() (v1beta1.OffloadingPhase, error) {
		var off v1beta1.NamespaceOffloading
		err := r.home.Get(r.t.Context(), client.ObjectKey{Namespace: ns, Name: v1beta1.OffloadingName}, &off)
		return off.Status.OffloadingPhase, err
	}).Should(Equal(v1beta1.PhaseReady), ns)
}

// twins returns the pods at the provider by name.
func (r *replicated) twins() map[string]types.UID {
	r.t.Helper()
	var pods corev1.PodList
	r.Expect(r.provider.Client().List(r.t.Context(), &pods,
		client.InNamespace(r.ns+"-"+r.e.Consumer().Name))).To(Succeed())
	out := map[string]types.UID{}
	for _, pod := range pods.Items {
		out[pod.Name] = pod.UID
	}
	return out
}

// neverNotReady watches the virtual node until the function that it returns is called, which returns what it saw.
func (r *replicated) neverNotReady() func() []string {
	r.t.Helper()
	ctx, stop := context.WithCancel(r.t.Context())
	var seen []string
	var watching sync.WaitGroup
	watching.Go(func() {
		tick := time.NewTicker(poll)
		defer tick.Stop()
		for {
			var node corev1.Node
			if r.home.Get(ctx, client.ObjectKey{Name: r.provider.Name}, &node) == nil {
				for _, c := range node.Status.Conditions {
					if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
						seen = append(seen, fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message))
					}
				}
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
	return func() []string {
		stop()
		watching.Wait()
		return seen
	}
}

// TestReplicas has leaders killed, and stopped past their lease until another leads.
func TestReplicas(t *testing.T) {
	r := newReplicated(t, "replicas")
	r.offload(r.ns)
	t.Run("of an agent", func(t *testing.T) { r.in(t).agentIsReplaced() })
	t.Run("of the controller-manager", func(t *testing.T) { r.in(t).managerIsReplaced() })
}

// in returns the same for a part of the scenario.
func (r *replicated) in(t *testing.T) *replicated {
	t.Helper()
	part := *r
	part.t, part.WithT = t, NewWithT(t)
	part.SetDefaultEventuallyTimeout(later)
	part.SetDefaultEventuallyPollingInterval(poll)
	return &part
}

// agentIsReplaced: users notice nothing but that kubectl exec takes a moment.
func (r *replicated) agentIsReplaced() {
	r.runs("first")
	before, notReady := r.twins(), r.neverNotReady()

	killed := r.killLeader(r.agents)
	r.runs("second")
	r.kubectl("exec", "first", "--", "true")
	r.kubectl("logs", "first")

	r.startAgain(killed)
	stopped := r.stopLeader(r.agents)
	r.runs("third")
	r.kubectl("exec", "first", "--", "true")
	r.wake(stopped)
	r.kubectl("exec", "third", "--", "true")
	r.kubectl("logs", "third")

	r.Expect(notReady()).To(BeEmpty(), "conditions of the node")
	after := r.twins()
	r.Expect(after).To(HaveLen(3))
	r.Expect(after).To(HaveKeyWithValue("first", before["first"]), "the pod that ran before runs on")
}

func (r *replicated) managerIsReplaced() {
	managers := r.e.Replicas(env.Manager)
	killed := r.killLeader(managers)
	r.offload("replicas-killed")
	r.startAgain(killed)
	stopped := r.stopLeader(managers)
	r.offload("replicas-stopped")
	r.wake(stopped)
}

// killLeader kills the leader, waits until the other leads, and returns who was killed.
func (r *replicated) killLeader(replicas []string) string {
	r.t.Helper()
	leader, standby := r.leader(replicas)
	gone := time.Now()
	r.Expect(r.e.Kill(r.t.Context(), r.e.Consumer().Name, leader)).To(Succeed())
	r.takesOver(standby, gone)
	return leader
}

// stopLeader does the same by stopping it.
func (r *replicated) stopLeader(replicas []string) string {
	r.t.Helper()
	leader, standby := r.leader(replicas)
	gone := time.Now()
	r.Expect(r.e.Signal(r.e.Consumer().Name, leader, syscall.SIGSTOP)).To(Succeed())
	r.takesOver(standby, gone)
	return leader
}

// startAgain starts what ended; that it is ready says that a standby is.
func (r *replicated) startAgain(replica string) {
	r.t.Helper()
	r.Expect(r.e.Start(r.t.Context(), r.e.Consumer().Name, replica)).To(Succeed())
}

// wake lets a former leader go on, which then ends by itself.
func (r *replicated) wake(replica string) {
	r.t.Helper()
	r.Expect(r.e.Signal(r.e.Consumer().Name, replica, syscall.SIGCONT)).To(Succeed())
	r.Eventually(func() bool {
		for _, p := range r.e.Processes() {
			if p.Component == replica {
				return p.Alive()
			}
		}
		return false
	}).Should(BeFalse(), "%s goes on", replica)
}
