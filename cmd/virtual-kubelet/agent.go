package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/component-base/version"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap"
	"github.com/twinspace/twinspace/peering"
	"github.com/twinspace/twinspace/provider"
	"github.com/twinspace/twinspace/reflection"
	"github.com/twinspace/twinspace/reflection/remote"
	"github.com/twinspace/twinspace/reflection/storage"
)

const (
	// recorderName is who our events are from.
	recorderName = "virtual-kubelet"
	// kubelet is the version of the kubelet API that our Nodes show; the agent's own version follows it.
	kubelet = "v1.35.4+twinspace-"
)

// agent joins the features of one peering in one manager.
type agent struct {
	opts    *options
	mgr     manager.Manager
	home    *rest.Config
	away    *remote.Cluster
	secret  types.NamespacedName
	mirrors *reflection.Mirror // once set up
	events  *reflection.Events // as well
	scope   v1beta1.WatchScope
	counts  prometheus.Registerer
	shared  *shared // what the process has for all of its peerings; nil when there is one
}

// setUp registers everything with the manager; nothing works before that starts.
func (a *agent) setUp() error {
	pods, err := a.pods()
	if err != nil {
		return err
	}
	recorder, err := a.countingRecorder()
	if err != nil {
		return err
	}
	view := &homeView{
		home: a.mgr.GetClient(), homeID: a.opts.clusterID, clusterID: a.opts.remoteClusterID, pods: pods,
	}
	volumes, err := a.volumes(view, recorder)
	if err != nil {
		return err
	}
	mirror, err := a.mirror(view, recorder, volumes)
	if err != nil {
		return err
	}
	a.mirrors = mirror
	tokens := provider.NewTokens(pods, a.opts.Clock())
	a.away.OnRecovery(pods.Retry)
	a.away.OnRecovery(tokens.Retry)
	return errors.Join(
		a.away.Register(a.counts),
		a.mgr.Add(onEveryReplica(a.away.Run)),
		a.renewal(),
		a.sameScope(),
		a.nodes(pods),
		// A pod asks the mirror whether what it needs is there, so that has to know of a twin first.
		a.twins(volumes, mirror, tokens, pods, a.events),
		a.mgr.Add(pods),
		a.mgr.Add(tokens),
		a.mgr.Add(mirror),
	)
}

// onEveryReplica runs without being the leader.
type onEveryReplica func(context.Context) error

// Start runs the function.
func (f onEveryReplica) Start(ctx context.Context) error { return f(ctx) }

// NeedLeaderElection says that it does not.
func (onEveryReplica) NeedLeaderElection() bool { return false }

// protobuf returns a configuration whose clients speak the cheaper encoding, which custom resources do not have.
func protobuf(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	config.ContentType = "application/vnd.kubernetes.protobuf"
	return config
}

func (a *agent) homeClientset() (kubernetes.Interface, error) {
	c, err := kubernetes.NewForConfig(protobuf(a.home))
	if err != nil {
		return nil, fmt.Errorf("make a client of home: %w", err)
	}
	return c, nil
}

func (a *agent) awayClientset() (kubernetes.Interface, error) {
	c, err := kubernetes.NewForConfigAndClient(protobuf(a.away.Config()), a.away.HTTPClient())
	if err != nil {
		return nil, fmt.Errorf("make a client of the provider: %w", err)
	}
	return c, nil
}

// throttledClientset is for calls that do not wait when the provider asks to be left alone.
func (a *agent) throttledClientset(throttle *provider.Throttle) (kubernetes.Interface, error) {
	client := *a.away.HTTPClient()
	client.Transport = throttle.Wrap(client.Transport)
	c, err := kubernetes.NewForConfigAndClient(protobuf(a.away.Config()), &client)
	if err != nil {
		return nil, fmt.Errorf("make a client of the provider: %w", err)
	}
	return c, nil
}

func (a *agent) pods() (*provider.Pods, error) {
	throttle := provider.NewThrottle(a.opts.Clock())
	home, homeErr := a.homeClientset()
	away, awayErr := a.throttledClientset(throttle)
	if err := errors.Join(homeErr, awayErr); err != nil {
		return nil, err
	}
	access, accessErr := a.opts.access()
	addresses, addressesErr := a.opts.addresses()
	if err := errors.Join(accessErr, addressesErr); err != nil {
		return nil, err
	}
	policy := &admission{home: a.mgr.GetClient(), live: a.mgr.GetAPIReader(), clusterID: a.opts.remoteClusterID}
	pods := provider.NewPods(provider.PodsOptions{
		Home: home, Away: away, Throttle: throttle,
		Origin: a.opts.clusterID, Destination: a.opts.remoteClusterID,
		NodeIPs: []string{a.opts.nodeIP},
		Mapped:  provider.Mapped(a.mgr.GetClient(), a.opts.remoteClusterID),
		Admit:   policy.admit, Fits: policy.fits, Health: a.away,
		Baggage:      func(pod *corev1.Pod) string { return a.mirrors.Awaited(pod) },
		ReleaseAfter: a.opts.releaseAfter, UnfitFor: a.opts.unfitFor,
		Wide:     a.scope == v1beta1.WatchCluster,
		Address:  addresses.Home,
		Recorder: a.mgr.GetEventRecorder(recorderName),
		Metrics:  provider.NewMetrics(a.counts),
		Clock:    a.opts.Clock(), Workers: a.opts.workers, Access: access,
	})
	return pods, onChange(a.mgr, &v1beta1.NamespaceOffloading{}, func(off *v1beta1.NamespaceOffloading) {
		pods.Wake(off.Namespace)
	})
}

// nodes registers the Nodes and the kubelet endpoint that they point at.
func (a *agent) nodes(pods *provider.Pods) error {
	home, homeErr := a.homeClientset()
	away, awayErr := a.awayClientset()
	if err := errors.Join(homeErr, awayErr); err != nil {
		return err
	}
	auth, authErr := provider.DelegatedAuth(protobuf(a.home))
	streams, streamsErr := provider.NewStreams(pods, a.away.Config(), a.opts.streamIdle)
	if err := errors.Join(authErr, streamsErr); err != nil {
		return err
	}
	port := int32(a.opts.kubeletPort) //nolint:gosec // G115: validated to be a port
	nodes := &provider.Nodes{
		Client: a.mgr.GetClient(), Home: home, Provider: a.opts.remoteClusterID,
		Offers: provider.NewOffers(away, a.opts.remoteClusterID), Pods: pods, Health: a.away,
		IPs: []string{a.opts.nodeIP}, Port: port, Version: kubelet + version.Get().GitVersion,
		Recorder: a.mgr.GetEventRecorder(recorderName), Clock: a.opts.Clock(),
	}
	server := &provider.Server{
		Pods: pods, Auth: auth, Streams: streams, IP: a.opts.nodeIP, Port: port,
		CertFile: a.opts.certFile, KeyFile: a.opts.keyFile,
	}
	return errors.Join(a.certified(server, home), nodes.SetupWithManager(a.mgr), a.mgr.Add(server))
}

// twins registers what makes the namespaces at the provider; pods and reflection listen to it.
func (a *agent) twins(listeners ...namespacemap.Listener) error {
	away, err := a.awayClient()
	if err != nil {
		return err
	}
	watch, err := metadata.NewForConfigAndClient(a.away.Config(), a.away.HTTPClient())
	if err != nil {
		return fmt.Errorf("make a client of the provider: %w", err)
	}
	counts, err := namespacemap.NewMetrics(a.counts)
	if err != nil {
		return err
	}
	twins := &namespacemap.Twins{
		Home: a.mgr.GetClient(), Live: a.mgr.GetAPIReader(), Away: away,
		Origin: a.opts.clusterID, ClusterID: a.opts.remoteClusterID, Listeners: listeners, Metrics: counts,
		OnRecovery: a.away.OnRecovery, OnRefusal: a.away.OnRefusal,
	}
	return twins.SetupWithManager(a.mgr, watch)
}

// awayClient is uncached.
func (a *agent) awayClient() (client.Client, error) {
	c, err := client.New(a.away.Config(), client.Options{HTTPClient: a.away.HTTPClient(), Scheme: a.mgr.GetScheme()})
	if err != nil {
		return nil, fmt.Errorf("make a client of the provider: %w", err)
	}
	return c, nil
}

func (a *agent) renewal() error {
	away, err := a.awayClient()
	if err != nil {
		return err
	}
	doubts := make(chan struct{}, 1)
	a.away.Notify(func() {
		select {
		case doubts <- struct{}{}:
		default:
		}
	})
	renewer := &peering.Renewer{
		Home: a.mgr.GetClient(), Away: away, Secret: a.secret, HomeID: a.opts.clusterID, Tokens: a.away,
		Clock: a.opts.Clock(), Jitter: rand.Float64,
		Metrics: peering.NewMetrics(a.counts, a.opts.remoteClusterID),
		Doubts:  doubts, InDoubt: func() bool { return a.away.Err() != nil },
	}
	return errors.Join(
		a.mgr.Add(renewer),
		a.mgr.Add(onEveryReplica(func(ctx context.Context) error { return renewer.Follow(ctx, a.mgr.Elected()) })),
	)
}

func (a *agent) mirror(
	view *homeView, recorder record.EventRecorder, volumes *storage.Volumes,
) (*reflection.Mirror, error) {
	home, homeErr := reflection.NewClient(a.home, nil)
	away, awayErr := reflection.NewClient(a.away.Config(), a.away.HTTPClient())
	counts, countsErr := a.reflectionCounts()
	if err := errors.Join(homeErr, awayErr, countsErr); err != nil {
		return nil, err
	}
	addresses, addressesErr := a.opts.addresses()
	policies, policiesErr := reflection.ParsePolicies(a.opts.reflect)
	if err := errors.Join(addressesErr, policiesErr); err != nil {
		return nil, err
	}
	reports := a.reports()
	mirror, err := reflection.New(reflection.Options{
		Origin: a.opts.clusterID, Destination: a.opts.remoteClusterID,
		Home: a.homeSources(home), Away: a.sources(away, a.opts.remoteClusterID), Policies: policies,
		Kinds: reflection.Kinds(reflection.Facts{
			OurNode: view.ourNode, ClusterOf: view.clusterOf, Pods: view,
			Reach: addresses.Away, LoadBalancerClasses: view.loadBalancerClasses,
			IngressClasses: view.ingressClasses, Volumes: volumes,
		}),
		Events: recorder, ProblemsChanged: reports.Changed,
		Metrics: counts, Workers: a.opts.workers, Clock: a.opts.Clock(),
	})
	if err != nil {
		return nil, err
	}
	reports.Reflection = reflecting{mirror}
	a.away.Notify(mirror.Refresh)
	a.away.OnRecovery(mirror.Retry)
	// Which endpoints and Secrets go to the provider follows from which Nodes are its own, and where endpoints run from
	// whose the others are.
	return mirror, errors.Join(
		reports.SetupWithManager(a.mgr),
		a.tellOf(home, away, counts, mirror, view.pods),
		a.customResources(view, published(mirror, reports), recorder),
		onChange(a.mgr, &v1beta1.VirtualNode{}, refreshOnNewNodes(view, mirror.Refresh)),
		onChange(a.mgr, &corev1.Node{}, refreshOnNewProviders(view, mirror)),
	)
}

// countingRecorder writes events that count repetitions instead of adding objects, which the newer kind does not.
func (a *agent) countingRecorder() (record.EventRecorder, error) {
	home, err := a.homeClientset()
	if err != nil {
		return nil, err
	}
	broadcaster := record.NewBroadcaster()
	sink := &typedcorev1.EventSinkImpl{Interface: home.CoreV1().Events(metav1.NamespaceAll)}
	return broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: recorderName}),
		a.mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
			broadcaster.StartRecordingToSink(sink)
			<-ctx.Done()
			broadcaster.Shutdown()
			return nil
		}))
}

// refreshOnNewNodes returns a handler that reacts to another set of Nodes, or of classes that they offer, not to every
// change of status.
func refreshOnNewNodes(view *homeView, refresh func()) func(*v1beta1.VirtualNode) {
	var before string
	return func(*v1beta1.VirtualNode) {
		nodes, known := view.nodes()
		slices.Sort(nodes)
		now := fmt.Sprint(nodes, view.ingressClasses(), view.loadBalancerClasses())
		if known && before != now {
			before = now
			refresh()
		}
	}
}

// refreshOnNewProviders returns a handler that reacts to virtual Nodes that come, go or change hands.
func refreshOnNewProviders(view *homeView, mirror *reflection.Mirror) func(*corev1.Node) {
	before := map[string]string{}
	return func(node *corev1.Node) {
		now := view.clusterOf(node.Name)
		if before[node.Name] != now {
			before[node.Name] = now
			mirror.Refresh()
		}
	}
}
