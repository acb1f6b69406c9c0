package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/twinspace/twinspace/namespacemap/naming"
)

// options are what the command line says.
type options struct {
	kubeconfig      string
	clusterID       string
	remoteClusterID string

	nodeIP      string
	kubeletPort int
	certFile    string
	keyFile     string

	workers     int
	homeQPS     float32
	homeBurst   int
	awayQPS     float32
	awayBurst   int
	leaderElect bool

	metricsAddress string
	healthAddress  string
}

func defaultOptions() *options {
	return &options{
		kubeletPort: 10250,
		workers:     16,
		// client-go's default of 5 requests a second would make a burst of pods take minutes.
		homeQPS: 200, homeBurst: 400,
		awayQPS: 200, awayBurst: 400,
		leaderElect:    true,
		metricsAddress: ":8080",
		healthAddress:  ":8081",
	}
}

func (o *options) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.kubeconfig, "kubeconfig", o.kubeconfig,
		"Path of the kubeconfig of the home cluster; empty when running inside it.")
	fs.StringVar(&o.clusterID, "cluster-id", o.clusterID, "Id of the home cluster.")
	fs.StringVar(&o.remoteClusterID, "remote-cluster-id", o.remoteClusterID,
		"Id of the provider; every VirtualNode in its tenant namespace is served.")
	fs.StringVar(&o.nodeIP, "node-ip", o.nodeIP,
		"Address at which the home API server reaches this process; it becomes the Nodes' InternalIP.")
	fs.IntVar(&o.kubeletPort, "kubelet-port", o.kubeletPort, "Port of the kubelet API (logs of pods).")
	fs.StringVar(&o.certFile, "tls-cert-file", o.certFile,
		"Serving certificate of the kubelet API, read anew when it changes; self-signed when empty.")
	fs.StringVar(&o.keyFile, "tls-private-key-file", o.keyFile, "Private key of --tls-cert-file.")
	fs.IntVar(&o.workers, "workers", o.workers,
		"How many pods, and objects of each reflected kind, are worked on at once.")
	fs.Float32Var(&o.homeQPS, "kube-api-qps", o.homeQPS, "Requests per second to the home API server.")
	fs.IntVar(&o.homeBurst, "kube-api-burst", o.homeBurst, "Burst of requests to the home API server.")
	fs.Float32Var(&o.awayQPS, "remote-api-qps", o.awayQPS, "Requests per second to the provider's API server.")
	fs.IntVar(&o.awayBurst, "remote-api-burst", o.awayBurst, "Burst of requests to the provider's API server.")
	fs.BoolVar(&o.leaderElect, "leader-elect", o.leaderElect, "Let one of several replicas work, the others stand by.")
	fs.StringVar(&o.metricsAddress, "metrics-bind-address", o.metricsAddress, `Address of /metrics; "0" turns it off.`)
	fs.StringVar(&o.healthAddress, "health-probe-bind-address", o.healthAddress,
		`Address of /healthz and /readyz; "0" turns it off.`)
}

// validate returns every mistake at once.
func (o *options) validate() error {
	errs := append(o.identities(), o.endpoint()...)
	if o.workers < 1 {
		errs = append(errs, fmt.Errorf("--workers %d: must be at least 1", o.workers))
	}
	for flag, qps := range map[string]float32{"kube-api-qps": o.homeQPS, "remote-api-qps": o.awayQPS} {
		if qps <= 0 {
			errs = append(errs, fmt.Errorf("--%s %v: must be greater than 0", flag, qps))
		}
	}
	for flag, burst := range map[string]int{"kube-api-burst": o.homeBurst, "remote-api-burst": o.awayBurst} {
		if burst < 1 {
			errs = append(errs, fmt.Errorf("--%s %d: must be at least 1", flag, burst))
		}
	}
	return utilerrors.NewAggregate(errs)
}

func (o *options) identities() []error {
	var errs []error
	for flag, id := range map[string]string{"cluster-id": o.clusterID, "remote-cluster-id": o.remoteClusterID} {
		if err := naming.CheckClusterID(id); err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
	}
	if o.clusterID != "" && o.clusterID == o.remoteClusterID {
		errs = append(errs, errors.New("--cluster-id and --remote-cluster-id are equal: "+
			"a cluster cannot peer with itself"))
	}
	return errs
}

func (o *options) endpoint() []error {
	var errs []error
	if net.ParseIP(o.nodeIP) == nil {
		errs = append(errs, fmt.Errorf("--node-ip %q: must be an IP address at which the API server reaches us", o.nodeIP))
	}
	if o.kubeletPort < 1 || o.kubeletPort > 65535 {
		errs = append(errs, fmt.Errorf("--kubelet-port %d: must be between 1 and 65535", o.kubeletPort))
	}
	if (o.certFile == "") != (o.keyFile == "") {
		errs = append(errs, errors.New("--tls-cert-file and --tls-private-key-file must be given together"))
	}
	return errs
}
