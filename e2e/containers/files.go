package containers

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/twinspace/twinspace/e2e/build"
)

// write writes what a node needs before anybody can reach it: its first program and its image.
func (n *Node) write(ctx context.Context) error {
	busybox := n.opts.Tools.Busybox
	program, err := os.ReadFile(busybox) //nolint:gosec // G304: a program that was looked for
	if err != nil {
		return fmt.Errorf("read busybox: %w", err)
	}
	applets, err := exec.CommandContext(ctx, busybox, "--list").Output() //nolint:gosec // G204: as above
	if err != nil {
		return fmt.Errorf("ask busybox what it can: %w", err)
	}
	out, err := os.Create(filepath.Join(n.opts.Dir, "image.tar"))
	if err != nil {
		return fmt.Errorf("write image: %w", err)
	}
	defer func() { _ = out.Close() }()
	image := Image{Name: build.Image, Busybox: program, Applets: strings.Fields(string(applets))}
	if err := image.Write(out); err != nil {
		return err
	}
	return n.file("node.sh", script)
}

// configure writes what depends on the node's address.
func (n *Node) configure() error {
	cert, key, err := n.cluster.Issue("system:node:"+n.Name, []string{"system:nodes"},
		[]string{n.Name, n.Address.String()})
	if err != nil {
		return err
	}
	access := n.cluster.Config()
	s := settings{
		dir: n.opts.Dir, pods: n.cluster.PodCIDR(), plugins: n.opts.Tools.Plugins, image: build.Image,
		cgroup: n.cgroup, cert: cert, key: key, clients: filepath.Join(n.opts.Dir, "clients.crt"),
	}
	cni, err := s.cni()
	if err != nil {
		return fmt.Errorf("configure pods' network: %w", err)
	}
	kubelet, err := s.kubelet()
	if err != nil {
		return fmt.Errorf("configure kubelet: %w", err)
	}
	kubeconfig, err := s.kubeconfig("https://"+n.link.Addr(), access)
	if err != nil {
		return fmt.Errorf("configure kubelet: %w", err)
	}
	for name, content := range map[string][]byte{
		"containerd.toml": []byte(s.containerd()), "cni/pods.conflist": cni,
		"kubelet.yaml": kubelet, "kubelet.kubeconfig": kubeconfig, "clients.crt": access.CAData,
		"resolv.conf": []byte("# No name is resolved here.\n"),
	} {
		if err := n.file(name, content); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) file(name string, content []byte) error {
	if err := os.WriteFile(filepath.Join(n.opts.Dir, name), content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}
