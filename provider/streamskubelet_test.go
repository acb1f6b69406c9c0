package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	protocols "k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/client-go/kubernetes"
	terminals "k8s.io/client-go/tools/remotecommand"
	"k8s.io/kubelet/pkg/cri/streaming/portforward"
	"k8s.io/kubelet/pkg/cri/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// kubelet is the streaming server of a real kubelet in front of containers that are a few lines of Go.
type kubelet struct {
	mu   sync.Mutex
	seen []string // what it was asked for
	open int      // commands and forwarded connections that have not ended
}

// startKubelet runs it behind a Node of that name.
func startKubelet(t *testing.T, cluster kubernetes.Interface, node string) *kubelet {
	t.Helper()
	k := &kubelet{}
	mux := http.NewServeMux()
	mux.HandleFunc("/exec/{namespace}/{pod}/{container}", k.serveExec)
	mux.HandleFunc("/attach/{namespace}/{pod}/{container}", k.serveAttach)
	mux.HandleFunc("/portForward/{namespace}/{pod}", k.servePortForward)
	server := httptest.NewTLSServer(mux)
	t.Cleanup(server.Close)
	nodeAt(t, cluster, node, server.Listener.Addr().String())
	return k
}

// nodeAt makes a Node whose kubelet listens at an address.
func nodeAt(t *testing.T, cluster kubernetes.Interface, name, address string) {
	t.Helper()
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		t.Fatal(err)
	}
	node := must(t, cluster.CoreV1().Nodes().Create, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: host}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(port)
	if _, err := cluster.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (k *kubelet) note(format string, args ...any) (done func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen = append(k.seen, fmt.Sprintf(format, args...))
	k.open++
	return func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.open--
	}
}

// asked returns what came since the last call.
func (k *kubelet) asked() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := k.seen
	k.seen = nil
	return out
}

// busy is an error as long as something is open.
func (k *kubelet) busy() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.open != 0 {
		return fmt.Errorf("%d streams are open at the kubelet", k.open)
	}
	return nil
}

// idle is an error as long as nothing is open.
func (k *kubelet) idle() error {
	if k.busy() == nil {
		return errors.New("nothing is open at the kubelet")
	}
	return nil
}

func (k *kubelet) serveExec(w http.ResponseWriter, r *http.Request) {
	opts, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeExec(w, r, k, r.PathValue("namespace")+"/"+r.PathValue("pod"), "", r.PathValue("container"),
		r.URL.Query()["command"], opts, time.Hour, streamCreation, protocols.SupportedStreamingProtocols)
}

func (k *kubelet) serveAttach(w http.ResponseWriter, r *http.Request) {
	opts, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	remotecommand.ServeAttach(w, r, k, r.PathValue("namespace")+"/"+r.PathValue("pod"), "", r.PathValue("container"),
		opts, time.Hour, streamCreation, protocols.SupportedStreamingProtocols)
}

func (k *kubelet) servePortForward(w http.ResponseWriter, r *http.Request) {
	opts, err := portforward.NewV4Options(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	portforward.ServePortForward(w, r, k, r.PathValue("namespace")+"/"+r.PathValue("pod"), "", opts, time.Hour,
		streamCreation, portforward.SupportedProtocols)
}

// ExecInContainer runs the commands that the containers have.
//
//nolint:revive // argument-limit: the interface is as it is
func (k *kubelet) ExecInContainer(
	_ context.Context, pod string, _ types.UID, container string, command []string, in io.Reader,
	out, errs io.WriteCloser, tty bool, resize <-chan terminals.TerminalSize, _ time.Duration,
) error {
	defer k.note("exec %s %s %s tty=%t", pod, container, strings.Join(command, " "), tty)()
	switch command[0] {
	case "say": // to standard output, and to standard error
		_, err := io.WriteString(out, command[1])
		if len(command) > 2 {
			_, _ = io.WriteString(errs, command[2])
		}
		return err
	case "cat":
		_, err := io.Copy(out, in)
		return err
	case "exit":
		code, err := strconv.Atoi(command[1])
		if err != nil {
			return err
		}
		return utilexec.CodeExitError{Err: errors.New("it ended"), Code: code}
	case "sizes": // of the terminal, two of them
		for range 2 {
			size := <-resize
			_, _ = fmt.Fprintf(out, "%dx%d\n", size.Width, size.Height)
		}
		return nil
	case "wait": // silently, until whoever asked has gone
		_, err := io.Copy(io.Discard, in)
		return err
	default:
		return fmt.Errorf("executable file %q not found in $PATH", command[0])
	}
}

// AttachContainer connects to a process that repeats what it is told.
//
//nolint:revive // argument-limit: the interface is as it is
func (k *kubelet) AttachContainer(
	_ context.Context, pod string, _ types.UID, container string, in io.Reader, out, _ io.WriteCloser, tty bool,
	_ <-chan terminals.TerminalSize,
) error {
	defer k.note("attach %s %s tty=%t", pod, container, tty)()
	if _, err := io.WriteString(out, "attached\n"); err != nil || in == nil {
		return err
	}
	_, err := io.Copy(out, in)
	return err
}

// Ports of every pod: one repeats what it is told, one says something and ends, all others refuse.
const (
	portEcho  = 7
	portQuote = 17
)

// PortForward connects to a port.
func (k *kubelet) PortForward(_ context.Context, pod string, _ types.UID, port int32, conn io.ReadWriteCloser) error {
	defer k.note("forward %s:%d", pod, port)()
	defer func() { _ = conn.Close() }()
	switch port {
	case portEcho:
		_, err := io.Copy(conn, conn)
		return err
	case portQuote:
		_, err := io.WriteString(conn, "nothing is far away")
		return err
	default:
		return errors.New("connection refused")
	}
}
