package containers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// cgroups is where the kernel shows control groups.
const cgroups = "/sys/fs/cgroup"

// hierarchies returns the folders under which a cgroup has to be made: one of version 2, or one for each controller.
func hierarchies(root string) ([]string, error) {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	var found []string
	for _, entry := range entries { // links are second names
		dir := filepath.Join(root, entry.Name())
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); entry.IsDir() && err == nil {
			found = append(found, dir)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("find cgroups: none in %s", root)
	}
	return found, nil
}

// makeCgroup makes the cgroup in every hierarchy.
func makeCgroup(root, name string) error {
	dirs, err := hierarchies(root)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil { //nolint:gosec // G301: as the kernel's
			return fmt.Errorf("make cgroup: %w", err)
		}
	}
	return nil
}

// removeCgroup removes the cgroup and all below it from every hierarchy. The kernel lets go of one only when the last
// of its processes is buried, which takes a moment.
func removeCgroup(ctx context.Context, root, name string) error {
	dirs, err := hierarchies(root)
	if err != nil {
		return err
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 30*time.Second, true,
		func(context.Context) (bool, error) {
			last = nil
			for _, dir := range dirs {
				last = errors.Join(last, removeFolders(filepath.Join(dir, name)))
			}
			return last == nil, nil
		})
	if err != nil {
		return fmt.Errorf("remove cgroup %s: %w", name, errors.Join(err, last))
	}
	return nil
}

// removeFolders removes folders, deepest first. The files in them are the kernel's and go along.
func removeFolders(top string) error {
	var folders []string
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	errs := []error{err}
	for _, folder := range slices.Backward(folders) {
		if err := os.Remove(folder); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// kernelSettings are what a kubelet changes about the whole machine.
func kernelSettings() []string {
	return []string{
		"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	}
}

// remember returns what sets the kernel's settings back to what they are now.
func remember(root string) (restore func() error, err error) {
	before := map[string]string{}
	for _, name := range kernelSettings() {
		raw, err := os.ReadFile(filepath.Join(root, name)) //nolint:gosec // G304: the kernel's
		if err != nil {
			return nil, fmt.Errorf("read kernel setting: %w", err)
		}
		before[name] = strings.TrimSpace(string(raw))
	}
	return func() error {
		var errs []error
		for name, value := range before {
			if err := os.WriteFile(filepath.Join(root, name), []byte(value), 0o600); err != nil {
				errs = append(errs, fmt.Errorf("restore kernel setting: %w", err))
			}
		}
		return errors.Join(errs...)
	}, nil
}
