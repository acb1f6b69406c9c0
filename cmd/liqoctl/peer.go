package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap"
	"github.com/twinspace/twinspace/peering"
)

// peerFlags are the flags of peer.
type peerFlags struct {
	remoteFlags
	server, homeID, nodeName string
	scope, agent             string
	labels                   []string
	ttl, timeout             time.Duration
}

// remoteFlags find the provider.
type remoteFlags struct{ kubeconfig, context, clusterID string }

func (f *remoteFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.kubeconfig, "remote-kubeconfig", "", "kubeconfig of an admin of the provider")
	flags.StringVar(&f.context, "remote-context", "", "context of --remote-kubeconfig; default: its current one")
	flags.StringVar(&f.clusterID, "remote-cluster-id", "",
		"id of the provider; default: the one that it has as a home cluster, or else the UID of its kube-system")
}

func (a *app) peer() *cobra.Command {
	var f peerFlags
	cmd := &cobra.Command{
		Use:   "peer --remote-kubeconfig FILE",
		Short: "Borrow capacity from another cluster",
		Long: `Borrow capacity from another cluster, the provider. Its admin's kubeconfig is traded for an identity
that may do little more than make namespaces of its own there, fenced in by admission policies. Nothing
runs on the provider. The kubeconfig is not kept: the agent gets a short-lived token, which it renews. Of the
kubeconfig it gets the server's address and certificate authority; files and plugins that it names are used here
only, and insecure-skip-tls-verify and proxy-url are refused.

Repeating the command brings an existing peering up to date, and gives it a new token.`,
		Args: atMost(0),
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runPeer(cmd.Context(), &f) },
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVar(&f.server, "remote-server", "",
		"URL by which the agent reaches the provider; default: the one in the kubeconfig")
	flags.StringVar(&f.homeID, "cluster-id", "", "id of this cluster; default: the one that it has")
	flags.StringVar(&f.nodeName, "node-name", "", "name of the virtual node; default: the provider's id")
	flags.StringArrayVar(&f.labels, "label", nil,
		"key=value: a label of the virtual node, for selectors; may be repeated")
	flags.StringVar(&f.scope, "watch-scope", "",
		"what the agent may watch on both sides: namespace (only offloaded namespaces and their twins) or cluster "+
			"(all, except Secrets, at a cost that does not grow with their number; for clusters of one owner); "+
			"default: what the peering has, or what this installation says for new ones, or namespace")
	flags.StringVar(&f.agent, "agent", "",
		"who serves the peering: own (a process for it alone) or shared (one process for several peerings, which may "+
			"act here as the agent of each); default: who it is, of a new one own")
	flags.DurationVar(&f.ttl, "token-ttl", peering.DefaultTokenTTL, "for how long a token shall be valid, 10m at least")
	flags.DurationVar(&f.timeout, "timeout", time.Minute, "how long to wait for the clusters")
	return cmd
}

func (f *peerFlags) check() (map[string]string, error) {
	labels := map[string]string{}
	for _, label := range f.labels {
		key, value, found := strings.Cut(label, "=")
		if !found || key == "" {
			return nil, usage("--label %q: write key=value", label)
		}
		labels[key] = value
	}
	switch {
	case f.kubeconfig == "":
		return nil, usage("--remote-kubeconfig is missing: give the kubeconfig of an admin of the provider")
	case f.ttl < 10*time.Minute:
		return nil, usage("--token-ttl must be 10m or more: Kubernetes issues no shorter tokens")
	case f.timeout <= 0:
		return nil, usage("--timeout must be more than 0")
	case f.scope != "" && peering.CheckScope(v1beta1.WatchScope(f.scope)) != nil:
		return nil, usage("--watch-scope must be %s or %s, not %q",
			v1beta1.WatchNamespaces, v1beta1.WatchCluster, f.scope)
	case f.agent != "" && peering.CheckAgent(peering.Agent(f.agent)) != nil:
		return nil, usage("--agent must be %s or %s, not %q", peering.AgentOwn, peering.AgentShared, f.agent)
	}
	return labels, nil
}

func (a *app) runPeer(ctx context.Context, f *peerFlags) error {
	labels, err := f.check()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	home, away, err := a.both(f.remoteFlags)
	if err != nil {
		return err
	}
	p := &peering.Peering{
		Home: home, Away: away, HomeID: f.homeID, AwayID: f.clusterID,
		Endpoint: away.Endpoint, AsPeer: away.As, NodeName: f.nodeName, NodeLabels: labels,
		WatchScope: v1beta1.WatchScope(f.scope), Agent: peering.Agent(f.agent), TokenTTL: f.ttl, Report: a.progress,
	}
	if f.server != "" {
		p.Endpoint.Server = f.server
	}
	if p.HomeID == "" {
		if p.HomeID, err = a.homeID(ctx, home); err != nil {
			return err
		}
	}
	if p.AwayID == "" {
		if p.AwayID, err = awayID(ctx, home, away); err != nil {
			return err
		}
	}
	if p.NodeName == "" {
		p.NodeName = p.AwayID
	}
	if err := p.Peer(ctx); err != nil {
		return err
	}
	// A controller-manager that starts only now must not give itself another id.
	if _, err := namespacemap.EnsureClusterID(ctx, home, p.HomeID); err != nil {
		return err
	}
	a.success("this cluster (%s) borrows from %s through virtual node %s", p.HomeID, p.AwayID, p.NodeName)
	return nil
}

func (a *app) both(f remoteFlags) (home, away *cluster, err error) {
	if home, err = a.home(); err != nil {
		return nil, nil, err
	}
	away, err = a.Connect(f.kubeconfig, f.context, a.warn)
	if err != nil {
		return nil, nil, fmt.Errorf("provider: %w", err)
	}
	if away.Unlendable != nil {
		return nil, nil, fmt.Errorf("provider: %w", away.Unlendable)
	}
	return home, away, nil
}

// homeID returns this cluster's id, for which it waits a moment: the controller-manager gives it when it first starts.
func (a *app) homeID(ctx context.Context, home *cluster) (string, error) {
	var identity peering.Identity
	said := false
	err := poll(ctx, 30*time.Second, func(ctx context.Context) (bool, error) {
		var err error
		if identity, err = peering.Identify(ctx, home); err != nil {
			return false, fmt.Errorf("this cluster: %w", err)
		}
		if identity.ID == "" && !said {
			said = true
			a.progress("waiting for the controller-manager to give this cluster an id")
		}
		return identity.ID != "", nil
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return "", errors.New("this cluster has no id yet: start the controller-manager, or give one with --cluster-id")
	}
	return identity.ID, err
}

// awayID returns the provider's id: the one that this cluster knows it by, its own, or else the UID of its kube-system.
func awayID(ctx context.Context, home client.Reader, away *cluster) (string, error) {
	identity, err := peering.Identify(ctx, away)
	if err != nil {
		return "", fmt.Errorf("provider: %w", err)
	}
	known, err := peering.KnownAs(ctx, home, identity.UID)
	if err != nil || known != "" {
		return known, err
	}
	if identity.ID != "" {
		return identity.ID, nil
	}
	return string(identity.UID), nil
}
