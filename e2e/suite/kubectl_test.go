package suite

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/e2e/build"
)

// typed is what somebody types at home, with a deadline. It returns both streams of kubectl, and its exit code.
func (w *world) typed(args ...string) (string, int) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, later)
	defer cancel()
	cmd := w.kubectlCommand(ctx, args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatalf("run kubectl: %v", err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func (w *world) kubectlCommand(ctx context.Context, args ...string) *exec.Cmd {
	w.t.Helper()
	dir, err := playground.LinkTools()
	w.Expect(err).NotTo(HaveOccurred())
	args = append([]string{"--kubeconfig", playground.Consumer().Kubeconfig, "--namespace", w.ns}, args...)
	return exec.CommandContext(ctx, filepath.Join(dir, "kubectl"), args...)
}

// farAway makes one pod that runs at a provider.
func (w *world) farAway(name string) *corev1.Pod {
	w.t.Helper()
	w.remote()
	w.create(build.Pod(name).Namespace(w.ns).Obj())
	pod := w.running(1)[0]
	return &pod
}

// O9. kwok tells no exit codes, and its commands hear the end of their input only from a terminal, also without us:
// that these arrive is shown with a real kubelet's server in provider, and with containers in e2e/containers.
func TestKubectlExec(t *testing.T) {
	w := newWorld(t, "exec")
	pod := w.farAway("web")
	where := playground.Cluster(pod.Spec.NodeName)

	out, code := w.typed("exec", "web", "--", "pwd")
	w.Expect(code).To(Equal(0), out)
	w.Expect(strings.TrimSpace(out)).To(Equal(where.PodsDir()), "it runs where the pod is")

	out, code = w.typed("exec", "web", "--", "no-such-program")
	w.Expect(code).NotTo(Equal(0))
	w.Expect(out).To(ContainSubstring("no-such-program"), "the kubelet's words arrive")

	out, code = w.typed("exec", "web", "-c", "other", "--", "true")
	w.Expect(code).NotTo(Equal(0))
	w.Expect(out).To(ContainSubstring("container other is not valid"))
}

// O9: a terminal has the size that it has at home, also after that changes.
func TestKubectlExecWithATerminal(t *testing.T) {
	w := newWorld(t, "terminal")
	w.farAway("web")
	ctx, cancel := context.WithTimeout(w.ctx, later)
	defer cancel()
	cmd := w.kubectlCommand(ctx, "exec", "-it", "web", "--", "sh")
	terminal := w.terminal(cmd, 100, 30)
	w.Expect(cmd.Start()).To(Succeed())
	terminal.started()
	terminal.enter("stty size\n")
	terminal.shows("30 100")
	terminal.resize(132, 50)
	w.Eventually(func() string {
		terminal.enter("stty size\n")
		return terminal.text()
	}).Should(ContainSubstring("50 132"))
	terminal.enter("exit\n")
	w.Expect(cmd.Wait()).To(Succeed())
}

// O9: attach hears what the container says.
func TestKubectlAttach(t *testing.T) {
	w := newWorld(t, "attach")
	pod := w.farAway("web")
	ctx, cancel := context.WithTimeout(w.ctx, later)
	defer cancel()
	cmd := w.kubectlCommand(ctx, "attach", "web")
	heard := &transcript{}
	cmd.Stdout, cmd.Stderr = heard, heard
	w.Expect(cmd.Start()).To(Succeed())
	log := playground.Cluster(pod.Spec.NodeName).PodsLog()
	said := 0
	w.Eventually(func(g Gomega) { // attaching takes a moment, and what was said before is not repeated
		said++
		g.Expect(say(log, fmt.Sprintf("word %d of %s", said, w.ns))).To(Succeed())
		g.Expect(heard.text()).To(ContainSubstring("of " + w.ns))
	}).Should(Succeed())
	cancel()
	_ = cmd.Wait() // it was killed
}

// say makes all fake containers of a cluster say something.
func say(log, words string) error {
	f, err := os.OpenFile(log, os.O_APPEND|os.O_WRONLY, 0) //nolint:gosec // G304: the playground's own
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%s stdout F %s\n", time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z"), words)
	return errors.Join(err, f.Close())
}

// O9: a browser's request, and many bytes both ways.
func TestKubectlPortForward(t *testing.T) {
	w := newWorld(t, "forward")
	pod := w.farAway("web")
	ctx, cancel := context.WithTimeout(w.ctx, later)
	defer cancel()
	cmd := w.kubectlCommand(ctx, "port-forward", "--address", "127.0.0.1", "pod/web", ":80", ":7")
	heard := &transcript{}
	cmd.Stdout, cmd.Stderr = heard, heard
	w.Expect(cmd.Start()).To(Succeed())
	ports := map[string]string{}
	w.Eventually(func() map[string]string {
		for _, m := range regexp.MustCompile(`Forwarding from (\S+) -> (\d+)`).FindAllStringSubmatch(heard.text(), -1) {
			ports[m[2]] = m[1]
		}
		return ports
	}).Should(HaveLen(2))

	for range 3 {
		resp, err := http.Get("http://" + ports["80"] + "/")
		w.Expect(err).NotTo(HaveOccurred(), heard.text())
		page, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(string(page)).To(Equal("hello from cluster " + pod.Spec.NodeName + "\n"))
	}

	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", ports["7"])
	w.Expect(err).NotTo(HaveOccurred())
	defer conn.Close()
	sent := bytes.Repeat([]byte("far away\n"), 1<<17)
	go func() { _, _ = conn.Write(sent) }()
	got := make([]byte, len(sent))
	_, err = io.ReadFull(bufio.NewReader(conn), got)
	w.Expect(err).NotTo(HaveOccurred(), heard.text())
	w.Expect(bytes.Equal(got, sent)).To(BeTrue(), "a megabyte comes back as it was")
	cancel()
	_ = cmd.Wait() // it was killed
}

// O9: a file comes back; that they go there is shown in e2e/containers, since tar there waits for the end of its input.
func TestKubectlCp(t *testing.T) {
	w := newWorld(t, "copy")
	pod := w.farAway("web")
	cargo := bytes.Repeat([]byte("cargo\n"), 100_000)
	there := filepath.Join(playground.Cluster(pod.Spec.NodeName).PodsDir(), "cargo-of-"+w.ns)
	w.Expect(os.WriteFile(there, cargo, 0o600)).To(Succeed())
	here := filepath.Join(t.TempDir(), "here")
	out, code := w.typed("cp", "web:cargo-of-"+w.ns, here)
	w.Expect(code).To(Equal(0), out)
	got, err := os.ReadFile(here) //nolint:gosec // G304: the test's own
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(bytes.Equal(got, cargo)).To(BeTrue())
}

// O3, O9: a container joins the pod, runs, and is attached to.
func TestKubectlDebug(t *testing.T) {
	w := newWorld(t, "debug")
	pod := w.farAway("web")
	ctx, cancel := context.WithTimeout(w.ctx, later)
	defer cancel()
	cmd := w.kubectlCommand(ctx, "debug", "web", "--image="+build.Image, "-c", "look", "-it")
	terminal := w.terminal(cmd, 80, 24)
	w.Expect(cmd.Start()).To(Succeed())
	terminal.started()
	log, said := playground.Cluster(pod.Spec.NodeName).PodsLog(), 0
	w.Eventually(func(g Gomega) {
		said++
		g.Expect(say(log, fmt.Sprintf("word %d of %s", said, w.ns))).To(Succeed())
		g.Expect(terminal.text()).To(ContainSubstring("of " + w.ns))
	}).Should(Succeed())
	away, err := w.awayPod(pod)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(away.Spec.EphemeralContainers).To(HaveLen(1))
	cancel()
	_ = cmd.Wait() // it was killed
}

// O4, O9: a log is followed until the pod is deleted by force.
func TestKubectlLogsAndDelete(t *testing.T) {
	w := newWorld(t, "follow")
	pod := w.farAway("web")
	ctx, cancel := context.WithTimeout(w.ctx, later)
	defer cancel()
	cmd := w.kubectlCommand(ctx, "logs", "-f", "--tail=1", "web")
	heard := &transcript{}
	cmd.Stdout, cmd.Stderr = heard, heard
	w.Expect(cmd.Start()).To(Succeed())
	log, said := playground.Cluster(pod.Spec.NodeName).PodsLog(), 0
	w.Eventually(func(g Gomega) {
		said++
		g.Expect(say(log, fmt.Sprintf("word %d of %s", said, w.ns))).To(Succeed())
		g.Expect(heard.text()).To(ContainSubstring("of " + w.ns))
	}).Should(Succeed())
	cancel()
	_ = cmd.Wait() // it was killed

	out, code := w.typed("delete", "pod", "web", "--grace-period=0", "--force")
	w.Expect(code).To(Equal(0), out)
	w.Eventually(func() error {
		_, err := w.awayPod(pod)
		return err
	}).Should(MatchError(notFound, "not found"))
}
