package main

import (
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/twinspace/twinspace/namespacemap/naming"
)

// options are what the command line says.
type options struct {
	kubeconfig     string
	clusterID      string
	qps            float32
	burst          int
	leaderElect    bool
	metricsAddress string
	healthAddress  string
}

func defaults() *options {
	return &options{
		// client-go's default of 5 requests a second would make a burst of namespaces take minutes.
		qps: 200, burst: 400,
		leaderElect:    true,
		metricsAddress: ":8080",
		healthAddress:  ":8081",
	}
}

func (o *options) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig,
		"Path of the kubeconfig of the home cluster; empty when running inside it.")
	fs.StringVar(&o.clusterID, "cluster-id", o.clusterID,
		"Id of the home cluster, a DNS label. It is stored the first time and never changes; empty takes the "+
			"stored one, or the UID of namespace kube-system.")
	fs.Float32Var(&o.qps, "kube-api-qps", o.qps, "Requests per second to the API server.")
	fs.IntVar(&o.burst, "kube-api-burst", o.burst, "Burst of requests to the API server.")
	fs.BoolVar(&o.leaderElect, "leader-elect", o.leaderElect,
		"Let one of several replicas work, the others stand by. The lease is in namespace liqo.")
	fs.StringVar(&o.metricsAddress, "metrics-bind-address", o.metricsAddress, `Address of /metrics; "0" turns it off.`)
	fs.StringVar(&o.healthAddress, "health-probe-bind-address", o.healthAddress,
		`Address of /healthz and /readyz; "0" turns it off.`)
}

// validate returns every mistake at once.
func (o *options) validate() error {
	var errs []error
	if o.clusterID != "" {
		if err := naming.CheckClusterID(o.clusterID); err != nil {
			errs = append(errs, fmt.Errorf("--cluster-id: %w", err))
		}
	}
	if o.qps <= 0 {
		errs = append(errs, fmt.Errorf("--kube-api-qps: must be more than 0, not %v", o.qps))
	}
	if o.burst <= 0 {
		errs = append(errs, fmt.Errorf("--kube-api-burst: must be more than 0, not %d", o.burst))
	}
	errs = append(errs, checkAddress("--metrics-bind-address", o.metricsAddress),
		checkAddress("--health-probe-bind-address", o.healthAddress))
	return utilerrors.NewAggregate(errs)
}

// checkAddress refuses what cannot be listened on; "0" is no address on purpose.
func checkAddress(flag, address string) error {
	if address == "0" {
		return nil
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("%s: port %q is not a number up to 65535", flag, port)
	}
	return nil
}
