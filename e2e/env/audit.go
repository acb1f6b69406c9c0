package env

import (
	"bytes"
	"encoding/json"
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
	f, err := os.Open(a.path)
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.NewSectionReader(f, a.Offset, 1<<62))
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	raw = raw[:bytes.LastIndexByte(raw, '\n')+1] // the rest is still being written
	var events []auditv1.Event
	for line := range bytes.Lines(raw) {
		var event auditv1.Event
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("read audit log at %d: %w", a.Offset, err)
		}
		events = append(events, event)
	}
	a.Offset += int64(len(raw))
	return events, nil
}

// IsWrite says whether the request of the event could change something.
func IsWrite(event auditv1.Event) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "deletecollection"}, event.Verb)
}
