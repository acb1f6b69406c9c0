package daemon

import (
	"fmt"
	"net"
	"net/http"
	"strconv"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/cmd/internal/failpoint"
	"github.com/twinspace/twinspace/cmd/internal/leader"
)

// Options are those of every daemon.
type Options struct {
	// Kubeconfig is the path of the home cluster's kubeconfig; empty means the pod's own ServiceAccount.
	Kubeconfig string
	// QPS and Burst limit requests to the home API server.
	QPS   float32
	Burst int
	// LeaderElect lets one of several replicas work, by these Times.
	LeaderElect bool
	Times       leader.Times
	// MetricsAddress and HealthAddress are listened on; "0" turns them off.
	MetricsAddress, HealthAddress string
	// Faults are for tests of builds that are made for them.
	Faults failpoint.Faults
}

// DefaultOptions returns the defaults. client-go's own limit of 5 requests a second would make a burst take minutes.
func DefaultOptions() Options {
	return Options{
		QPS: 500, Burst: 1000, LeaderElect: true, Times: leader.DefaultTimes(),
		MetricsAddress: ":8080", HealthAddress: ":8081", Faults: failpoint.Read(),
	}
}

// AddFlags defines the flags; leases says in which namespace the leader's lease is.
func (o *Options) AddFlags(fs *pflag.FlagSet, leases string) {
	fs.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig,
		"Path of the kubeconfig of the home cluster; empty when running inside it.")
	fs.Float32Var(&o.QPS, "kube-api-qps", o.QPS, "Requests per second to the home API server.")
	fs.IntVar(&o.Burst, "kube-api-burst", o.Burst, "Burst of requests to the home API server.")
	fs.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect,
		"Let one of several replicas work, the others stand by. The lease is in "+leases+".")
	fs.DurationVar(&o.Times.Lease, "leader-elect-lease-duration", o.Times.Lease,
		"For how long others wait that have seen the leader renew its lease, before one of them leads.")
	fs.DurationVar(&o.Times.Renew, "leader-elect-renew-deadline", o.Times.Renew,
		"For how long the leader tries to renew its lease before it gives up, and ends.")
	fs.DurationVar(&o.Times.Retry, "leader-elect-retry-period", o.Times.Retry,
		"Pause between attempts to renew the lease, and to acquire it.")
	fs.StringVar(&o.MetricsAddress, "metrics-bind-address", o.MetricsAddress, `Address of /metrics; "0" turns it off.`)
	fs.StringVar(&o.HealthAddress, "health-probe-bind-address", o.HealthAddress,
		`Address of /healthz and /readyz; "0" turns it off.`)
}

// Validate returns every mistake.
func (o *Options) Validate() []error {
	errs := CheckRate("kube-api", o.QPS, o.Burst)
	if o.LeaderElect {
		errs = append(errs, o.Times.Validate()...)
	}
	if err := o.Faults.Err(); err != nil {
		errs = append(errs, err)
	}
	for flag, address := range map[string]string{
		"metrics-bind-address": o.MetricsAddress, "health-probe-bind-address": o.HealthAddress,
	} {
		if err := checkAddress(flag, address); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// CheckRate refuses a limit that would let nothing through; the flags are PREFIX-qps and PREFIX-burst.
func CheckRate(prefix string, qps float32, burst int) []error {
	var errs []error
	if qps <= 0 {
		errs = append(errs, fmt.Errorf("--%s-qps: must be more than 0, not %v", prefix, qps))
	}
	if burst <= 0 {
		errs = append(errs, fmt.Errorf("--%s-burst: must be more than 0, not %d", prefix, burst))
	}
	return errs
}

// checkAddress refuses what cannot be listened on; "0" is no address on purpose.
func checkAddress(flag, address string) error {
	if address == "0" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("--%s: port %q is not a number up to 65535", flag, port)
	}
	return nil
}

// Config returns how to reach the home cluster.
func (o *Options) Config() (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", o.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load the kubeconfig: %w", err)
	}
	config.QPS, config.Burst = o.QPS, o.Burst
	config.UserAgent = rest.DefaultKubernetesUserAgent()
	return config, nil
}

// Clock returns the one clock of the process.
func (o *Options) Clock() clock.WithTickerAndDelayedExecution {
	return o.Faults.Clock(clock.RealClock{})
}

// Elect prepares the election of a leader, whose lease is in a namespace of home; nil if there is none.
func (o *Options) Elect(home *rest.Config, namespace, name string) (*leader.Leader, error) {
	if !o.LeaderElect {
		return nil, nil
	}
	return leader.New(leader.Options{
		Home: home, Namespace: namespace, Name: name, Times: o.Times, Clock: o.Clock(),
	})
}

// Leading returns a configuration of home whose clients change something only while we lead.
func (o *Options) Leading(home *rest.Config, l *leader.Leader) *rest.Config {
	config := rest.CopyConfig(home)
	config.Wrap(o.Transport(failpoint.Home, l))
	return config
}

// Transport returns what goes around the transports to one side. Faults are outside: what they stop shall meet the
// fence when it goes on.
func (o *Options) Transport(to failpoint.Side, l *leader.Leader) func(http.RoundTripper) http.RoundTripper {
	return func(next http.RoundTripper) http.RoundTripper { return o.Faults.Transport(to, l.Wrap(next)) }
}
