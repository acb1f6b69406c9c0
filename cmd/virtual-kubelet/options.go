package main

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/cmd/internal/daemon"
	"github.com/twinspace/twinspace/namespacemap/naming"
	"github.com/twinspace/twinspace/peering"
	"github.com/twinspace/twinspace/provider"
	"github.com/twinspace/twinspace/reflection"
	"github.com/twinspace/twinspace/reflection/remote/cidr"
)

// options are what the command line says.
type options struct {
	daemon.Options
	clusterID        string
	remoteClusterIDs []string
	shared           bool
	// remoteClusterID is the one of them that a part of the process serves, see [options.peerings].
	remoteClusterID string

	nodeIP      string
	kubeletPort int
	certFile    string
	keyFile     string

	releaseAfter, unfitFor time.Duration
	streamIdle             time.Duration

	apiServerSupport, homeAPIServer string

	watchScope string

	reflect          []string
	reflectResources []string

	awayCIDRs, homeCIDRs []string

	workers   int
	awayQPS   float32
	awayBurst int
}

func defaults() *options {
	return &options{
		Options: daemon.DefaultOptions(), kubeletPort: 10250, workers: 16, awayQPS: 500, awayBurst: 1000,
		releaseAfter: 5 * time.Minute, unfitFor: 10 * time.Minute, streamIdle: provider.StreamIdle,
		apiServerSupport: v1beta1.APIServerSupportDisabled,
	}
}

func (o *options) addFlags(fs *pflag.FlagSet) {
	o.AddFlags(fs, "the provider's tenant namespace")
	fs.StringVar(&o.clusterID, "cluster-id", o.clusterID, "Id of the home cluster.")
	fs.StringSliceVar(&o.remoteClusterIDs, "remote-cluster-id", o.remoteClusterIDs,
		"Id of the provider; every VirtualNode in its tenant namespace is served. Of several providers, repeated or "+
			"comma-separated, this process is the shared agent.")
	fs.BoolVar(&o.shared, "shared", o.shared,
		"Be the shared agent, also of a single provider: act at home as the ServiceAccount "+
			v1beta1.AgentServiceAccount+" of each tenant namespace, which liqoctl peer --agent shared allows the "+
			"ServiceAccount "+v1beta1.AgentServiceAccount+" of namespace "+v1beta1.SystemNamespace+".")
	fs.StringVar(&o.nodeIP, "node-ip", o.nodeIP,
		"Address at which the home API server reaches this process; it becomes the Nodes' InternalIP.")
	fs.IntVar(&o.kubeletPort, "kubelet-port", o.kubeletPort,
		"Port of the kubelet API (logs of pods). The providers of a shared agent have it and the ports that follow, "+
			"in the order in which they are given.")
	fs.StringVar(&o.certFile, "tls-cert-file", o.certFile,
		"Serving certificate of the kubelet API, read anew when it changes; when empty, each Node's is asked for by a "+
			"CertificateSigningRequest and renewed.")
	fs.StringVar(&o.keyFile, "tls-private-key-file", o.keyFile, "Private key of --tls-cert-file.")
	fs.DurationVar(&o.streamIdle, "streaming-connection-idle-timeout", o.streamIdle,
		"How long an exec, attach or port-forward may be silent before it is ended; a kubelet's flag of that name.")
	fs.DurationVar(&o.releaseAfter, "release-after", o.releaseAfter,
		"How long no node of the provider may have taken a pod before it is evicted, so that its controller makes "+
			"another, which can be placed elsewhere; 0 means for ever. Pods without a controller stay.")
	fs.DurationVar(&o.unfitFor, "unfit-for", o.unfitFor,
		"How long no more pods of a controller are sent to a provider that --release-after gave up one of.")
	fs.StringVar(&o.apiServerSupport, "api-server-support", o.apiServerSupport,
		"Which API server pods get a token for that do not say it in annotation "+v1beta1.AnnotationAPIServerSupport+
			": "+v1beta1.APIServerSupportDisabled+" or "+v1beta1.APIServerSupportHome+".")
	fs.StringVar(&o.homeAPIServer, "home-api-server", o.homeAPIServer,
		"URL at which pods on the provider reach the home API server, such as https://api.example.com:6443.")
	fs.StringVar(&o.watchScope, "watch-scope", o.watchScope,
		"What is watched of home and of the provider: "+string(v1beta1.WatchNamespaces)+
			" (offloaded namespaces and their twins) or "+string(v1beta1.WatchCluster)+
			" (each kind in all namespaces at once, Secrets excepted); when "+
			"empty, what the peering gave the rights for, see liqoctl peer --watch-scope.")
	fs.StringSliceVar(&o.awayCIDRs, "remote-cidr-map", o.awayCIDRs,
		"Which addresses pods of the provider have, and where home reaches them, as CIDR=CIDR pairs of one size, "+
			"such as 10.244.0.0/16=10.71.0.0/16; both sides are equal where nothing is translated. Pods with other "+
			"addresses are shown without. When empty, any address is taken as it is.")
	fs.StringSliceVar(&o.homeCIDRs, "home-cidr-map", o.homeCIDRs,
		"Where pods on the provider reach what home reaches, as such pairs, for endpoints that do not run there; what "+
			"is in none is reached as it is.")
	fs.StringSliceVar(&o.reflectResources, "reflect-resources", o.reflectResources,
		"PLURAL.VERSION.GROUP, repeated or comma-separated: custom resources that are reflected besides those that "+
			"VirtualNodes name in spec.reflectedResources.")
	fs.StringSliceVar(&o.reflect, "reflect", o.reflect,
		"RESOURCE=POLICY, repeated or comma-separated: which objects of a kind are reflected where that is not as "+
			"the kind has it. RESOURCE is a plural name, with the group for custom resources; POLICY is DenyList, "+
			"AllowList, Referenced or None.")
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
	if o.watchScope != "" && peering.CheckScope(v1beta1.WatchScope(o.watchScope)) != nil {
		errs = append(errs, fmt.Errorf("--watch-scope: must be %s or %s, not %q",
			v1beta1.WatchNamespaces, v1beta1.WatchCluster, o.watchScope))
	}
	errs = append(errs, o.patience()...)
	if _, err := reflection.ParsePolicies(o.reflect); err != nil {
		errs = append(errs, fmt.Errorf("--reflect: %w", err))
	}
	if _, err := reflection.ParseCustomResources(o.reflectResources); err != nil {
		errs = append(errs, fmt.Errorf("--reflect-resources: %w", err))
	}
	if _, err := o.access(); err != nil {
		errs = append(errs, err)
	}
	if _, err := o.addresses(); err != nil {
		errs = append(errs, err)
	}
	return utilerrors.NewAggregate(errs)
}

// addresses is how both clusters reach each other.
func (o *options) addresses() (cidr.Peering, error) {
	away, err := cidr.Parse(o.awayCIDRs)
	if err != nil {
		return cidr.Peering{}, fmt.Errorf("--remote-cidr-map: %w", err)
	}
	home, err := cidr.Parse(o.homeCIDRs)
	if err != nil {
		return cidr.Peering{}, fmt.Errorf("--home-cidr-map: %w", err)
	}
	peering, err := cidr.New(away, home)
	if err != nil {
		return cidr.Peering{}, fmt.Errorf("--remote-cidr-map and --home-cidr-map: %w", err)
	}
	return peering, nil
}

func (o *options) patience() []error {
	var errs []error
	if o.releaseAfter < 0 {
		errs = append(errs, fmt.Errorf("--release-after: must not be negative, not %s; 0 turns it off", o.releaseAfter))
	}
	if o.unfitFor < 0 {
		errs = append(errs, fmt.Errorf("--unfit-for: must not be negative, not %s; 0 turns it off", o.unfitFor))
	}
	if o.streamIdle <= 0 {
		errs = append(errs,
			fmt.Errorf("--streaming-connection-idle-timeout: must be more than 0, not %s", o.streamIdle))
	}
	return errs
}

func (o *options) identities() []error {
	var errs []error
	if err := naming.CheckClusterID(o.clusterID); err != nil {
		errs = append(errs, fmt.Errorf("--cluster-id: %w", err))
	}
	if len(o.remoteClusterIDs) == 0 {
		errs = append(errs, errors.New("--remote-cluster-id: must be the id of a provider"))
	}
	for i, id := range o.remoteClusterIDs {
		if err := naming.CheckClusterID(id); err != nil {
			errs = append(errs, fmt.Errorf("--remote-cluster-id: %w", err))
		}
		if id != "" && id == o.clusterID {
			errs = append(errs, errors.New("--cluster-id and --remote-cluster-id are equal: "+
				"a cluster cannot peer with itself"))
		}
		if slices.Contains(o.remoteClusterIDs[:i], id) {
			errs = append(errs, fmt.Errorf("--remote-cluster-id: %s is given twice", id))
		}
	}
	return errs
}

// isShared says whether the process is the shared agent.
func (o *options) isShared() bool { return o.shared || len(o.remoteClusterIDs) > 1 }

// peerings returns the options of what serves each provider.
func (o *options) peerings() []*options {
	var all []*options
	for i, id := range o.remoteClusterIDs {
		one := *o
		one.remoteClusterID, one.kubeletPort = id, o.kubeletPort+i
		all = append(all, &one)
	}
	return all
}

func (o *options) endpoint() []error {
	var errs []error
	if net.ParseIP(o.nodeIP) == nil {
		errs = append(errs, fmt.Errorf("--node-ip: must be an IP address at which the API server reaches us, not %q",
			o.nodeIP))
	}
	if last := 65536 - max(1, len(o.remoteClusterIDs)); o.kubeletPort < 1 || o.kubeletPort > last {
		errs = append(errs, fmt.Errorf("--kubelet-port: must be between 1 and %d, not %d", last, o.kubeletPort))
	}
	if (o.certFile == "") != (o.keyFile == "") {
		errs = append(errs, errors.New("--tls-cert-file and --tls-private-key-file must be given together"))
	}
	return errs
}
