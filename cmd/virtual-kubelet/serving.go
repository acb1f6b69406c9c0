package main

import (
	"fmt"
	"math/rand/v2"

	"k8s.io/client-go/kubernetes"
	metricsclient "k8s.io/metrics/pkg/client/clientset/versioned"

	"github.com/twinspace/twinspace/provider"
	"github.com/twinspace/twinspace/provider/serving"
)

// certified gives the kubelet endpoint its certificate, unless files have one, and what it tells of usage.
func (a *agent) certified(server *provider.Server, home kubernetes.Interface) error {
	figures, err := metricsclient.NewForConfigAndClient(a.away.Config(), a.away.HTTPClient())
	if err != nil {
		return fmt.Errorf("make a client of the provider: %w", err)
	}
	server.Stats = provider.NewStats(server.Pods, figures)
	if server.CertFile != "" {
		return nil
	}
	counts, err := serving.NewMetrics(a.counts)
	if err != nil {
		return err
	}
	certificates := &serving.Certificates{
		Client: a.mgr.GetClient(), Home: home, Provider: a.opts.remoteClusterID, Metrics: counts,
		Recorder: a.mgr.GetEventRecorder(recorderName), Clock: a.opts.Clock(), Jitter: rand.Float64,
	}
	server.Issued = certificates.Issued
	return certificates.SetupWithManager(a.mgr)
}
