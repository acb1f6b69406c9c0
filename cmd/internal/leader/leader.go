// Package leader lets one of several replicas act, and keeps the others from it: whoever was stopped for longer than
// its lease, and wakes when another leads, sends nothing that changes anything, and ends.
//
// controller-runtime's election alone does not promise that. A process that wakes goes on where it stopped, and its
// elector tries to renew for as long as the renew deadline before it gives up, although it sees another holder.
package leader

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// Times are those of an election.
type Times struct {
	// Lease is for how long others wait that have seen a renewal. It is told in whole seconds.
	Lease time.Duration
	// Renew is for how long the leader tries to renew, before it gives up.
	Renew time.Duration
	// Retry is the pause between attempts, to renew and to acquire; those of a standby are up to 2.2 times as long.
	Retry time.Duration
}

// DefaultTimes let a standby take over within 17 s of a leader's death: it may see the last renewal 2.2 s late, waits
// for 12 s, and may look 2.2 s later. Kubernetes' own defaults (15 s, 10 s, 2 s) add up to 24.
func DefaultTimes() Times {
	return Times{Lease: 12 * time.Second, Renew: 8 * time.Second, Retry: time.Second}
}

// Validate returns what is wrong with the times; each mistake names the flag to change.
func (t Times) Validate() []error {
	var errs []error
	if t.Lease%time.Second != 0 {
		errs = append(errs, fmt.Errorf("--leader-elect-lease-duration: must be whole seconds, not %s", t.Lease))
	}
	if t.Lease < t.Renew+2*time.Second {
		errs = append(errs, fmt.Errorf("--leader-elect-lease-duration: must be at least 2s more than "+
			"--leader-elect-renew-deadline (%s), not %s: requests under way need time to end", t.Renew, t.Lease))
	}
	if t.Retry <= 0 || float64(t.Renew) <= leaderelection.JitterFactor*float64(t.Retry) {
		errs = append(errs, fmt.Errorf("--leader-elect-renew-deadline: must be more than %v times "+
			"--leader-elect-retry-period, which must be more than 0, not %s and %s",
			leaderelection.JitterFactor, t.Renew, t.Retry))
	}
	return errs
}

// term is for how long after a renewal the leader may act: longer than it tries to renew, shorter than others wait.
// What lies between is for requests that are under way, and for clocks of different speed.
func (t Times) term() time.Duration { return (t.Renew + t.Lease) / 2 }

// Options of a [Leader].
type Options struct {
	// Home is how to reach the cluster where the lease is.
	Home *rest.Config
	// Namespace and Name are the lease's.
	Namespace, Name string
	Times           Times
	Clock           clock.PassiveClock
}

// Leader is this replica's part in an election. A nil one leads without any.
type Leader struct {
	opts Options
	lock *lock
}

// New prepares the election; a manager that is given [Leader.Configure] runs it.
func New(o Options) (*Leader, error) {
	config := rest.AddUserAgent(rest.CopyConfig(o.Home), "leader-election")
	config.Timeout = max(o.Times.Renew/2, time.Second) // or one request that hangs would cost the lease
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for the election: %w", err)
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, fmt.Errorf("ask who we are: %w", err)
	}
	identity := host + "_" + string(uuid.NewUUID())
	told := record.NewBroadcaster()
	told.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	lease, err := resourcelock.New(resourcelock.LeasesResourceLock, o.Namespace, o.Name, client.CoreV1(),
		client.CoordinationV1(), resourcelock.ResourceLockConfig{
			Identity:      identity,
			EventRecorder: told.NewRecorder(scheme.Scheme, corev1.EventSource{Component: identity}),
		})
	if err != nil {
		return nil, fmt.Errorf("set up the lease: %w", err)
	}
	return &Leader{opts: o, lock: &lock{Interface: lease, term: newTerm(o.Clock, o.Times.term())}}, nil
}

// Configure makes a manager take part in the election.
func (l *Leader) Configure(m *manager.Options) {
	if l == nil {
		return
	}
	m.LeaderElection, m.LeaderElectionResourceLockInterface = true, l.lock
	// Both are required, although the lock has them.
	m.LeaderElectionID, m.LeaderElectionNamespace = l.opts.Name, l.opts.Namespace
	m.LeaseDuration, m.RenewDeadline, m.RetryPeriod = &l.opts.Times.Lease, &l.opts.Times.Renew, &l.opts.Times.Retry
	m.LeaderElectionReleaseOnCancel = true
}

// Wrap is for the transports of everything that only the leader may do: what changes something is not sent unless we
// lead. Reading is everybody's.
func (l *Leader) Wrap(next http.RoundTripper) http.RoundTripper {
	if l == nil {
		return next
	}
	return &fence{term: l.lock.term, next: next}
}

// errLost is why a process ends that has led.
var errLost = errors.New("another replica leads now: starting over")

// Run runs start, which starts the manager, and returns when it does, or at once when another has taken the lead: the
// process must end then, and start may still be at work.
func (l *Leader) Run(ctx context.Context, start func(context.Context) error) error {
	if l == nil {
		return start(ctx)
	}
	ended := make(chan error, 1)
	go func() { ended <- start(ctx) }()
	select {
	case err := <-ended:
		return err
	case <-l.lock.term.lost:
		klog.FromContext(ctx).Info("Another replica leads", "lease", l.lock.Describe(), "we", l.lock.Identity())
		return errLost
	}
}
