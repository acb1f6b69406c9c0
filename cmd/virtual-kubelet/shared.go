package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/internal/leader"
	"github.com/twinspace/twinspace/reflection"
)

// shared is what one process has for all of its peerings: one lease, one set of metrics, and of home what they all
// look at. It reads that itself; everything that is of one peering it does as that peering's own agent would.
type shared struct {
	opts       *options
	lead       *leader.Leader
	home       *rest.Config // as the shared agent
	accounts   kubernetes.Interface
	cache      cache.Cache
	reflection *reflection.Metrics
	counts     *peeringMetrics

	mu      sync.Mutex
	sources map[v1beta1.WatchScope]*reflection.Sources
}

// runShared serves several peerings until ctx ends.
func runShared(ctx context.Context, opts *options, home *rest.Config) error {
	lead, err := opts.Elect(home, v1beta1.SystemNamespace, leaseName)
	if err != nil {
		return err
	}
	home = opts.Leading(home, lead)
	mgr, err := newSharedManager(home, opts, lead)
	if err != nil {
		return err
	}
	s, err := newShared(home, opts, lead, mgr.GetCache())
	if err != nil {
		return err
	}
	errs := []error{mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping)}
	for _, one := range opts.peerings() {
		errs = append(errs, mgr.Add(&tenant{shared: s, opts: one}))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("set up the shared agent: %w", err)
	}
	klog.FromContext(ctx).Info("Starting", "clusterID", opts.clusterID, "remoteClusterIDs", opts.remoteClusterIDs)
	return lead.Run(ctx, mgr.Start)
}

func newShared(home *rest.Config, opts *options, lead *leader.Leader, c cache.Cache) (*shared, error) {
	accounts, err := kubernetes.NewForConfig(home)
	if err != nil {
		return nil, fmt.Errorf("make a client of home: %w", err)
	}
	reflected, err := reflection.NewMetrics(metrics.Registry)
	if err != nil {
		return nil, err
	}
	counts, err := newPeeringMetrics(metrics.Registry)
	if err != nil {
		return nil, err
	}
	return &shared{
		opts: opts, lead: lead, home: home, accounts: accounts, cache: c, reflection: reflected, counts: counts,
		sources: map[v1beta1.WatchScope]*reflection.Sources{},
	}, nil
}

// newSharedManager returns a manager with a cache of what all peerings look at.
func newSharedManager(home *rest.Config, opts *options, lead *leader.Leader) (manager.Manager, error) {
	nodes, err := virtualNodes(opts.remoteClusterIDs...)
	if err != nil {
		return nil, err
	}
	options := manager.Options{
		Cache:                  cache.Options{ByObject: map[client.Object]cache.ByObject{&corev1.Node{}: nodes}},
		Metrics:                metricsserver.Options{BindAddress: opts.MetricsAddress},
		HealthProbeBindAddress: opts.HealthAddress,
	}
	lead.Configure(&options)
	return manage(home, options)
}

// newTenantManager returns a manager of one peering: what only that one looks at it caches itself, the rest it sees in
// the shared cache.
func newTenantManager(home *rest.Config, opts *options, common cache.Cache) (manager.Manager, error) {
	return manage(home, manager.Options{
		NewCache: func(home *rest.Config, o cache.Options) (cache.Cache, error) {
			own, err := cache.New(home, o)
			return &joined{own: own, common: common}, err
		},
		Cache: cache.Options{
			DefaultNamespaces: map[string]cache.Config{v1beta1.TenantNamespace(opts.remoteClusterID): {}},
		},
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		// The others have controllers of the same names.
		Controller: config.Controller{SkipNameValidation: ptr.To(true)},
		// Nothing of a peering may be at work any more when it is begun anew.
		GracefulShutdownTimeout: ptr.To(forever),
	})
}

// homeSources returns the watches of home that all peerings of a scope share, for one of them.
func (s *shared) homeSources(c client.WithWatch, scope v1beta1.WatchScope) *reflection.Sources {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sources[scope] == nil {
		s.sources[scope] = reflection.NewSources(reflection.SourceOptions{
			Client: c, Cluster: "home", Scope: scope, Clock: s.opts.Clock(),
		})
	}
	return s.sources[scope].As(c)
}

// homeSources are the watches of home that reflection needs.
func (a *agent) homeSources(c client.WithWatch) *reflection.Sources {
	if a.shared != nil {
		return a.shared.homeSources(c, a.scope)
	}
	return a.sources(c, "home")
}

// reflectionCounts are the metrics of reflection, which tell providers apart themselves.
func (a *agent) reflectionCounts() (*reflection.Metrics, error) {
	if a.shared != nil {
		return a.shared.reflection, nil
	}
	return reflection.NewMetrics(a.counts)
}
