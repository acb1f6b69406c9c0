package env

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const modulePath = "github.com/twinspace/twinspace"

// ours returns the programs that [Options.Ours] may replace.
func ours() []string { return []string{Manager, Agent, "liqoctl"} }

// ourScheduler is a program that may be in [Options.Ours]; without it, home's scheduler is the one in playground, which
// is the same in fewer files.
const ourScheduler = "scheduler"

func (o *Options) hasScheduler() bool {
	if o.Ours == "" {
		return false
	}
	_, err := os.Stat(o.program(ourScheduler))
	return err == nil
}

// program returns the path of a program.
func (o *Options) program(name string) string {
	if o.Ours != "" && (name == ourScheduler || slices.Contains(ours(), name)) {
		return filepath.Join(o.Ours, name)
	}
	return filepath.Join(o.Bin, name)
}

// checkPrograms returns an error that says what to do when a program is missing that these options need.
func (o *Options) checkPrograms() error {
	names := []string{"playground"}
	if !o.Bare && o.Nodes > 0 {
		names = append(names, "kwok")
	}
	if o.Peer {
		names = append(names, ours()...)
	}
	var missing []string
	for _, name := range names {
		info, err := os.Stat(o.program(name))
		if err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
			missing = append(missing, o.program(name))
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s not found: run make build first", strings.Join(missing, ", "))
	}
	return nil
}

// canonicalDir makes the path absolute and free of symbolic links as far as it exists, so that one directory has one
// name whatever the caller called it.
func canonicalDir(dir string) (string, error) {
	if dir == "" {
		return "", &UsageError{"the directory of the playground is not set"}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("find directory: %w", err)
	}
	parent, rest := abs, ""
	for {
		real, err := filepath.EvalSymlinks(parent)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, os.ErrNotExist) || parent == filepath.Dir(parent) {
			return "", fmt.Errorf("find directory: %w", err)
		}
		parent, rest = filepath.Dir(parent), filepath.Join(filepath.Base(parent), rest)
	}
}

// RepositoryRoot returns the folder of this module's go.mod at or above the working directory.
func RepositoryRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find repository: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if declaresModule(filepath.Join(dir, "go.mod")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find repository: no go.mod of %s above the working directory", modulePath)
		}
	}
}

func declaresModule(file string) bool {
	f, err := os.Open(file) //nolint:gosec // G304: a go.mod above the working directory
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if strings.TrimSpace(lines.Text()) == "module "+modulePath {
			return true
		}
	}
	return false
}
