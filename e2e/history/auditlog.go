package history

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// auditLog follows the audit log of one API server through its rotations.
type auditLog struct {
	cluster, path string
	lines         *lines
	write         func(Entry)
	now           func() time.Time
	read          chan chan error // asks for everything that is there
}

func newAuditLog(cluster, path string, write func(Entry), now func() time.Time) *auditLog {
	return &auditLog{cluster: cluster, path: path, write: write, now: now, read: make(chan chan error)}
}

// run reads on at each tick and when it is asked, until ctx ends. It begins at the end of what is there.
func (a *auditLog) run(ctx context.Context, tick <-chan time.Time) {
	for {
		var answer chan error
		select {
		case <-ctx.Done():
			return
		case <-tick:
		case answer = <-a.read:
		}
		err := a.more()
		if err != nil {
			a.write(a.gap(err.Error()))
		}
		if answer != nil {
			answer <- err
		}
	}
}

func (a *auditLog) gap(why string) Entry {
	now := a.now()
	return Entry{At: now, Cluster: a.cluster, Source: SourceAudit, Gap: &Gap{Since: now, Why: why}}
}

// caughtUp reads everything that is there now.
func (a *auditLog) caughtUp(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case a.read <- answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-answer
}

// open opens the file; at its end when it is the first.
func (a *auditLog) open(whence int) error {
	file, err := os.Open(a.path)
	if err != nil {
		return fmt.Errorf("read audit log of %s: %w", a.cluster, err)
	}
	if _, err := file.Seek(0, whence); err != nil {
		return errors.Join(fmt.Errorf("read audit log of %s: %w", a.cluster, err), file.Close())
	}
	a.lines = &lines{path: a.path, file: file, buffer: bufio.NewReaderSize(file, 1<<16)}
	return nil
}

// more reads what was added, also when the file was put aside for a new one meanwhile.
func (a *auditLog) more() error {
	if a.lines == nil {
		if err := a.open(io.SeekEnd); err != nil {
			return err
		}
	}
	if err := a.rest(); err != nil {
		return err
	}
	rotated, err := a.rotated()
	if err != nil || !rotated {
		return err
	}
	// What was written between the look at it and its being put aside.
	if err := errors.Join(a.rest(), a.lines.file.Close()); err != nil {
		return err
	}
	if err := a.open(io.SeekStart); err != nil {
		return err
	}
	return a.rest()
}

func (a *auditLog) rotated() (bool, error) {
	mine, err := a.lines.file.Stat()
	if err != nil {
		return false, fmt.Errorf("read audit log of %s: %w", a.cluster, err)
	}
	there, err := os.Stat(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // the new one comes with the next request
	}
	if err != nil {
		return false, fmt.Errorf("read audit log of %s: %w", a.cluster, err)
	}
	return !os.SameFile(mine, there), nil
}

// rest records the lines that are there.
func (a *auditLog) rest() error {
	for {
		line, err := a.lines.line()
		if err != nil || line == nil {
			return err
		}
		if !mayWrite(line) {
			continue
		}
		var event auditv1.Event
		if err := json.Unmarshal(line, &event); err != nil {
			return fmt.Errorf("read audit log of %s: %w", a.cluster, err)
		}
		a.write(Entry{At: event.StageTimestamp.Time, Cluster: a.cluster, Source: SourceAudit, Audit: &event})
	}
}

// mayWrite tells requests that only read without decoding them, which most are.
func mayWrite(line []byte) bool {
	for _, verb := range []string{"get", "list", "watch"} {
		if bytes.Contains(line, []byte(`"verb":"`+verb+`"`)) {
			return false
		}
	}
	return true
}
