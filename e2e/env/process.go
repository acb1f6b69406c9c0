package env

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// Process is a process that a playground started. The time of its start, in clock ticks since boot, tells it from a
// later process with the same number.
type Process struct {
	Cluster   string `json:"cluster"`
	Component string `json:"component"`
	PID       int    `json:"pid"`
	Started   uint64 `json:"started"`
}

// proc is where the kernel tells about processes.
const proc = "/proc"

// stat is what this package reads of /proc/PID/stat.
type stat struct {
	state   byte
	threads uint64
	started uint64
	cpu     time.Duration
}

// ended says that nothing of the process is left but its number. The first thread of a killed process is a zombie while
// others still hold its files and ports, for as long as the kernel takes to give its memory back.
func (s stat) ended() bool { return s.state == 'X' || s.state == 'Z' && s.threads <= 1 }

func readStat(pid int) (stat, error) {
	raw, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(raw)
}

// parseStat reads from the last parenthesis on, since a program's name may hold spaces and parentheses.
func parseStat(raw []byte) (stat, error) {
	const state, userTime, systemTime, threads, started = 0, 11, 12, 17, 19
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every architecture that Go runs on
	_, rest, found := bytes.Cut(raw[bytes.LastIndexByte(raw, ')')+1:], []byte(" "))
	fields := strings.Fields(string(rest))
	if !found || len(fields) <= started {
		return stat{}, errors.New("read process: short stat line")
	}
	var numbers [4]uint64
	for i, field := range []int{userTime, systemTime, threads, started} {
		n, err := strconv.ParseUint(fields[field], 10, 64)
		if err != nil {
			return stat{}, fmt.Errorf("read process: %w", err)
		}
		numbers[i] = n
	}
	return stat{
		state:   fields[state][0],
		threads: numbers[2],
		started: numbers[3],
		cpu:     time.Duration(numbers[0]+numbers[1]) * tick, //nolint:gosec // G115: a process' life fits
	}, nil
}

// Alive says whether this very process still runs, or still holds what it held when it ran.
func (p Process) Alive() bool {
	s, err := readStat(p.PID)
	return err == nil && s.started == p.Started && !s.ended()
}

// Signal sends a signal to this very process; to one that is gone it does nothing.
func (p Process) Signal(sig syscall.Signal) error {
	// The handle pins the process, so what is looked at is what is signalled.
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return nil //nolint:nilerr // no such process
	}
	defer func() { _ = handle.Release() }()
	if !p.Alive() {
		return nil
	}
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s of %s: %w", p.Component, p.Cluster, err)
	}
	return nil
}

// end kills the processes and waits until they are gone.
func end(ctx context.Context, processes []Process) error {
	var errs []error
	for _, p := range processes {
		errs = append(errs, p.Signal(syscall.SIGKILL))
	}
	for _, p := range processes {
		errs = append(errs, p.gone(ctx, 10*time.Second))
	}
	return errors.Join(errs...)
}

func (p Process) gone(ctx context.Context, timeout time.Duration) error {
	err := wait.PollUntilContextTimeout(ctx, 10*time.Millisecond, timeout, true,
		func(context.Context) (bool, error) { return !p.Alive(), nil })
	if err != nil {
		return fmt.Errorf("wait for the end of %s of %s (pid %d): %w", p.Component, p.Cluster, p.PID, err)
	}
	return nil
}

// mark is the environment variable that every process of a playground carries, with the playground's directory: what
// was started but not yet written down can still be found by it.
const mark = "TWINSPACE_PLAYGROUND"

// marked returns the processes that carry the mark of the playground in dir.
func marked(dir string) ([]Process, error) {
	entries, err := os.ReadDir(proc)
	if err != nil {
		return nil, fmt.Errorf("look for processes: %w", err)
	}
	want := []byte(mark + "=" + dir)
	var found []Process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		before, err := readStat(pid)
		if err != nil {
			continue
		}
		environ, err := os.ReadFile(filepath.Join(proc, entry.Name(), "environ"))
		if err != nil { // gone, or another user's
			continue
		}
		for variable := range bytes.SplitSeq(environ, []byte{0}) {
			if bytes.Equal(variable, want) {
				found = append(found, Process{"?", "?", pid, before.started})
			}
		}
	}
	return found, nil
}

// launcher starts a prepared command.
type launcher func(*exec.Cmd) error

// detached starts processes that outlive this one, in a session of their own, so that no terminal's signal reaches
// them.
func detached(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// tied returns a launcher of processes that the kernel kills when this one ends. It does so when the thread that
// started them ends, hence one thread that is kept for it until stop.
func tied() (launch launcher, stop func()) {
	type request struct {
		cmd  *exec.Cmd
		done chan<- error
	}
	requests := make(chan request)
	go func() {
		runtime.LockOSThread()
		for r := range requests {
			r.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
			r.done <- r.cmd.Start()
		}
	}()
	return func(cmd *exec.Cmd) error {
		done := make(chan error)
		requests <- request{cmd, done}
		return <-done
	}, func() { close(requests) }
}
