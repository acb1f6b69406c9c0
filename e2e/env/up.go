package env

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

const pollNodes = 100 * time.Millisecond

// Up starts a playground, or what is missing of one that was up, and returns when it is ready. One that was never
// ready, or that died as a whole, is removed first and made anew.
func Up(ctx context.Context, opts Options) (*Env, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	unlock, err := lock(ctx, opts.Dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	e := newEnv(opts)
	if err := e.up(ctx); err != nil {
		e.ports.releaseAll()
		if opts.Tied {
			e.release()
		}
		return nil, err
	}
	return e, nil
}

func (e *Env) up(ctx context.Context) error {
	old, err := e.survivor(ctx)
	if err != nil {
		return err
	}
	if err := e.prepare(old); err != nil {
		return err
	}
	if old != nil && e.healthy(ctx) {
		e.say("playground", "everything runs and is healthy")
		return nil
	}
	if err := e.bringUp(ctx); err != nil {
		return err
	}
	return e.record(func(s *state) { s.Ready = true })
}

// survivor returns the state of a playground that is worth repairing, and removes any other.
func (e *Env) survivor(ctx context.Context) (*state, error) {
	old, err := lastState(e.opts.Dir)
	if err != nil {
		return nil, err
	}
	alive, err := old.alive()
	if err != nil {
		return nil, err
	}
	if old.Ready && alive > 0 {
		if want := e.settings(); old.Settings != want {
			return nil, &UsageError{fmt.Sprintf("the playground in %s was started with %s; take it down before %s",
				e.opts.Dir, old.Settings, want)}
		}
		e.say("playground", "%d of %d processes run", alive, len(old.Processes))
		return &old, nil
	}
	if len(old.Processes) > 0 {
		e.say("playground", "removing one that was killed")
	}
	return nil, remove(ctx, e.opts.Dir, &old)
}

// alive counts the processes that still run; none does that belongs to an earlier boot.
func (s *state) alive() (int, error) {
	now, err := boot()
	if err != nil || s.Boot != now {
		return 0, err
	}
	count := 0
	for _, p := range s.Processes {
		if p.Alive() {
			count++
		}
	}
	return count, nil
}

func (e *Env) settings() settings {
	return settings{e.opts.Providers, e.opts.Nodes, e.opts.Peer, e.opts.Bare, e.opts.Gateways, e.opts.replicas()}
}

func (s settings) String() string {
	return fmt.Sprintf("--providers=%d --nodes=%d --peer=%t --gateways=%t --replicas=%d",
		s.Providers, s.Nodes, s.Peer, s.Gateways, s.Replicas)
}

// prepare describes the clusters and, without an old state, makes their ports, keys and files.
func (e *Env) prepare(old *state) error {
	if old != nil {
		e.state = *old
		e.opts.recall(old.Recipe)
		if err := e.attach(); err != nil {
			return err
		}
		return e.record(func(s *state) { s.Recipe = e.opts.recipe() })
	}
	now, err := boot()
	if err != nil {
		return err
	}
	e.state = state{
		Boot: now, Settings: e.settings(), Ports: map[string]map[string]int{}, Recipe: e.opts.recipe(),
	}
	if err := e.attach(); err != nil {
		return err
	}
	if err := e.record(func(s *state) {
		for _, c := range e.clusters {
			s.Ports[c.Name] = c.ports
		}
	}); err != nil {
		return err
	}
	var steps errgroup.Group
	for _, c := range e.clusters {
		steps.Go(func() error {
			return errors.Join(c.configuration(), c.kwokConfiguration(), c.credentials(), c.connect())
		})
	}
	return steps.Wait()
}

// attach describes the clusters of the state.
func (e *Env) attach() error {
	for n := range e.opts.Providers + 1 {
		name := Consumer
		if n > 0 {
			name = ProviderName(n)
		}
		ports := e.state.Ports[name]
		c, err := e.newCluster(n, ports)
		if err != nil {
			return err
		}
		if ports != nil {
			if err := c.connect(); err != nil {
				return err
			}
		}
		e.clusters = append(e.clusters, c)
	}
	return nil
}

// bringUp starts all clusters at once, then what needs several of them.
func (e *Env) bringUp(ctx context.Context) error {
	clusters, clustersCtx := errgroup.WithContext(ctx)
	for _, c := range e.clusters {
		clusters.Go(func() error { return c.bringUp(clustersCtx) })
	}
	if err := clusters.Wait(); err != nil || !e.opts.Peer {
		return err
	}
	return e.peer(ctx)
}

// bringUp starts one cluster.
func (c *Cluster) bringUp(ctx context.Context) error {
	if err := c.run(ctx, Etcd, APIServer); err != nil {
		return err
	}
	c.env.say(c.Name, "API server ready")
	if c.hasLink() && (c.env.opts.Gateways || !c.env.opts.Bare) {
		if err := c.run(ctx, LinkProxy); err != nil {
			return err
		}
	}
	if c.env.opts.Bare {
		return errors.Join(c.installCRDs(ctx), ctx.Err())
	}
	if err := errors.Join(c.populate(ctx), c.installCRDs(ctx), c.installBase(ctx)); err != nil {
		return err
	}
	others := []string{ControllerManager, Scheduler}
	if c.env.opts.Nodes > 0 {
		others = append(others, Kwok)
	}
	if err := c.run(ctx, others...); err != nil {
		return err
	}
	if err := c.nodesReady(ctx); err != nil {
		return err
	}
	c.env.say(c.Name, "ready at %s", c.Server())
	return nil
}

// run starts components together and waits until all are ready.
func (c *Cluster) run(ctx context.Context, names ...string) error {
	components := make([]component, 0, len(names))
	for _, name := range names {
		comp, err := c.component(name)
		if err != nil {
			return err
		}
		if err := c.env.start(comp); err != nil {
			return err
		}
		components = append(components, comp)
	}
	waits, ctx := errgroup.WithContext(ctx)
	for _, comp := range components {
		waits.Go(func() error { return c.env.ready(ctx, comp) })
	}
	return waits.Wait()
}
