package containers

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree makes files below a folder; a name that ends with a slash is a folder.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(name, "/") {
			if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if err := os.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// folders returns the folders below root, by name.
func folders(t *testing.T, root string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() && path != root {
			found = append(found, strings.TrimPrefix(path, root+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestACgroupIsMadeInEveryHierarchyAndRemovedWithAllBelow(t *testing.T) {
	cases := map[string]struct {
		files []string
		made  []string
		left  []string
	}{
		"version 2: one hierarchy": {
			files: []string{"cgroup.controllers", "cgroup.procs", "other/"},
			made:  []string{"other", "ours"}, left: []string{"other"},
		},
		"version 1: one for each controller": {
			files: []string{"cpu/cgroup.procs", "memory/cgroup.procs", "memory/other/", "empty/"},
			made:  []string{"cpu", "cpu/ours", "empty", "memory", "memory/other", "memory/ours"},
			left:  []string{"cpu", "empty", "memory", "memory/other"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := tree(t, tc.files...)
			if err := makeCgroup(root, "ours"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.made, folders(t, root)); diff != "" {
				t.Errorf("made (-want,+got)\n%s", diff)
			}
			dirs, err := hierarchies(root)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dirs[0], "ours/kubepods/pod1"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := removeCgroup(t.Context(), root, "ours"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.left, folders(t, root)); diff != "" {
				t.Errorf("left (-want,+got)\n%s", diff)
			}
			if err := removeCgroup(t.Context(), root, "ours"); err != nil {
				t.Errorf("once more: %v", err)
			}
		})
	}
}

func TestACgroupThatIsInUseIsReported(t *testing.T) {
	root := tree(t, "cgroup.controllers", "ours/kubepods/cgroup.procs")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := removeCgroup(ctx, root, "ours"); err == nil || !strings.Contains(err.Error(), "kubepods") {
		t.Errorf("error is %v", err)
	}
}

func TestAMachineWithoutCgroupsIsReported(t *testing.T) {
	if err := makeCgroup(tree(t, "something/"), "ours"); err == nil {
		t.Error("no error")
	}
	if err := makeCgroup("/does/not/exist", "ours"); err == nil {
		t.Error("no error")
	}
}

func TestKernelSettingsAreSetBack(t *testing.T) {
	root := tree(t, kernelSettings()...)
	restore, err := remember(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range kernelSettings() {
		if err := os.WriteFile(filepath.Join(root, name), []byte("changed"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := restore(); err != nil {
		t.Fatal(err)
	}
	for _, name := range kernelSettings() {
		if raw, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(raw) != "1" {
			t.Errorf("%s is %q, %v", name, raw, err)
		}
	}
	if _, err := remember(t.TempDir()); err == nil {
		t.Error("what cannot be read is not reported")
	}
}

func TestANodesNetworkIsOneThatNobodyUses(t *testing.T) {
	cases := map[string]struct {
		seed int
		used []string
		want string // empty for none
	}{
		"nothing is used":                 {3, nil, "198.18.3.0/30"},
		"a large seed":                    {1027, nil, "198.18.3.0/30"},
		"the first choice is used":        {3, []string{"198.18.3.1/30"}, "198.18.4.0/30"},
		"the last is followed by others":  {255, []string{"198.18.255.0/24"}, "198.18.0.0/30"},
		"another network does not matter": {3, []string{"10.11.0.0/16", "fd00::1/64"}, "198.18.3.0/30"},
		"a network around all of them":    {3, []string{"198.18.0.7/15"}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var used []netip.Prefix
			for _, text := range tc.used {
				used = append(used, netip.MustParsePrefix(text))
			}
			got, err := freeSubnet(tc.seed, used)
			if (err != nil) != (tc.want == "") || err == nil && got.String() != tc.want {
				t.Errorf("got %s, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestBothEndsOfACableAreInItsNetwork(t *testing.T) {
	c := cable{subnet: netip.MustParsePrefix("198.18.7.0/30")}
	if c.ours().String() != "198.18.7.1" || c.theirs().String() != "198.18.7.2" {
		t.Errorf("they are %s and %s", c.ours(), c.theirs())
	}
}

func TestANodeHidesNothingThatItNeeds(t *testing.T) {
	cases := map[string]struct {
		opts Options
		want string
	}{
		"ordinary folders":       {Options{Dir: "/tmp/node", Playground: "/src/bin/playground"}, ""},
		"a folder like a hidden": {Options{Dir: "/running/node", Playground: "/src/bin/playground"}, ""},
		"files below /run": {
			Options{Dir: "/run/user/0/node", Playground: "/src/bin/playground"}, "/run/user/0/node is below /run",
		},
		"a workspace below /var/lib": {
			Options{Dir: "/tmp/node", Playground: "/var/lib/ci/bin/playground"},
			"/var/lib/ci/bin/playground is below /var/lib",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := tc.opts.check()
			if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
		})
	}
}
