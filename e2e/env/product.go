package env

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// manager runs the k-th replica of our controller-manager.
func (c *Cluster) manager(k int) component {
	name := Replica(Manager, k)
	metrics, health := c.ports[name+suffixOfMetrics], c.ports[name+suffixOfHealth]
	return component{
		cluster: c, name: name, program: Manager, ports: []int{metrics, health},
		health: "http://" + address(health) + "/readyz",
		args: append([]string{
			"--kubeconfig=" + c.path(Manager+suffixKubeconfig),
			"--cluster-id=" + c.env.opts.homeID(),
			"--leader-elect",
			"--metrics-bind-address=" + address(metrics),
			"--health-probe-bind-address=" + address(health),
		}, c.env.opts.Manager...),
	}
}

// agent runs the k-th replica of the virtual-kubelet that serves a provider, or all aliases.
func (c *Cluster) agent(served string, k int) component {
	name := Replica(AgentOf(served), k)
	providers := c.env.opts.behind(served)
	kubelet := c.ports[name+suffixOfKubelet]
	metrics, health := c.ports[name+suffixOfMetrics], c.ports[name+suffixOfHealth]
	return component{
		cluster: c, name: name, program: Agent, ports: append(row(kubelet, len(providers)), metrics, health),
		health: "http://" + address(health) + "/readyz",
		args: append([]string{
			"--kubeconfig=" + c.path(AgentOf(served)+suffixKubeconfig), // replicas are one identity
			"--cluster-id=" + c.env.opts.homeID(),
			"--remote-cluster-id=" + strings.Join(providers, ","),
			"--node-ip=" + c.env.opts.nodeIP(k),
			fmt.Sprintf("--kubelet-port=%d", kubelet),
			"--leader-elect",
			"--metrics-bind-address=" + address(metrics),
			"--health-probe-bind-address=" + address(health),
		}, append(sharing(served), c.env.opts.Agent...)...),
	}
}

// startManager starts our controller-manager with its own ServiceAccount, before anything is peered.
func (c *Cluster) startManager(ctx context.Context) error {
	if err := c.writeOurKubeconfig(ctx, v1beta1.SystemNamespace, Manager, Manager); err != nil {
		return err
	}
	return c.run(ctx, c.env.Replicas(Manager)...)
}

// peer makes the peering of the consumer with each provider, starts their agents and waits for the virtual nodes.
func (e *Env) peer(ctx context.Context) error {
	if err := e.Consumer().startManager(ctx); err != nil {
		return err
	}
	e.say(Consumer, "%s ready", Manager)
	if e.opts.Aliases > 0 {
		return nil // see PeerAliases
	}
	peerings, ctx := errgroup.WithContext(ctx)
	for _, provider := range e.Providers() {
		peerings.Go(func() error { return e.peerWith(ctx, provider) })
	}
	return peerings.Wait()
}

func (e *Env) peerWith(ctx context.Context, provider *Cluster) error {
	home := e.Consumer()
	if err := e.liqoctlPeer(ctx, provider); err != nil {
		return err
	}
	tenant, name := v1beta1.TenantNamespace(provider.Name), AgentOf(provider.Name)
	if err := home.writeOurKubeconfig(ctx, tenant, v1beta1.AgentServiceAccount, name); err != nil {
		return err
	}
	replicas := e.Replicas(name)
	if err := home.run(ctx, replicas[0]); err != nil { // alone, so that it is the one that leads
		return err
	}
	if mode, err := e.LinkMode(provider.Name); err != nil || mode.Kind == Cut || mode.Kind == Blackhole {
		e.say(Consumer, "the link to %s is %s, so its virtual node is not waited for", provider.Name, mode)
		return errors.Join(err, home.run(ctx, replicas[1:]...))
	}
	for _, step := range []func() error{
		func() error { return home.virtualNodeReady(ctx, provider.Name) },
		func() error { return home.run(ctx, replicas[1:]...) },
		func() error { return home.kubeletCertified(ctx, provider.Name) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	e.say(Consumer, "peered with %s, its virtual node is ready", provider.Name)
	return nil
}

// liqoctlPeer peers as a person does. It may be repeated.
func (e *Env) liqoctlPeer(ctx context.Context, provider *Cluster) error {
	output, err := e.Liqoctl(ctx, append([]string{"peer",
		"--remote-kubeconfig=" + provider.Kubeconfig,
		"--remote-cluster-id=" + provider.Name,
		"--remote-server=" + provider.ProxiedServer(),
		"--node-name=" + provider.Name,
		"--label=liqo.io/provider=" + provider.Name,
		"--label=" + corev1.LabelTopologyRegion + "=region-" + fmt.Sprint(provider.index),
	}, e.opts.Peering...)...)
	if err != nil {
		return fmt.Errorf("peer with %s: %w\n%s", provider.Name, err, output)
	}
	return nil
}

// Liqoctl runs liqoctl against the consumer and returns what it printed.
func (e *Env) Liqoctl(ctx context.Context, args ...string) (string, error) {
	args = append([]string{"--kubeconfig=" + e.Consumer().Kubeconfig}, args...)
	cmd := exec.CommandContext(ctx, e.opts.program("liqoctl"), args...) //nolint:gosec // G204: our own program
	cmd.Env = inherited(os.Environ())
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// virtualNodeReady waits until a provider's virtual node is ready.
func (c *Cluster) virtualNodeReady(ctx context.Context, name string) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollNodes, startTimeout, true, func(ctx context.Context) (bool, error) {
		var node corev1.Node
		if last = c.client.Get(ctx, client.ObjectKey{Name: name}, &node); last != nil {
			return false, nil
		}
		if !isReady(&node) {
			last = errors.New("the node is not ready")
		}
		return last == nil, nil
	})
	if err == nil {
		return nil
	}
	log := c.logPath(c.env.AgentServing(name))
	return fmt.Errorf("wait for virtual node %s: %w (%w); the end of %s:\n%s", name, err, last, log,
		tail(log, 5, anyLine))
}

// kubeletCertified waits until one of a provider's agents, the one that leads, has a kubelet endpoint with a
// certificate that the API server believes: before, logs cannot be read.
func (c *Cluster) kubeletCertified(ctx context.Context, provider string) error {
	roots, err := pki{dir: c.path("pki")}.roots()
	if err != nil {
		return err
	}
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	var last error
	err = wait.PollUntilContextTimeout(ctx, pollNodes, startTimeout, true, func(ctx context.Context) (bool, error) {
		last = nil
		for i, name := range c.env.Replicas(AgentOf(provider)) {
			port := strconv.Itoa(c.ports[name+suffixOfKubelet])
			conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(c.env.opts.nodeIP(i+1), port))
			if err == nil {
				return true, conn.Close()
			}
			last = errors.Join(last, err)
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the serving certificate of %s: %w (%w)", AgentOf(provider), err, last)
	}
	return nil
}
