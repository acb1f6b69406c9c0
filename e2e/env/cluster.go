package env

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Cluster is one of a playground's clusters.
type Cluster struct {
	// Name is also the cluster's id.
	Name string
	// Kubeconfig is the file with the administrator's access.
	Kubeconfig string

	env            *Env
	index          int
	pods, services netip.Prefix
	ports          map[string]int
	config         *rest.Config
	client         client.Client
}

// Uses of ports besides the components' own names, which stand for their serving port.
const (
	portEtcdPeer     = "etcd-peer"
	suffixOfMetrics  = "-metrics"
	suffixOfHealth   = "-health"
	suffixOfKubelet  = "-kubelet"
	suffixKubeconfig = ".kubeconfig"
)

// newCluster describes the n-th cluster, 0 being the consumer, with the ports that it has or, without any, new ones.
func (e *Env) newCluster(n int, ports map[string]int) (*Cluster, error) {
	name := Consumer
	if n > 0 {
		name = ProviderName(n)
	}
	c := &Cluster{Name: name, env: e, index: n, ports: ports}
	c.Kubeconfig = filepath.Join(e.opts.Dir, name+suffixKubeconfig)
	c.pods, c.services = addresses(n)
	e.ports.guard(ports)
	if ports == nil {
		c.ports = map[string]int{}
		for _, use := range c.uses() {
			port, err := e.ports.reserve(e.opts.portsFor(use))
			if err != nil {
				return nil, err
			}
			c.ports[use] = port
		}
	}
	return c, nil
}

// uses returns what the cluster needs ports for.
func (c *Cluster) uses() []string {
	uses := []string{Etcd, portEtcdPeer, APIServer}
	if !c.env.opts.Bare {
		uses = append(uses, ControllerManager, Scheduler, Kwok)
	}
	if c.hasLink() {
		uses = append(uses, LinkProxy)
	}
	if c.index > 0 || !c.env.opts.Peer {
		return uses
	}
	for _, name := range c.env.ours() {
		uses = append(uses, name+suffixOfMetrics, name+suffixOfHealth)
		if strings.HasPrefix(name, Agent) {
			uses = append(uses, name+suffixOfKubelet)
		}
	}
	return uses
}

// portsFor returns how many ports in a row a use needs: an agent has a kubelet's for each provider.
func (o *Options) portsFor(use string) int {
	if use == AgentOf(sharedAgent)+suffixOfKubelet {
		return o.Aliases
	}
	return 1
}

// hasLink says whether a link stands between our components and the cluster.
func (c *Cluster) hasLink() bool { return c.index > 0 || c.env.opts.Gateways }

// path returns a path in the cluster's own folder.
func (c *Cluster) path(elem ...string) string {
	return filepath.Join(append([]string{c.env.opts.Dir, c.Name}, elem...)...)
}

// PodCIDR returns the range of the cluster's pod addresses; no other cluster of the playground has any of them.
func (c *Cluster) PodCIDR() string { return c.pods.String() }

// ServiceCIDR returns the range of the cluster's service addresses.
func (c *Cluster) ServiceCIDR() string { return c.services.String() }

// Server returns the URL of the API server.
func (c *Cluster) Server() string { return "https://" + address(c.ports[APIServer]) }

// ProxiedServer returns the URL at which our components find the API server: that of its [Link], if it has one.
func (c *Cluster) ProxiedServer() string {
	if !c.hasLink() {
		return c.Server()
	}
	return "https://" + address(c.ports[LinkProxy])
}

// Config returns the administrator's configuration, without a limit of its own on requests.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// Client returns the administrator's client, which reads and writes without a cache.
func (c *Cluster) Client() client.Client { return c.client }

// connect makes the clients. It does not speak to the API server.
func (c *Cluster) connect() error {
	cfg, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return fmt.Errorf("read kubeconfig of %s: %w", c.Name, err)
	}
	cfg.QPS = -1
	scheme, err := Scheme()
	if err != nil {
		return err
	}
	c.config = cfg
	if c.client, err = client.New(cfg, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make client of %s: %w", c.Name, err)
	}
	return nil
}

// Scheme returns a scheme with Kubernetes' kinds, ours and CustomResourceDefinitions.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		clientgoscheme.AddToScheme, v1beta1.AddToScheme, apiextensionsv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("register kinds: %w", err)
		}
	}
	return scheme, nil
}
