package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/internal/daemon"
	"github.com/twinspace/twinspace/cmd/internal/failpoint"
	"github.com/twinspace/twinspace/cmd/internal/leader"
	"github.com/twinspace/twinspace/peering"
	"github.com/twinspace/twinspace/reflection/remote"
	"github.com/twinspace/twinspace/watching"
)

// leaseName is the lease, in the provider's tenant namespace, that the leader holds.
const leaseName = "virtual-kubelet"

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
	if opts.isShared() {
		return runShared(ctx, opts, config)
	}
	opts = opts.peerings()[0]
	lead, err := opts.Elect(config, v1beta1.TenantNamespace(opts.remoteClusterID), leaseName)
	if err != nil {
		return err
	}
	home := opts.Leading(config, lead)
	mgr, err := newManager(home, opts, lead)
	if err != nil {
		return err
	}
	secret := types.NamespacedName{
		Namespace: v1beta1.TenantNamespace(opts.remoteClusterID), Name: peering.SecretName(opts.remoteClusterID),
	}
	away, scope, err := connect(ctx, mgr.GetAPIReader(), secret, opts, lead)
	if err != nil {
		return err
	}
	// Asked once before anything is shown to anybody, or a restart would look like an outage. What it finds is in Err.
	_ = away.Probe(ctx)
	agent := &agent{
		opts: opts, mgr: mgr, home: home, away: away, secret: secret, scope: scope, counts: metrics.Registry,
	}
	if err := errors.Join(
		agent.setUp(),
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("ping", healthz.Ping),
	); err != nil {
		return fmt.Errorf("set up the agent: %w", err)
	}
	klog.FromContext(ctx).Info("Starting", "clusterID", opts.clusterID, "remoteClusterID", opts.remoteClusterID,
		"watchScope", scope)
	return lead.Run(ctx, mgr.Start)
}

// connect reads what the peering left at home: the credential, and what it lets us watch.
func connect(
	ctx context.Context, home client.Reader, at types.NamespacedName, opts *options, lead *leader.Leader,
) (*remote.Cluster, v1beta1.WatchScope, error) {
	var secret corev1.Secret
	if err := home.Get(ctx, at, &secret); err != nil {
		return nil, "", fmt.Errorf("read the credential for provider %s, which liqoctl peer makes: %w",
			opts.remoteClusterID, err)
	}
	credential, err := remote.Parse(secret.Data[v1beta1.KubeconfigKey])
	if err != nil {
		return nil, "", fmt.Errorf("read the credential in Secret %s, key %s: %w", at, v1beta1.KubeconfigKey, err)
	}
	away, err := remote.New(credential, remote.Options{
		UserAgent: rest.DefaultKubernetesUserAgent(), QPS: opts.awayQPS, Burst: opts.awayBurst,
		Clock: opts.Clock(), Wrap: opts.Transport(failpoint.Remote, lead),
	})
	if opts.watchScope != "" {
		return away, v1beta1.WatchScope(opts.watchScope), err
	}
	return away, peering.ScopeOf(&secret), err
}

func newManager(home *rest.Config, opts *options, lead *leader.Leader) (manager.Manager, error) {
	tenant := v1beta1.TenantNamespace(opts.remoteClusterID)
	inTenant := cache.ByObject{Namespaces: map[string]cache.Config{tenant: {}}}
	nodes, err := virtualNodes(opts.remoteClusterID)
	if err != nil {
		return nil, err
	}
	options := manager.Options{
		Cache: cache.Options{
			ByObject: map[client.Object]cache.ByObject{
				&v1beta1.NamespaceMap{}: inTenant,
				&v1beta1.VirtualNode{}:  inTenant,
				&corev1.Node{}:          nodes,
			},
		},
		Metrics:                metricsserver.Options{BindAddress: opts.MetricsAddress},
		HealthProbeBindAddress: opts.HealthAddress,
	}
	lead.Configure(&options)
	return manage(home, options)
}

// manage returns a manager with what all of ours have in common.
func manage(home *rest.Config, options manager.Options) (manager.Manager, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, err
	}
	options.Scheme = scheme
	options.Cache.DefaultTransform = cache.TransformStripManagedFields()
	options.Cache.NewInformer = watching.Informers("home")
	// The credential is looked at once a minute, which is cheaper than a watch.
	options.Client.Cache = &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}
	// The priority queue of controller-runtime v0.23.3 can deadlock when it is shut down.
	options.Controller.UsePriorityQueue = ptr.To(false)
	mgr, err := ctrl.NewManager(home, options)
	if err != nil {
		return nil, fmt.Errorf("set up the manager: %w", err)
	}
	return mgr, nil
}

// newScheme knows what the agent reads and writes, on both sides.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(
		corev1.AddToScheme(scheme), rbacv1.AddToScheme(scheme), storagev1.AddToScheme(scheme),
		v1beta1.AddToScheme(scheme),
	); err != nil {
		return nil, fmt.Errorf("register kinds: %w", err)
	}
	return scheme, nil
}

// virtualNodes says what is cached of Nodes by who serves the given providers.
func virtualNodes(providers ...string) (cache.ByObject, error) {
	virtual, err := labels.NewRequirement(v1beta1.LabelRemoteClusterID, selection.Exists, nil)
	if err != nil {
		return cache.ByObject{}, fmt.Errorf("select virtual nodes: %w", err)
	}
	return cache.ByObject{
		Label: labels.NewSelector().Add(*virtual), Transform: theirsByLabel(providers...),
	}, nil
}

// theirsByLabel keeps Nodes of the given providers as they are, since managed fields tell which fields of a Node are
// ours, and of Nodes of other providers whose they are.
func theirsByLabel(providers ...string) func(any) (any, error) {
	return func(obj any) (any, error) {
		node, ok := obj.(*corev1.Node)
		if !ok || slices.Contains(providers, node.Labels[v1beta1.LabelRemoteClusterID]) {
			return obj, nil
		}
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: node.Name, UID: node.UID, ResourceVersion: node.ResourceVersion,
			Labels: map[string]string{v1beta1.LabelRemoteClusterID: node.Labels[v1beta1.LabelRemoteClusterID]},
		}}, nil
	}
}
