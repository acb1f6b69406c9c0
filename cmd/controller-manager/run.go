package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/internal/daemon"
	"github.com/twinspace/twinspace/cmd/internal/leader"
	"github.com/twinspace/twinspace/eviction"
	"github.com/twinspace/twinspace/namespacemap"
	"github.com/twinspace/twinspace/provider/serving"
	"github.com/twinspace/twinspace/watching"
)

const (
	// leaseName is the lease, in namespace liqo, that the leader holds.
	leaseName = "controller-manager"
	// lookForKinds is how often it is asked whether the custom resources are installed.
	lookForKinds = 5 * time.Second
	// evictionsPerSecond, after a burst of evictionsAtOnce, is how many pods are evicted in all namespaces together.
	evictionsPerSecond, evictionsAtOnce = 5, 10
)

// run works until ctx ends.
func run(ctx context.Context, opts *options) error {
	ctrl.SetLogger(klog.NewKlogr())
	config, err := opts.Config()
	if err != nil {
		return err
	}
	if err := daemon.AwaitHome(ctx, config, opts.HealthAddress, opts.Clock()); err != nil {
		return err
	}
	lead, err := opts.Elect(config, v1beta1.SystemNamespace, leaseName)
	if err != nil {
		return err
	}
	mgr, err := newManager(opts.Leading(config, lead), opts, lead)
	if err != nil {
		return err
	}
	uncached, err := client.New(config, client.Options{Scheme: mgr.GetScheme()})
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	id, err := namespacemap.EnsureClusterID(ctx, uncached, opts.clusterID)
	if err != nil {
		return err
	}
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client for discovery: %w", err)
	}
	starter := &starter{mgr: mgr, kinds: kinds, clusterID: id, clock: opts.Clock(), started: make(chan struct{})}
	if err := errors.Join(
		mgr.Add(starter),
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("custom-resources", starter.ready),
	); err != nil {
		return fmt.Errorf("set up the manager: %w", err)
	}
	klog.FromContext(ctx).Info("Starting", "clusterID", id)
	return lead.Run(ctx, mgr.Start)
}

func newManager(config *rest.Config, opts *options, lead *leader.Leader) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), rbacv1.AddToScheme(scheme), policyv1.AddToScheme(scheme),
		certificatesv1.AddToScheme(scheme), networkingv1.AddToScheme(scheme), discoveryv1.AddToScheme(scheme),
		v1beta1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	byObject, err := namespacemap.CacheOptions()
	if err != nil {
		return nil, fmt.Errorf("select what to cache: %w", err)
	}
	maps.Copy(byObject, serving.CacheOptions())
	options := manager.Options{
		Scheme: scheme,
		Cache: cache.Options{
			ByObject: byObject, DefaultTransform: cache.TransformStripManagedFields(),
			NewInformer: watching.Informers("home"),
		},
		Metrics:                metricsserver.Options{BindAddress: opts.MetricsAddress},
		HealthProbeBindAddress: opts.HealthAddress,
	}
	lead.Configure(&options)
	mgr, err := ctrl.NewManager(config, options)
	if err != nil {
		return nil, fmt.Errorf("set up the manager: %w", err)
	}
	return mgr, nil
}

// starter starts the reconcilers once their kinds exist: a controller-manager may be there before its custom resources.
type starter struct {
	mgr       manager.Manager
	kinds     discovery.ServerResourcesInterface
	clusterID string
	clock     clock.Clock
	started   chan struct{}
}

// NeedLeaderElection lets a replica that stands by say, too, whether it could take over.
func (*starter) NeedLeaderElection() bool { return false }

// Start waits for the kinds and adds the reconcilers to the running manager, which starts them on its leader.
func (s *starter) Start(ctx context.Context) error {
	logger := klog.FromContext(ctx)
	var told bool
	err := wait.PollUntilContextCancel(ctx, lookForKinds, true, func(context.Context) (bool, error) {
		missing := s.missing()
		if missing != nil && !told {
			told = true
			logger.Info("Waiting for the custom resources of offloading.liqo.io: apply manifests/crd", "why",
				missing.Error())
		}
		return missing == nil, nil
	})
	if err != nil {
		return nil // the only error is the end of ctx
	}
	home, live := s.mgr.GetClient(), s.mgr.GetAPIReader()
	evicted, err := eviction.NewMetrics(metrics.Registry)
	if err != nil {
		return err
	}
	evictor, err := eviction.NewEvictor(s.mgr.GetConfig(), s.mgr.GetHTTPClient())
	if err != nil {
		return err
	}
	evictions := &eviction.Reconciler{
		Home: home, Live: live, Clock: s.clock, Events: s.mgr.GetEventRecorder("controller-manager"),
		Pace: eviction.DefaultPace(), Metrics: evicted, Evictor: evictor,
		Limit: flowcontrol.NewTokenBucketPassiveRateLimiter(evictionsPerSecond, evictionsAtOnce),
	}
	offloadings := &namespacemap.Offloadings{
		Home: home, Live: live, ClusterID: s.clusterID, Clock: s.clock,
		Events: s.mgr.GetEventRecorder("controller-manager"), Tenants: evictions,
	}
	maps := &namespacemap.Maps{Home: home, Live: live, Clock: s.clock, Drains: evictions}
	rights := &namespacemap.NodeRights{Home: home, Live: live}
	approver, err := newApprover(home, live, s.clock)
	if err != nil {
		return err
	}
	quick := &namespacemap.Quick{Home: home, Events: s.mgr.GetEventRecorder("controller-manager")}
	for _, r := range []interface {
		SetupWithManager(mgr manager.Manager) error
	}{offloadings, maps, rights, approver, quick, evictions} {
		if err := r.SetupWithManager(s.mgr); err != nil {
			return fmt.Errorf("set up the reconcilers: %w", err)
		}
	}
	close(s.started)
	return nil
}

func newApprover(home client.Client, live client.Reader, now clock.Clock) (*serving.Approver, error) {
	counts, err := serving.NewApproverMetrics(metrics.Registry)
	if err != nil {
		return nil, err
	}
	return &serving.Approver{Home: home, Live: live, Clock: now, Metrics: counts}, nil
}

// missing says why the reconcilers cannot start yet.
func (s *starter) missing() error {
	there, err := s.kinds.ServerResourcesForGroupVersion(v1beta1.GroupVersion.String())
	if err != nil {
		return err
	}
	found := map[string]bool{}
	for _, resource := range there.APIResources {
		found[resource.Kind] = true
	}
	for _, kind := range []string{"NamespaceOffloading", "NamespaceMap", "VirtualNode"} {
		if !found[kind] {
			return fmt.Errorf("kind %s of %s does not exist", kind, v1beta1.GroupVersion)
		}
	}
	return nil
}

func (s *starter) ready(*http.Request) error {
	select {
	case <-s.started:
		return nil
	default:
		return errors.New("the custom resources of offloading.liqo.io are not installed: apply manifests/crd")
	}
}
