package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/twinspace/twinspace/cmd/internal/daemon"
	"github.com/twinspace/twinspace/namespacemap/naming"
)

// options are what the command line says.
type options struct {
	daemon.Options
	clusterID       string
	remoteClusterID string

	nodeIP      string
	kubeletPort int
	certFile    string
	keyFile     string

	workers   int
	awayQPS   float32
	awayBurst int
}

func defaults() *options {
	return &options{Options: daemon.DefaultOptions(), kubeletPort: 10250, workers: 16, awayQPS: 200, awayBurst: 400}
}

func (o *options) addFlags(fs *pflag.FlagSet) {
	o.AddFlags(fs, "the provider's tenant namespace")
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
	fs.Float32Var(&o.awayQPS, "remote-api-qps", o.awayQPS, "Requests per second to the provider's API server.")
	fs.IntVar(&o.awayBurst, "remote-api-burst", o.awayBurst, "Burst of requests to the provider's API server.")
}

// validate returns every mistake at once.
func (o *options) validate() error {
	errs := append(o.Validate(), daemon.CheckRate("remote-api", o.awayQPS, o.awayBurst)...)
	errs = append(append(errs, o.identities()...), o.endpoint()...)
	if o.workers < 1 {
		errs = append(errs, fmt.Errorf("--workers: must be at least 1, not %d", o.workers))
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
		errs = append(errs, fmt.Errorf("--node-ip: must be an IP address at which the API server reaches us, not %q",
			o.nodeIP))
	}
	if o.kubeletPort < 1 || o.kubeletPort > 65535 {
		errs = append(errs, fmt.Errorf("--kubelet-port: must be between 1 and 65535, not %d", o.kubeletPort))
	}
	if (o.certFile == "") != (o.keyFile == "") {
		errs = append(errs, errors.New("--tls-cert-file and --tls-private-key-file must be given together"))
	}
	return errs
}
