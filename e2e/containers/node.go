package containers

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/env"
)

// script is the first process of a node.
//
//go:embed node.sh
var script []byte

// namespaces are what a node has of its own.
const namespaces = syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC

// joinTimeout is how long a node may take on a machine that is busy with other things.
const joinTimeout = 3 * time.Minute

// Options say how to make a node.
type Options struct {
	// Name is the node's.
	Name string
	// Dir is where its files and logs are. It must not be below /run, /var/lib or /var/log: a node has its own.
	Dir string
	// Playground is the program that is the kubelet too.
	Playground string
	Tools      Tools
}

// Node is a node with real containers. It ends with the process that made it, however that ends.
type Node struct {
	Name string
	// Address is where the API server reaches the kubelet.
	Address netip.Addr

	opts    Options
	cluster *env.Cluster
	cable   cable
	cgroup  string
	link    *env.Link
	process *os.Process
	ended   chan struct{} // closed when the process is gone
	undo    []func(context.Context) error
}

// Join gives the cluster a node and returns when it takes pods.
func Join(ctx context.Context, cluster *env.Cluster, opts Options) (*Node, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	n := &Node{Name: opts.Name, opts: opts, cluster: cluster, ended: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	for _, step := range []func(context.Context) error{n.reserve, n.start, n.ready} {
		if err := step(ctx); err != nil {
			err = fmt.Errorf("join node %s: %w\n%s", n.Name, err, n.Logs())
			return nil, errors.Join(err, n.End(context.WithoutCancel(ctx)))
		}
	}
	return n, nil
}

// hidden are the folders in whose place a node sees its own.
func hidden() []string { return []string{"/run", "/var/run", "/var/lib", "/var/log"} }

func (o Options) check() error {
	for _, path := range []string{o.Dir, o.Playground} {
		for _, top := range hidden() {
			if strings.HasPrefix(path, top+"/") {
				return fmt.Errorf("join node %s: %s is below %s, of which a node has its own", o.Name, path, top)
			}
		}
	}
	return nil
}

// reserve takes what of the machine is the node's: a cgroup, and the kernel's settings until they are set back.
func (n *Node) reserve(context.Context) error {
	used, err := usedSubnets()
	if err != nil {
		return err
	}
	id := rand.Uint32() //nolint:gosec // G404: a name, not a secret
	subnet, err := freeSubnet(int(id), used)
	if err != nil {
		return err
	}
	n.cgroup = fmt.Sprintf("twinspace-%08x", id)
	n.cable = cable{name: fmt.Sprintf("twin%08x", id), subnet: subnet}
	n.Address = n.cable.theirs()
	restore, err := remember("/proc/sys")
	if err != nil {
		return err
	}
	n.undo = append(n.undo, func(context.Context) error { return restore() })
	n.undo = append(n.undo, func(ctx context.Context) error { return removeCgroup(ctx, cgroups, n.cgroup) })
	return makeCgroup(cgroups, n.cgroup)
}

// start starts the node's first process, connects it with this machine, and lets it go on.
func (n *Node) start(ctx context.Context) error {
	input, output, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer func() { _ = errors.Join(input.Close(), output.Close()) }()
	if err := os.MkdirAll(filepath.Join(n.opts.Dir, "cni"), 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	log, err := os.Create(filepath.Join(n.opts.Dir, "node.log"))
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("/bin/sh", filepath.Join(n.opts.Dir, "node.sh")) //nolint:gosec,noctx // ours; lives longer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, log, log
	cmd.Env = n.environ()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: namespaces}
	if err := n.write(ctx); err != nil {
		return err
	}
	if err := n.run(cmd); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if err := n.connect(ctx); err != nil {
		return err
	}
	if err := n.configure(); err != nil {
		return err
	}
	if _, err := io.WriteString(output, "go\n"); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}

// run starts the process from a thread that lives as long as the process: the kernel takes the end of the one for the
// end of the other's parent.
func (n *Node) run(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		close(n.ended)
	}()
	err := <-started
	n.process = cmd.Process
	return err
}

func (n *Node) environ() []string {
	return []string{
		"PATH=" + n.opts.Tools.Path,
		"NODE_DIR=" + n.opts.Dir,
		"NODE_NAME=" + n.Name,
		"NODE_ADDRESS=" + n.Address.String(),
		fmt.Sprintf("NODE_BITS=%d", cableBits),
		"NODE_PLAYGROUND=" + n.opts.Playground,
	}
}

// connect gives the node its network, and the API server an address in it: by itself it listens on loopback only.
func (n *Node) connect(ctx context.Context) error {
	ip := ThisMachine().find("ip")
	if err := n.cable.plug(ctx, ip, n.process.Pid); err != nil {
		return err
	}
	// The kernel takes it away with the node's network, but in its own time.
	n.undo = append(n.undo, func(ctx context.Context) error {
		_ = exec.CommandContext(ctx, ip, "link", "delete", n.cable.name).Run() //nolint:gosec // G204: ours
		return nil
	})
	link, err := env.NewLink(netip.AddrPortFrom(n.cable.ours(), 0).String(),
		strings.TrimPrefix(n.cluster.Server(), "https://"), clock.RealClock{})
	n.link = link
	return err
}

// ready waits until the cluster has the node, and gives it pods.
func (n *Node) ready(ctx context.Context) error {
	last := "it has not registered"
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		select {
		case <-n.ended:
			return false, errors.New("its first process ended")
		default:
		}
		var node corev1.Node
		if err := n.cluster.Client().Get(ctx, client.ObjectKey{Name: n.Name}, &node); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady {
				last = condition.Message
				return condition.Status == corev1.ConditionTrue && len(node.Spec.Taints) == 0, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("wait until it is ready: %w (%s)", err, last)
	}
	return nil
}

// End ends everything of the node and returns when nothing of it is left on this machine.
func (n *Node) End(ctx context.Context) error {
	var errs []error
	if n.process != nil {
		if err := n.process.Kill(); !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, err)
		}
		<-n.ended
	}
	if n.link != nil {
		n.link.Close()
	}
	for len(n.undo) > 0 {
		last := len(n.undo) - 1
		errs = append(errs, n.undo[last](ctx))
		n.undo = n.undo[:last]
	}
	return errors.Join(errs...)
}

// Logs returns the end of what the node's programs printed.
func (n *Node) Logs() string {
	const lines = 30
	var all strings.Builder
	for _, name := range []string{"node.log", "containerd.log", "kubelet.log"} {
		raw, err := os.ReadFile(filepath.Join(n.opts.Dir, name))
		if err != nil {
			continue
		}
		split := bytes.SplitAfter(raw, []byte("\n"))
		_, _ = fmt.Fprintf(&all, "--- %s\n%s", name, bytes.Join(split[max(0, len(split)-lines):], nil))
	}
	return all.String()
}
