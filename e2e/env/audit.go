package env

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

func (c *Cluster) auditPath() string { return c.path("audit.log") }

// Audit reads a cluster's audit log from a point on.
type Audit struct {
	// Offset is where the next call of Events starts in the file; 0 is the beginning of everything.
	Offset int64

	path string
}

// Audit returns a reader of what happens on the cluster from now on.
func (e *Env) Audit(cluster string) (*Audit, error) {
	c, err := e.find(cluster)
	if err != nil {
		return nil, err
	}
	return c.Audit()
}

// Audit returns a reader of what happens on the cluster from now on.
func (c *Cluster) Audit() (*Audit, error) {
	info, err := os.Stat(c.auditPath())
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	return &Audit{Offset: info.Size(), path: c.auditPath()}, nil
}

// Events returns the events since the last call.
func (a *Audit) Events() ([]auditv1.Event, error) {
	var events []auditv1.Event
	err := a.Each(func(event auditv1.Event) { events = append(events, event) })
	return events, err
}

// Each calls do with the events since the last call, in order, and keeps none: of many there are gigabytes.
func (a *Audit) Each(do func(auditv1.Event)) error {
	f, err := os.Open(a.path)
	if err != nil {
		return fmt.Errorf("read audit log: %w", err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(a.Offset, io.SeekStart); err != nil {
		return fmt.Errorf("read audit log: %w", err)
	}
	for lines := bufio.NewReader(f); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // the rest is still being written
		}
		if err != nil {
			return fmt.Errorf("read audit log: %w", err)
		}
		var event auditv1.Event
		if err := json.Unmarshal(line, &event); err != nil {
			return fmt.Errorf("read audit log at %d: %w", a.Offset, err)
		}
		a.Offset += int64(len(line))
		do(event)
	}
}

// IsWrite says whether the request of the event could change something.
func IsWrite(event auditv1.Event) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, event.Verb)
}
