package containers

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"

	"golang.org/x/sync/errgroup"
)

// idle does nothing, and ends when told to.
const idle = `trap 'exit 0' TERM; while :; do sleep 1; done`

// terminal is a person's: it has a size, and shows what was printed on it.
type terminal struct {
	sizes chan remotecommand.TerminalSize

	mu    sync.Mutex
	shown bytes.Buffer
}

// Next returns the next size.
func (t *terminal) Next() *remotecommand.TerminalSize {
	size, ok := <-t.sizes
	if !ok {
		return nil
	}
	return &size
}

// Write shows something.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown.Write(p)
}

func (t *terminal) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown.String()
}

// O9: kubectl exec -it gives a shell in a terminal, whose size follows the user's, and the shell's exit code.
func TestExecGivesATerminalThatIsResized(t *testing.T) {
	s := newScene(t, "shells")
	pod := s.starts(s.shell("waits", idle).Obj())
	request := s.clientset().CoreV1().RESTClient().Post().Resource("pods").Namespace(s.ns).Name(pod.Name).
		SubResource("exec").VersionedParams(&corev1.PodExecOptions{
		Command: []string{"sh"}, Stdin: true, Stdout: true, TTY: true,
	}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(playground.Consumer().Config(), "GET", request.URL().String())
	s.Expect(err).NotTo(HaveOccurred())

	screen := &terminal{sizes: make(chan remotecommand.TerminalSize, 2)}
	input, keyboard := io.Pipe()
	ended := make(chan error, 1)
	screen.sizes <- remotecommand.TerminalSize{Width: 100, Height: 40}
	go func() {
		ended <- executor.StreamWithContext(s.ctx, remotecommand.StreamOptions{
			Stdin: input, Stdout: screen, Tty: true, TerminalSizeQueue: screen,
		})
	}()
	// Asked again and again: a size may come after the shell. What is typed is shown too, hence the sum.
	asks := func() string {
		_, err := io.WriteString(keyboard, "tty; echo size $(stty size)\n")
		s.Expect(err).NotTo(HaveOccurred())
		return screen.text()
	}
	s.Eventually(asks).Should(And(ContainSubstring("/dev/pts/"), ContainSubstring("size 40 100")))
	screen.sizes <- remotecommand.TerminalSize{Width: 132, Height: 50}
	s.Eventually(asks).Should(ContainSubstring("size 50 132"))

	_, err = io.WriteString(keyboard, "exit 7\n")
	s.Expect(err).NotTo(HaveOccurred())
	var code exec.CodeExitError
	s.Eventually(ended).Should(Receive(&err))
	s.Expect(errors.As(err, &code)).To(BeTrue(), "%v", err)
	s.Expect(code.Code).To(Equal(7))
	close(screen.sizes)
}

// O9: without a terminal, what goes in and comes out is what was sent, and errors keep to themselves.
func TestExecAndCopyCarryEveryByte(t *testing.T) {
	s := newScene(t, "copies")
	pod := s.starts(s.shell("waits", idle).Obj())
	out, code := s.says("one\ntwo\n", "exec", "-i", pod.Name, "--", "sh", "-c", "tr a-z A-Z; exit 3")
	s.Expect(out).To(HavePrefix("ONE\nTWO\n"))
	s.Expect(code).To(Equal(3))

	dir := s.t.TempDir()
	there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
	s.Expect(os.WriteFile(there, noise(3, 5<<20), 0o600)).To(Succeed())
	for _, args := range [][]string{{"cp", there, pod.Name + ":/tmp/file"}, {"cp", pod.Name + ":/tmp/file", back}} {
		out, code := s.says("", args...)
		s.Expect(code).To(Equal(0), out)
	}
	got, err := os.ReadFile(back)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(sha256.Sum256(got)).To(Equal(sha256.Sum256(noise(3, 5<<20))))
}

// O9: kubectl attach speaks with the container's own process.
func TestAttachSpeaksWithTheProcess(t *testing.T) {
	s := newScene(t, "attaches")
	pod := s.starts(s.shell("answers", `while read -r line; do echo "you said $line"; done`).
		Spec(func(spec *corev1.PodSpec) { spec.Containers[0].Stdin = true }).Obj())
	cmd := s.kubectl("attach", "-i", pod.Name)
	input, err := cmd.StdinPipe()
	s.Expect(err).NotTo(HaveOccurred())
	shown := &terminal{}
	cmd.Stdout, cmd.Stderr = shown, shown
	s.Expect(cmd.Start()).To(Succeed())
	s.Eventually(func() string {
		_, _ = io.WriteString(input, "hello\n") // ignored until it is attached
		return shown.text()
	}).Should(ContainSubstring("you said hello"))
	s.Expect(cmd.Process.Kill()).To(Succeed())
	s.Expect(cmd.Wait()).NotTo(Succeed(), "it was attached until now")
}

// noise returns bytes that no compression makes small; the same seed gives the same ones.
func noise(seed byte, n int) []byte {
	raw := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(raw) // never fails
	return raw
}

// O9: kubectl port-forward carries 100 MB there and, at the same time, back.
func TestPortForwardCarriesALotBothWays(t *testing.T) {
	s := newScene(t, "forwards")
	pod := s.starts(s.shell("echoes", `exec nc -ll -p 7777 -e cat`).Spec(func(spec *corev1.PodSpec) {
		spec.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 7777}}
	}).Obj())
	lines := s.stream("port-forward", "--address=127.0.0.1", pod.Name, ":7777")
	var said string
	s.Eventually(lines).Should(Receive(&said))
	from, _, found := strings.Cut(strings.TrimPrefix(said, "Forwarding from "), " -> 7777")
	s.Expect(found).To(BeTrue(), said)

	const size = 100_000_000
	sent := noise(7, size)
	began := time.Now()
	conn, err := net.Dial("tcp", from)
	s.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = conn.Close() }()
	s.Expect(conn.SetDeadline(began.Add(2 * later))).To(Succeed())
	var both errgroup.Group
	both.Go(func() error {
		_, err := conn.Write(sent)
		return err
	})
	got := sha256.New()
	both.Go(func() error {
		n, err := io.CopyN(got, conn, size)
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", n, err)
		}
		return nil
	})
	s.Expect(both.Wait()).To(Succeed())
	s.Expect(got.Sum(nil)).To(Equal(sum(sent)))
	t.Logf("100 MB there and back in %s", time.Since(began).Round(time.Second/10))
}

func sum(raw []byte) []byte {
	h := sha256.Sum256(raw)
	return h[:]
}
