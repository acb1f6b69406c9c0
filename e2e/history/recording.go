package history

import (
	"context"
	"errors"
	"io"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

// Listened is a cluster whose API server is listened to.
type Listened struct {
	// Name is also the cluster's id.
	Name string
	// Config reaches the API server as administrator, and past every fault that is made on purpose.
	Config *rest.Config
	// Audit is the path of the API server's audit log; empty is none.
	Audit string
}

// RecordingOptions say what to record and where.
type RecordingOptions struct {
	// Dir is made, and must be empty.
	Dir string
	// Home is the consumer, Away are the providers.
	Home Listened
	Away []Listened
	// Clock is the real one unless a test says otherwise.
	Clock clock.WithTicker
}

// Recording writes a record down while things happen. It outlives restarts of API servers.
type Recording struct{}

// StartRecording begins with what is there, and ends with ctx or [Recording.Close].
func StartRecording(context.Context, RecordingOptions) (*Recording, error) {
	return nil, errors.New("the recorder is being written")
}

// Note writes down what the lab does. That it cannot be written is told by Close.
func (r *Recording) Note(Note) {}

// Canary says that this text, the content of a Secret of the lab's making, must show up nowhere (I11).
func (r *Recording) Canary(why, text string) {}

// Evidence copies what people may see, such as logs, metrics and command lines, into the record for I11. The name may
// have folders in it.
func (r *Recording) Evidence(name string, from io.Reader) error { return nil }

// Flush returns when everything that has happened until now is in the record: what is there is listed, and waited for
// in the watches.
func (r *Recording) Flush(context.Context) error { return nil }

// Close ends the recording, and tells of everything that went wrong with it.
func (r *Recording) Close() error { return nil }
