// Package env runs real Kubernetes clusters on loopback for people and for tests: it starts exactly what it was asked
// for, keeps everything it makes under one directory, and ends exactly the processes that it started.
//
// A playground is one home cluster, "consumer", and providers "provider-1", "provider-2" and so on. Each has an etcd,
// an API server, a controller manager and a scheduler of its own; its nodes are played by kwok. Between our components
// and each provider stands a [Link] that can be cut, delayed and healed.
//
// Tests use [Start] for a whole playground and [Planes] for bare API servers.
package env

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// Consumer is the name, and the cluster id, of the home cluster.
const Consumer = "consumer"

// Names of the components that a cluster may have.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kwok              = "kwok"
	LinkProxy         = "link"
	// Manager is our controller-manager, on the consumer.
	Manager = "controller-manager"
	// Agent comes before "-<provider>" in the name of the virtual-kubelet that serves a provider.
	Agent = "virtual-kubelet"
)

// AgentOf returns the name of the component, on the consumer, that serves a provider's virtual nodes.
func AgentOf(provider string) string { return Agent + "-" + provider }

// ProviderName returns the name of the n-th provider, from 1.
func ProviderName(n int) string { return fmt.Sprintf("provider-%d", n) }

// Options say what to start and where.
type Options struct {
	// Dir is where everything of the playground lives.
	Dir string
	// Bin is the folder with the programs: playground, kwok and ours.
	Bin string
	// Ours is the folder with our own programs, for builds that look closer; empty is Bin.
	Ours string
	// Providers is how many clusters there are besides the consumer.
	Providers int
	// Nodes is how many nodes each cluster has.
	Nodes int
	// Peer starts our components and peers the consumer with every provider.
	Peer bool
	// Bare leaves out everything but etcd, the API server and, with Gateways, links.
	Bare bool
	// Gateways makes every link read what passes, which [Throttle] and [CommitCut] need, and puts a link in front of
	// home too: our components reach home, as they reach providers, through one.
	Gateways bool
	// Replicas is how many processes our controller-manager and each agent have, see [Replica]; 0 is 1.
	Replicas int
	// NodeIP is where agents serve the kubelet API of virtual nodes; empty is loopback, which is all that kubectl
	// needs, and there each replica has an address of its own. API servers relay requests for nodes (nodes/proxy) to
	// other addresses only.
	NodeIP string
	// Exec lets commands run in fake pods: they run on this machine, as whoever started the playground, for everybody
	// who reaches the fake kubelets' port on loopback, since these ask nobody.
	Exec bool
	// Peering has flags that liqoctl peer gets besides, for every provider.
	Peering []string
	// Manager has flags that our controller-manager gets besides.
	Manager []string
	// Agent has flags that the agents of virtual nodes get besides.
	Agent []string
	// APIServer has flags that API servers get besides, --default-not-ready-toleration-seconds=10 for example.
	APIServer []string
	// ControllerManager has flags that Kubernetes' controller managers get besides, --node-monitor-grace-period=10s for
	// example.
	ControllerManager []string
	// Aliases is how many providers home has in place of Providers, which stand behind them in turns, see [Alias] and
	// [Env.PeerAliases]; 0 is none, so that home has Providers themselves.
	Aliases int
	// SharedAgent has one agent serve all aliases.
	SharedAgent bool
	// PlainProviders have kube-scheduler with its defaults, as a provider that nothing is installed on does.
	PlainProviders bool
	// Tied makes the processes end with the process that starts them, however that ends.
	Tied bool
	// Out gets a line for each step; nil is silence.
	Out io.Writer
	// Clock measures the steps; nil is the real one.
	Clock clock.Clock
}

// Limits follow from the address plan, see [addresses].
const (
	maxProviders = 50
	maxNodes     = 60
	maxReplicas  = 9
)

func (o *Options) complete() error {
	if err := o.possible(); err != nil {
		return err
	}
	var err error
	if o.Dir, err = canonicalDir(o.Dir); err != nil {
		return err
	}
	if o.Bin, err = filepath.Abs(o.Bin); err != nil {
		return fmt.Errorf("find programs: %w", err)
	}
	if o.Ours != "" {
		if o.Ours, err = filepath.Abs(o.Ours); err != nil {
			return fmt.Errorf("find programs: %w", err)
		}
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return o.checkPrograms()
}

// possible says what of the options cannot be.
func (o *Options) possible() error {
	if o.Providers < 0 || o.Providers > maxProviders {
		return &UsageError{fmt.Sprintf("providers must be between 0 and %d, not %d", maxProviders, o.Providers)}
	}
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return &UsageError{fmt.Sprintf("nodes must be between 0 and %d, not %d", maxNodes, o.Nodes)}
	}
	if o.Replicas < 0 || o.Replicas > maxReplicas {
		return &UsageError{fmt.Sprintf("replicas must be between 0 and %d, not %d", maxReplicas, o.Replicas)}
	}
	if o.Peer && o.Bare {
		return &UsageError{"bare API servers cannot be peered"}
	}
	return o.aliasesPossible()
}

// UsageError is the fault of whoever wrote the options.
type UsageError struct{ Reason string }

func (e *UsageError) Error() string { return e.Reason }

// ErrNotRunning says that there is no playground under the directory.
var ErrNotRunning = errors.New("no playground runs here")

// Env is a playground.
type Env struct {
	opts     Options
	started  time.Time
	clusters []*Cluster
	ports    *reservations
	launch   launcher
	release  func() // of the launcher

	mu    sync.Mutex // guards state and its file
	state state
	out   sync.Mutex // keeps lines of progress apart

	starting sync.Mutex            // one start at a time
	down     map[componentKey]bool // what is meant to be down, guarded by starting

	disguises []*gateway // of aliases, guarded by starting

	ending sync.Mutex
	ends   map[Process]string // how processes of ours ended, guarded by ending
}

func newEnv(opts Options) *Env {
	e := &Env{
		opts: opts, started: opts.Clock.Now(), ports: &reservations{},
		down: map[componentKey]bool{}, ends: map[Process]string{},
	}
	e.launch, e.release = detached, func() {}
	if opts.Tied {
		e.launch, e.release = tied()
	}
	return e
}

// Dir returns the directory that holds everything of the playground.
func (e *Env) Dir() string { return e.opts.Dir }

// Bin returns the directory of the programs.
func (e *Env) Bin() string { return e.opts.Bin }

// Clusters returns all clusters, the consumer first.
func (e *Env) Clusters() []*Cluster { return slices.Clone(e.clusters) }

// Cluster returns the cluster of that name, or nil.
func (e *Env) Cluster(name string) *Cluster {
	i := slices.IndexFunc(e.clusters, func(c *Cluster) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return e.clusters[i]
}

// Consumer returns the home cluster.
func (e *Env) Consumer() *Cluster { return e.clusters[0] }

// Providers returns the clusters besides the consumer.
func (e *Env) Providers() []*Cluster { return slices.Clone(e.clusters[1:]) }

func (e *Env) find(cluster string) (*Cluster, error) {
	if c := e.Cluster(cluster); c != nil {
		return c, nil
	}
	names := make([]string, 0, len(e.clusters))
	for _, c := range e.clusters {
		names = append(names, c.Name)
	}
	return nil, &UsageError{fmt.Sprintf("there is no cluster %q; there are %v", cluster, names)}
}

// say prints a line of progress: when, where, what.
func (e *Env) say(where, format string, args ...any) {
	e.out.Lock()
	defer e.out.Unlock()
	elapsed := e.opts.Clock.Since(e.started).Seconds()
	_, _ = fmt.Fprintf(e.opts.Out, "%6.1fs  %-11s %s\n", elapsed, where, fmt.Sprintf(format, args...))
}
