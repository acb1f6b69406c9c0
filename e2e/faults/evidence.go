package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// copyLogs copies what every process printed, and the audit logs.
func copyLogs(from, to string) error {
	logs, err := filepath.Glob(filepath.Join(from, "*", "*.log"))
	if err != nil {
		return err
	}
	var errs []error
	for _, log := range logs {
		dir := filepath.Join(to, filepath.Base(filepath.Dir(log)))
		errs = append(errs, os.MkdirAll(dir, 0o700), os.Rename(log, filepath.Join(dir, filepath.Base(log))))
	}
	return errors.Join(errs...)
}

// races returns what the race detector found in any component.
func races(dir string) error {
	logs, err := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	if err != nil {
		return err
	}
	const enough = 4000
	var errs []error
	for _, log := range logs {
		text, err := os.ReadFile(log) //nolint:gosec // G304: a log of ours
		if err != nil {
			errs = append(errs, err)
		}
		for _, sign := range []string{"WARNING: DATA RACE", "panic: "} {
			if at := bytes.Index(text, []byte(sign)); at >= 0 {
				errs = append(errs, fmt.Errorf("%s:\n%s", log, text[at:min(len(text), at+enough)]))
			}
		}
	}
	return errors.Join(errs...)
}
