package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// saved is a run as it is kept in a file.
type saved struct {
	Machine machine
	// Figures are what runs are compared by.
	Figures []figure
	// Parts are everything that was measured; what is read back from a file has none of them.
	Parts map[string]report `json:",omitempty"`
}

// machine is what a reader must know of where a run took place.
type machine struct {
	Cores int
	// Load is that of the last minute before the run: of one that began on a busy machine only counts mean anything.
	Load string
}

func (m machine) String() string {
	return fmt.Sprintf("%d cores, load before the run %s", m.Cores, m.Load)
}

func thisMachine() machine {
	m := machine{Cores: runtime.NumCPU(), Load: "unknown"}
	if raw, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(raw), " ")
	}
	return m
}

// add takes up what a part measured.
func (s *saved) add(name string, r report) {
	s.Parts[name] = r
	if m, ok := r.(measured); ok {
		s.Figures = append(s.Figures, m.figures()...)
	}
}

// store writes the run to a file, if there is a name of one.
func (s *saved) store(path string) error {
	if path == "" {
		return nil
	}
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	if err := os.WriteFile(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return nil
}

// load reads the figures of a run that was stored.
func load(path string) (*saved, error) {
	data, err := os.ReadFile(path) //nolint:gosec // G304: the user names it
	if err != nil {
		return nil, fmt.Errorf("read saved result: %w", err)
	}
	var s struct {
		Machine machine
		Figures []figure
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("read saved result %s: %w", path, err)
	}
	if len(s.Figures) == 0 {
		return nil, fmt.Errorf("read saved result %s: it has no figures to compare with", path)
	}
	return &saved{Machine: s.Machine, Figures: s.Figures}, nil
}
