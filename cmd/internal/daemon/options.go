package daemon

import (
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options are those of every daemon.
type Options struct {
	// Kubeconfig is the path of the home cluster's kubeconfig; empty means the pod's own ServiceAccount.
	Kubeconfig string
	// QPS and Burst limit requests to the home API server.
	QPS   float32
	Burst int
	// LeaderElect lets one of several replicas work.
	LeaderElect bool
	// MetricsAddress and HealthAddress are listened on; "0" turns them off.
	MetricsAddress, HealthAddress string
}

// DefaultOptions returns the defaults. client-go's own limit of 5 requests a second would make a burst take minutes.
func DefaultOptions() Options {
	return Options{QPS: 500, Burst: 1000, LeaderElect: true, MetricsAddress: ":8080", HealthAddress: ":8081"}
}

// AddFlags defines the flags; leases says in which namespace the leader's lease is.
func (o *Options) AddFlags(fs *pflag.FlagSet, leases string) {
	fs.StringVar(&o.Kubeconfig, "kubeconfig", o.Kubeconfig,
		"Path of the kubeconfig of the home cluster; empty when running inside it.")
	fs.Float32Var(&o.QPS, "kube-api-qps", o.QPS, "Requests per second to the home API server.")
	fs.IntVar(&o.Burst, "kube-api-burst", o.Burst, "Burst of requests to the home API server.")
	fs.BoolVar(&o.LeaderElect, "leader-elect", o.LeaderElect,
		"Let one of several replicas work, the others stand by. The lease is in "+leases+".")
	fs.StringVar(&o.MetricsAddress, "metrics-bind-address", o.MetricsAddress, `Address of /metrics; "0" turns it off.`)
	fs.StringVar(&o.HealthAddress, "health-probe-bind-address", o.HealthAddress,
		`Address of /healthz and /readyz; "0" turns it off.`)
}

// Validate returns every mistake.
func (o *Options) Validate() []error {
	errs := CheckRate("kube-api", o.QPS, o.Burst)
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
