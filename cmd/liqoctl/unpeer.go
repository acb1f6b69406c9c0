package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/twinspace/twinspace/peering"
)

// unpeerFlags are the flags of unpeer.
type unpeerFlags struct {
	remoteFlags
	force   bool
	timeout time.Duration
}

func (a *app) unpeer() *cobra.Command {
	var f unpeerFlags
	cmd := &cobra.Command{
		Use:   "unpeer [PROVIDER] --remote-kubeconfig FILE",
		Short: "Stop borrowing from another cluster",
		Long: `Stop borrowing from a provider: its virtual nodes are drained and removed, then the twins there, then
every right on both sides. PROVIDER is its cluster id; without it, the cluster behind --remote-kubeconfig is meant.

As long as twins are left nothing is revoked, unless --force leaves them behind. --force also ends this side when
the provider is out of reach; its admin then deletes the namespace liqo-tenant-<id of this cluster> there, which
revokes the identity at once.`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				f.clusterID = args[0]
			}
			return a.runUnpeer(cmd.Context(), &f)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.force, "force", false, "leave behind what does not go")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to wait for virtual nodes and twins to go")
	return cmd
}

func (f *unpeerFlags) check() error {
	switch {
	case f.timeout <= 0:
		return usage("--timeout must be more than 0")
	case f.kubeconfig == "" && f.clusterID == "":
		return usage("say which provider: by its id, or with --remote-kubeconfig; liqoctl info lists them")
	case f.kubeconfig == "" && !f.force:
		return usage("--remote-kubeconfig is missing: without it the provider's side stays (--force accepts that)")
	}
	return nil
}

func (a *app) runUnpeer(ctx context.Context, f *unpeerFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	home, err := a.home()
	if err != nil {
		return err
	}
	identity, err := peering.Identify(ctx, home)
	if err != nil {
		return fmt.Errorf("this cluster: %w", err)
	}
	if identity.ID == "" {
		return errors.New("this cluster has no id, so it has no peerings")
	}
	p := &peering.Peering{Home: home, HomeID: identity.ID, AwayID: f.clusterID, Report: a.progress}
	if err := a.reach(ctx, f, p); err != nil {
		return err
	}
	question := "This removes the virtual nodes of %s, and every pod that runs there for this cluster."
	if err := a.confirm(fmt.Sprintf(question, p.AwayID)); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	if err := p.Unpeer(ctx, f.force); err != nil {
		return err
	}
	a.success("this cluster (%s) does not borrow from %s any more", p.HomeID, p.AwayID)
	return nil
}

// reach fills in the provider. With --force one that does not answer is done without.
func (a *app) reach(ctx context.Context, f *unpeerFlags, p *peering.Peering) error {
	if f.kubeconfig == "" {
		return nil
	}
	away, err := a.Connect(f.kubeconfig, f.context, a.warn)
	if err != nil {
		return fmt.Errorf("provider: %w", err)
	}
	id, err := awayID(ctx, p.Home, away)
	switch {
	case unreachable(err) && f.force && f.clusterID != "":
		a.warn("the provider cannot be reached, only this side is ended: " + oneLine(err))
		return nil
	case err != nil:
		return err
	}
	p.Away = away
	if p.AwayID == "" {
		p.AwayID = id
	}
	return nil
}
