package containers

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// able returns a machine that has everything, in folders of its own.
func able(t *testing.T) Machine {
	t.Helper()
	dir := t.TempDir()
	m := Machine{
		Path: []string{filepath.Join(dir, "bin")}, PluginFolders: []string{"/nowhere", filepath.Join(dir, "cni")},
		Isolate: func() error { return nil },
	}
	for _, program := range []string{
		"bin/containerd", "bin/containerd-shim-runc-v2", "bin/ctr", "bin/runc", "bin/ip", "bin/mount",
		"cni/bridge", "cni/host-local", "cni/loopback",
	} {
		install(t, filepath.Join(dir, program), "#!/bin/sh\n")
	}
	install(t, filepath.Join(dir, "bin/busybox"), program(false))
	return m
}

func install(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o700); err != nil { //nolint:gosec // G306: a program
		t.Fatal(err)
	}
}

// program is the smallest that can be told to need a dynamic linker or not: a header, and one segment.
func program(dynamic bool) string {
	raw := make([]byte, 64+56)
	copy(raw, "\x7fELF\x02\x01\x01") // 64 bit, little endian
	raw[16], raw[18], raw[20] = 2, 62, 1
	raw[32] = 64                                        // where segments begin
	raw[52], raw[54], raw[56] = 64, 56, 1               // sizes, and one segment
	raw[58] = 64                                        // size of a section
	raw[64] = map[bool]byte{false: 1, true: 3}[dynamic] // PT_LOAD or PT_INTERP
	return string(raw)
}

func TestWhatAMachineNeedsToRunContainers(t *testing.T) {
	remove := func(program string) func(*testing.T, *Machine) {
		return func(t *testing.T, m *Machine) {
			if err := os.Remove(filepath.Join(filepath.Dir(m.Path[0]), program)); err != nil {
				t.Fatal(err)
			}
		}
	}
	busybox := func(content string) func(*testing.T, *Machine) {
		return func(t *testing.T, m *Machine) { install(t, filepath.Join(m.Path[0], "busybox"), content) }
	}
	cases := map[string]struct {
		without func(*testing.T, *Machine)
		want    []string
	}{
		"everything is there": {func(*testing.T, *Machine) {}, nil},
		"a user that is not root": {
			func(_ *testing.T, m *Machine) { m.User = 1000 }, []string{"only root may start containers here"},
		},
		"root in a container that may not make namespaces": {
			func(_ *testing.T, m *Machine) {
				m.Isolate = func() error { return errors.New("operation not permitted") }
			},
			[]string{"namespaces cannot be made (operation not permitted)"},
		},
		"no containerd": {remove("bin/containerd"), []string{"containerd is not installed"}},
		"no runc":       {remove("bin/runc"), []string{"runc is not installed"}},
		"a CNI plugin is missing": {
			remove("cni/host-local"),
			[]string{"the CNI plugins bridge, host-local and loopback are in none of /nowhere, "},
		},
		"no busybox": {remove("bin/busybox"), []string{"busybox is not installed"}},
		"a busybox that needs libraries": {
			busybox(program(true)), []string{"busybox is linked dynamically, so no image can be made of it alone"},
		},
		"a busybox that is a script": {busybox("#!/bin/sh\n"), []string{"busybox is not a program"}},
		"nothing at all": {
			func(_ *testing.T, m *Machine) { *m = Machine{User: 1, PluginFolders: []string{"/opt/cni/bin"}} },
			[]string{
				"only root", "containerd is", "ctr is", "runc is", "ip is", "mount is", "busybox is", "/opt/cni/bin",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := able(t)
			tc.without(t, &m)
			tools, err := m.Tools()
			var unable *UnableError
			if errors.As(err, &unable) != (len(tc.want) > 0) || err != nil && tools != (Tools{}) {
				t.Fatalf("got %+v, %v", tools, err)
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if err != nil && !strings.Contains(err.Error(), "apt-get install containerd runc") {
				t.Errorf("%q does not say what to do", err)
			}
		})
	}
}

func TestToolsAreTheOnesThatWereFound(t *testing.T) {
	m := able(t)
	tools, err := m.Tools()
	want := Tools{Busybox: filepath.Join(m.Path[0], "busybox"), Plugins: m.PluginFolders[1], Path: m.Path[0]}
	if err != nil || tools != want {
		t.Errorf("got %+v, %v, want %+v", tools, err, want)
	}
}

func TestAStaticBusyboxIsPreferred(t *testing.T) {
	m := able(t)
	m.Path = append([]string{filepath.Join(t.TempDir(), "first")}, m.Path...)
	install(t, filepath.Join(m.Path[0], "busybox"), program(true))
	if tools, err := m.Tools(); err != nil || tools.Busybox != filepath.Join(m.Path[1], "busybox") {
		t.Errorf("got %+v, %v", tools, err)
	}
}
