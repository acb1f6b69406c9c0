package env

import (
	"bytes"
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
	// PeakRSS is the most memory, in bytes, that it had at once.
	PeakRSS int64
}

// Usage returns what each living process used.
func (e *Env) Usage() []Usage {
	var usages []Usage
	for _, p := range e.Processes() {
		if !p.Alive() {
			continue
		}
		s, err := readStat(p.PID)
		if err != nil {
			continue // it ended just now
		}
		status, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(p.PID), "status"))
		if err != nil {
			continue
		}
		peak, err := parsePeak(status)
		if err != nil {
			continue
		}
		usages = append(usages, Usage{p.Cluster, p.Component, s.cpu, peak})
	}
	return usages
}

// parsePeak reads the high-water mark from /proc/PID/status.
func parsePeak(status []byte) (int64, error) {
	for line := range bytes.Lines(status) {
		value, found := strings.CutPrefix(string(line), "VmHWM:")
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
	return 0, fmt.Errorf("read memory of process: no VmHWM")
}
