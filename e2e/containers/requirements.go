package containers

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Tools is where the programs are that a node runs.
type Tools struct {
	// Busybox is linked statically, so that it is an image by itself.
	Busybox string
	// Plugins is the folder of the CNI plugins.
	Plugins string
	// Path is the PATH on which containerd, ctr, runc, ip and mount are found.
	Path string
}

// packages are what Debian calls what is needed.
const packages = "containerd runc containernetworking-plugins busybox-static iproute2"

// UnableError says that this machine cannot run a node, and what to do.
type UnableError struct{ Reasons []string }

func (e *UnableError) Error() string {
	return strings.Join(e.Reasons, "; ") + " (on Debian: as root, apt-get install " + packages + ")"
}

// Machine is what is asked about a machine before a node is started on it.
type Machine struct {
	// User is the number of the user that would start the node.
	User int
	// Path is where programs are looked for.
	Path []string
	// PluginFolders is where CNI plugins are looked for.
	PluginFolders []string
	// Isolate starts and ends a process in namespaces like those of a node.
	Isolate func() error
}

// ThisMachine returns the machine that this process runs on.
func ThisMachine() Machine {
	return Machine{
		User: os.Getuid(),
		Path: append(filepath.SplitList(os.Getenv("PATH")),
			"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"),
		PluginFolders: []string{"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"},
		Isolate:       isolate,
	}
}

// isolate finds out whether namespaces can be made: root in a container often may not.
func isolate() error {
	cmd := exec.Command("/bin/true") //nolint:noctx // ends at once
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	return cmd.Run()
}

// Tools returns what a node runs, or an [UnableError] with everything that is in the way.
func (m Machine) Tools() (Tools, error) {
	tools := Tools{Path: strings.Join(m.Path, string(filepath.ListSeparator))}
	var reasons []string
	if m.User != 0 {
		reasons = append(reasons, "only root may start containers here")
	} else if err := m.Isolate(); err != nil {
		reasons = append(reasons, fmt.Sprintf("namespaces cannot be made (%v)", err))
	}
	for _, program := range []string{"containerd", "containerd-shim-runc-v2", "ctr", "runc", "ip", "mount"} {
		if m.find(program) == "" {
			reasons = append(reasons, program+" is not installed")
		}
	}
	var err error
	if tools.Busybox, err = m.busybox(); err != nil {
		reasons = append(reasons, err.Error())
	}
	if tools.Plugins = m.plugins(); tools.Plugins == "" {
		reasons = append(reasons, fmt.Sprintf("the CNI plugins bridge, host-local and loopback are in none of %s",
			strings.Join(m.PluginFolders, ", ")))
	}
	if len(reasons) > 0 {
		return Tools{}, &UnableError{reasons}
	}
	return tools, nil
}

// find returns the path of a program, or nothing.
func (m Machine) find(program string) string {
	for _, dir := range m.Path {
		if path := filepath.Join(dir, program); executable(path) {
			return path
		}
	}
	return ""
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// busybox returns a busybox that runs where there is nothing else.
func (m Machine) busybox() (string, error) {
	err := errors.New("busybox is not installed")
	for _, dir := range m.Path {
		path := filepath.Join(dir, "busybox")
		if !executable(path) {
			continue
		}
		if err = static(path); err == nil {
			return path, nil
		}
	}
	return "", err
}

// static returns an error unless the program needs no dynamic linker.
func static(path string) error {
	program, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("%s is not a program: %w", path, err)
	}
	defer func() { _ = program.Close() }()
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is linked dynamically, so no image can be made of it alone", path)
		}
	}
	return nil
}

func (m Machine) plugins() string {
	for _, dir := range m.PluginFolders {
		if executable(filepath.Join(dir, "bridge")) && executable(filepath.Join(dir, "host-local")) &&
			executable(filepath.Join(dir, "loopback")) {
			return dir
		}
	}
	return ""
}
