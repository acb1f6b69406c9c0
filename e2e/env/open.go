package env

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/utils/clock"
)

// Open returns the playground that runs under dir, whoever started it. It changes nothing.
func Open(dir, bin string) (*Env, error) {
	dir, err := canonicalDir(dir)
	if err != nil {
		return nil, err
	}
	old, err := loadState(dir)
	if err != nil {
		return nil, err
	}
	opts := Options{
		Dir: dir, Bin: bin, Clock: clock.RealClock{},
		Providers: old.Settings.Providers, Nodes: old.Settings.Nodes, Peer: old.Settings.Peer, Bare: old.Settings.Bare,
		Gateways: old.Settings.Gateways, Replicas: old.Settings.Replicas,
	}
	opts.recall(old.Recipe)
	if err := opts.complete(); err != nil {
		return nil, err
	}
	e := newEnv(opts)
	e.state = old
	return e, e.attach()
}

// Status is what is known of one component.
type Status struct {
	Process
	// Problem is empty when the component is well.
	Problem string
}

// Status asks every component how it is. The consumer comes first, and in a cluster what was started first.
func (e *Env) Status(ctx context.Context) []Status {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	processes := e.Processes()
	slices.SortStableFunc(processes, func(a, b Process) int { return cmp.Compare(a.Cluster, b.Cluster) })
	statuses := make([]Status, len(processes))
	var probes errgroup.Group
	for i, p := range processes {
		probes.Go(func() error {
			statuses[i] = Status{Process: p, Problem: e.problem(ctx, p)}
			return nil
		})
	}
	_ = probes.Wait() // none returns an error
	return statuses
}

func (e *Env) problem(ctx context.Context, p Process) string {
	if !p.Alive() {
		return "not running"
	}
	c := e.Cluster(p.Cluster)
	comp, err := c.component(p.Component)
	if err != nil || comp.health == "" {
		return ""
	}
	prober, err := c.prober()
	if err != nil {
		return err.Error()
	}
	defer prober.CloseIdleConnections()
	if err := probe(ctx, prober, comp.health); err != nil {
		return fmt.Sprintf("not healthy: %v", err)
	}
	return ""
}

// healthy says whether everything that belongs to the playground runs and is well.
func (e *Env) healthy(ctx context.Context) bool {
	return e.state.Ready && !slices.ContainsFunc(e.Status(ctx), func(s Status) bool { return s.Problem != "" })
}

// LogPath returns the file with what a component printed.
func (e *Env) LogPath(cluster, component string) (string, error) {
	c, err := e.find(cluster)
	if err != nil {
		return "", err
	}
	if _, err := c.component(component); err != nil {
		return "", err
	}
	return c.logPath(component), nil
}
