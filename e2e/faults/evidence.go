package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// evidence looks for data races in the logs, and says where a failing run's folder is.
func (l *lab) evidence(dir string, ok bool) error {
	err := races(l.env.Dir())
	if !ok || err != nil {
		l.say("the run failed: everything is kept in %s", dir)
	}
	return err
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
