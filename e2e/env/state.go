package env

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// settings are the options that a running playground cannot change.
type settings struct {
	Providers int  `json:"providers"`
	Nodes     int  `json:"nodes"`
	Peer      bool `json:"peer"`
	Bare      bool `json:"bare,omitempty"`
	Gateways  bool `json:"gateways,omitempty"`
	Replicas  int  `json:"replicas,omitempty"`
}

// state is what the next command needs to know of a playground.
type state struct {
	// Boot is the boot of the machine that the processes belong to.
	Boot string `json:"boot"`
	// Ready is true once everything was up. What is not ready is thrown away, not repaired.
	Ready    bool     `json:"ready"`
	Settings settings `json:"settings"`
	// Ports by cluster and by use.
	Ports     map[string]map[string]int `json:"ports"`
	Processes []Process                 `json:"processes"`
	// Environ has what single components were given, by "CLUSTER/COMPONENT".
	Environ map[string][]string `json:"environ,omitempty"`
	// Recipe is how components are started.
	Recipe recipe `json:"recipe"`
}

// files are the names under the directory that belong to no cluster.
const (
	stateFile = "state.json"
	lockFile  = "lock"
	binDir    = "bin"
)

func loadState(dir string) (state, error) {
	raw, err := os.ReadFile(filepath.Join(dir, stateFile)) //nolint:gosec // G304: the user's own directory
	if errors.Is(err, fs.ErrNotExist) {
		return state{}, ErrNotRunning
	}
	if err != nil {
		return state{}, fmt.Errorf("read state: %w", err)
	}
	var s state
	if err := json.Unmarshal(raw, &s); err != nil {
		return state{}, &CorruptError{File: filepath.Join(dir, stateFile), Err: err}
	}
	return s, nil
}

// lastState returns an empty state where there is none that can be read: what it knew of is found by its mark.
func lastState(dir string) (state, error) {
	s, err := loadState(dir)
	var corrupt *CorruptError
	if errors.Is(err, ErrNotRunning) || errors.As(err, &corrupt) {
		return state{}, nil
	}
	return s, err
}

// CorruptError says that the state cannot be read; the processes can still be found by their mark.
type CorruptError struct {
	File string
	Err  error
}

func (e *CorruptError) Error() string { return fmt.Sprintf("read state in %s: %v", e.File, e.Err) }

// Unwrap returns what the parser said.
func (e *CorruptError) Unwrap() error { return e.Err }

// save writes the state so that a crash leaves either the old one or the new one.
func (s *state) save(dir string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return writeFile(filepath.Join(dir, stateFile), raw)
}

// writeFile replaces a file, readable by its owner only, in one step.
func writeFile(path string, content []byte) error {
	next := path + ".next"
	if err := os.WriteFile(next, content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

// record changes the state and writes it down.
func (e *Env) record(change func(*state)) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.state)
	return e.state.save(e.opts.Dir)
}

// boot identifies the running boot of this machine.
func boot() (string, error) {
	raw, err := os.ReadFile(filepath.Join(proc, "sys/kernel/random/boot_id"))
	if err != nil {
		return "", fmt.Errorf("identify boot: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// lock makes the directory and keeps other commands that change it waiting until unlock. The kernel lets go of it when
// the process ends, however it ends.
func lock(ctx context.Context, dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory: %w", err)
	}
	path := filepath.Join(dir, lockFile)
	var held *os.File
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, 2*time.Minute, true,
		func(context.Context) (bool, error) {
			held, err = tryLock(path)
			return held != nil, err
		})
	if wait.Interrupted(err) {
		return nil, fmt.Errorf("another command is working on %s", dir)
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = held.Close() }, nil
}

// tryLock returns nil without an error when another process holds the lock.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // G304: the user's own directory
	if err != nil {
		return nil, fmt.Errorf("lock directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, nil
	}
	// Down removes the file: a lock on a removed one excludes nobody.
	mine, err := f.Stat()
	if now, statErr := os.Stat(path); err != nil || statErr != nil || !os.SameFile(mine, now) {
		_ = f.Close()
		return nil, nil
	}
	return f, nil
}
