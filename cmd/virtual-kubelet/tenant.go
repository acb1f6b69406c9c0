package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/peering"
)

// Pauses after which a peering is begun anew that could not be served, or ended; one that worked for long starts with
// the shortest again.
const (
	firstPause  = time.Second
	pauseMax    = 30 * time.Second
	workedFor   = time.Minute
	forever     = time.Duration(-1)
	waitingText = "Cannot serve the provider, trying again"
)

// tenant serves one of the peerings of a shared agent, again and again until the process ends: its trouble is not
// that of the others.
type tenant struct {
	shared *shared
	opts   *options
}

// Start implements manager.Runnable, on the leader.
func (t *tenant) Start(ctx context.Context) error {
	id := t.opts.remoteClusterID
	logger := klog.FromContext(ctx).WithValues("destination", id)
	ctx = log.IntoContext(ctx, logger)
	t.shared.counts.up.WithLabelValues(id).Set(0)
	again := &restarts{}
	for ctx.Err() == nil {
		began := t.opts.Clock().Now()
		err := t.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		t.shared.counts.ended.WithLabelValues(id).Inc()
		wait, news := again.after(err, t.opts.Clock().Since(began))
		if news {
			logger.Error(err, waitingText, "pause", wait)
		}
		select {
		case <-ctx.Done():
		case <-t.opts.Clock().After(wait):
		}
	}
	return nil
}

// serve works as the agent of the peering until something of it fails, and returns when nothing of it is at work.
func (t *tenant) serve(ctx context.Context) error {
	id := t.opts.remoteClusterID
	home, err := t.shared.as(ctx, id)
	if err != nil {
		return err
	}
	mgr, err := newTenantManager(home, t.opts, t.shared.cache)
	if err != nil {
		return err
	}
	secret := types.NamespacedName{Namespace: v1beta1.TenantNamespace(id), Name: peering.SecretName(id)}
	away, scope, err := connect(ctx, mgr.GetAPIReader(), secret, t.opts, t.shared.lead)
	if err != nil {
		return err
	}
	defer away.HTTPClient().CloseIdleConnections()
	_ = away.Probe(ctx) // as in run
	counts := &registered{of: prometheus.WrapRegistererWith(prometheus.Labels{"destination": id}, metrics.Registry)}
	defer counts.forget()
	a := &agent{
		opts: t.opts, mgr: mgr, home: home, away: away, secret: secret, scope: scope, counts: counts, shared: t.shared,
	}
	if err := a.setUp(); err != nil {
		return fmt.Errorf("set up the agent: %w", err)
	}
	log.FromContext(ctx).Info("Serving the provider", "watchScope", scope)
	t.shared.counts.up.WithLabelValues(id).Set(1)
	defer t.shared.counts.up.WithLabelValues(id).Set(0)
	if err := mgr.Start(ctx); err != nil {
		return err
	}
	return errors.New("the agent of the provider has ended")
}

// restarts decides how long to wait before a peering is begun anew.
type restarts struct {
	pause time.Duration
	said  string
}

// after returns the pause after a failure, and whether the failure is another one than before, after a time of work.
func (r *restarts) after(err error, worked time.Duration) (pause time.Duration, news bool) {
	if worked >= workedFor {
		r.pause, r.said = 0, ""
	}
	r.pause = min(max(2*r.pause, firstPause), pauseMax)
	news = r.said != err.Error()
	r.said = err.Error()
	return r.pause, news
}
