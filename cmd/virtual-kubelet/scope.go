package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/peering"
	"github.com/twinspace/twinspace/reflection"
)

// scopeInterval is how often is looked whether the peering was made anew with another scope.
const scopeInterval = time.Minute

// scopeGuard ends the agent when the peering lets it watch more, or less, than when it started. All watches would have
// to be made anew: whoever keeps the agent running does that.
type scopeGuard struct {
	home   client.Reader
	secret types.NamespacedName
	scope  v1beta1.WatchScope
	clock  clock.Clock
}

// sameScope guards the scope, unless the command line decides about it.
func (a *agent) sameScope() error {
	if a.opts.watchScope != "" {
		return nil
	}
	guard := scopeGuard{home: a.mgr.GetAPIReader(), secret: a.secret, scope: a.scope, clock: a.opts.Clock()}
	return a.mgr.Add(onEveryReplica(guard.run))
}

func (g scopeGuard) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-g.clock.After(scopeInterval):
		}
		var secret corev1.Secret
		if err := g.home.Get(ctx, g.secret, &secret); err != nil {
			continue // the renewal of the token tells of it
		}
		if now := peering.ScopeOf(&secret); now != g.scope {
			return fmt.Errorf("the watch scope of the peering is %s now, not %s: starting over", now, g.scope)
		}
	}
}

// sources are the watches of one cluster that reflection needs, as wide as the peering allows.
func (a *agent) sources(c client.WithWatch, cluster string) *reflection.Sources {
	return reflection.NewSources(reflection.SourceOptions{
		Client: c, Cluster: cluster, Scope: a.scope, Clock: a.opts.Clock(),
	})
}
