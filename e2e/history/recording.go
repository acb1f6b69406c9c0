package history

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/api/v1beta1"
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
	// Slack is how much later than it happened something may be heard of; 0 is [DefaultSlack].
	Slack time.Duration
	// Clock is the real one unless a test says otherwise.
	Clock clock.WithTicker
}

// DefaultSlack is how much later than it happened something may be heard of on a machine that has too much to do.
const DefaultSlack = time.Second

// often is how often what was recorded is brought into the files.
const often = time.Second

// Recording writes a record down while things happen. It outlives restarts of API servers.
type Recording struct {
	book      *book
	clock     clock.WithTicker
	listeners []*listener
	logs      []*auditLog
	end       context.CancelFunc
	running   sync.WaitGroup
}

// StartRecording begins with what is there, and ends with ctx or [Recording.Close].
func StartRecording(ctx context.Context, opts RecordingOptions) (*Recording, error) {
	if opts.Clock == nil {
		opts.Clock = clock.RealClock{}
	}
	if opts.Slack == 0 {
		opts.Slack = DefaultSlack
	}
	head := Head{Home: opts.Home.Name, Slack: opts.Slack}
	for _, away := range opts.Away {
		head.Away = append(head.Away, away.Name)
	}
	b, err := newBook(opts.Dir, head)
	if err != nil {
		return nil, err
	}
	r := &Recording{book: b, clock: opts.Clock}
	if err := r.prepare(opts); err != nil {
		return nil, errors.Join(err, b.close())
	}
	ctx, r.end = context.WithCancel(ctx)
	r.start(ctx)
	return r, nil
}

// prepare makes the listeners.
func (r *Recording) prepare(opts RecordingOptions) error {
	for i, c := range append([]Listened{opts.Home}, opts.Away...) {
		config := rest.CopyConfig(c.Config)
		config.QPS = -1
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			return fmt.Errorf("make client of %s: %w", c.Name, err)
		}
		resources := everywhere()
		if i == 0 {
			resources = append(resources, atHome()...)
		}
		for _, resource := range resources {
			l := newListener(c.Name, resource, client, listening{r.clock, r.book.write})
			r.listeners = append(r.listeners, l)
		}
		if c.Audit == "" {
			continue
		}
		log := newAuditLog(c.Name, c.Audit, r.book.write, r.clock.Now)
		if err := log.open(io.SeekEnd); err != nil {
			return err
		}
		r.logs = append(r.logs, log)
	}
	return nil
}

// everywhere is what is listened to on all clusters: all that our components write, and what pods come from. Leases are
// left out: they only say that somebody lives.
func everywhere() []schema.GroupVersionResource {
	group := func(group string, resources ...string) []schema.GroupVersionResource {
		var out []schema.GroupVersionResource
		for _, resource := range resources {
			out = append(out, schema.GroupVersionResource{Group: group, Version: "v1", Resource: resource})
		}
		return out
	}
	var out []schema.GroupVersionResource
	for _, some := range [][]schema.GroupVersionResource{
		group("", "pods", "namespaces", "nodes", "configmaps", "secrets", "services", "events",
			"persistentvolumeclaims", "persistentvolumes", "serviceaccounts"),
		group("discovery.k8s.io", "endpointslices"),
		group("networking.k8s.io", "ingresses", "networkpolicies"),
		group("policy", "poddisruptionbudgets"),
		group("apps", "deployments", "replicasets", "statefulsets"),
		group("batch", "jobs"),
		group("rbac.authorization.k8s.io", "rolebindings"),
	} {
		out = append(out, some...)
	}
	return out
}

// atHome is what is listened to on the consumer alone, besides: nothing of ours is installed on a provider.
func atHome() []schema.GroupVersionResource {
	var out []schema.GroupVersionResource
	for _, resource := range []string{"namespaceoffloadings", "namespacemaps", "virtualnodes"} {
		out = append(out, v1beta1.GroupVersion.WithResource(resource))
	}
	return out
}

func (r *Recording) start(ctx context.Context) {
	for _, l := range r.listeners {
		r.running.Go(func() { l.run(ctx) })
	}
	for _, log := range r.logs {
		ticker := r.clock.NewTicker(often)
		r.running.Go(func() {
			defer ticker.Stop()
			log.run(ctx, ticker.C())
		})
	}
	ticker := r.clock.NewTicker(often)
	r.running.Go(func() {
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C():
				_ = r.book.flush() // Close tells
			}
		}
	})
}

// Note writes down what the lab does. That it cannot be written is told by Close.
func (r *Recording) Note(n Note) {
	r.book.write(Entry{At: r.clock.Now(), Source: SourceLab, Note: &n})
}

// Canary says that this text, the content of a Secret of the lab's making, must show up nowhere (I11). It needs ten
// characters at least.
func (r *Recording) Canary(why, text string) { r.book.add(canaryFile, canary{why, text}) }

// Evidence copies what people may see, such as logs, metrics and command lines, into the record for I11. The name may
// have folders in it.
func (r *Recording) Evidence(name string, from io.Reader) error { return r.book.copy(name, from) }

// Flush returns when everything that has happened until now is in the record: what is there is listed, and waited for
// in the watches.
func (r *Recording) Flush(ctx context.Context) error {
	var waits errgroup.Group
	for _, l := range r.listeners {
		waits.Go(func() error { return l.caughtUp(ctx) })
	}
	for _, log := range r.logs {
		waits.Go(func() error { return log.caughtUp(ctx) })
	}
	return errors.Join(waits.Wait(), r.book.flush())
}

// Close ends the recording, and tells of everything that went wrong with it.
func (r *Recording) Close() error {
	r.end()
	r.running.Wait()
	errs := []error{r.book.close()}
	for _, log := range r.logs {
		errs = append(errs, log.lines.file.Close())
	}
	return errors.Join(errs...)
}
