package env

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Usage is what a process used since its start.
type Usage struct {
	Cluster, Component string
	CPU                time.Duration
	// RSS is the memory, in bytes, that it has now, PeakRSS the most that it had at once.
	RSS, PeakRSS int64
}

// Usage returns what each living process used.
func (e *Env) Usage() []Usage {
	var usages []Usage
	for _, p := range e.Processes() {
		if !p.Alive() {
			continue
		}
		u, err := UsageOf(p.PID)
		if err != nil {
			continue // it ended just now
		}
		u.Cluster, u.Component = p.Cluster, p.Component
		usages = append(usages, u)
	}
	return usages
}

// UsageOf returns what any process used.
func UsageOf(pid int) (Usage, error) {
	s, err := readStat(pid)
	if err != nil {
		return Usage{}, err
	}
	status, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "status"))
	if err != nil {
		return Usage{}, fmt.Errorf("read memory of process: %w", err)
	}
	now, nowErr := parseMemory(status, "VmRSS")
	peak, peakErr := parseMemory(status, "VmHWM")
	return Usage{CPU: s.cpu, RSS: now, PeakRSS: peak}, errors.Join(nowErr, peakErr)
}

// parseMemory reads a field of /proc/PID/status that is an amount of memory.
func parseMemory(status []byte, field string) (int64, error) {
	for line := range bytes.Lines(status) {
		value, found := strings.CutPrefix(string(line), field+":")
		if !found {
			continue
		}
		number := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB"))
		kilobytes, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read memory of process: %w", err)
		}
		return kilobytes << 10, nil
	}
	return 0, fmt.Errorf("read memory of process: no %s", field)
}
