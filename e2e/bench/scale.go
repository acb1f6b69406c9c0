package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/twinspace/twinspace/e2e/env"
)

// scaleTimeout bounds what is measured of one number of virtual nodes in one way.
const scaleTimeout = 30 * time.Minute

// measureScale looks at what agents cost with so many providers: one agent for each, and one for all.
func measureScale(ctx context.Context, o options) (report, error) {
	r := &scaleResult{
		Servers: o.scale.servers, Namespaces: o.scale.namespaces, Pods: o.scale.pods,
		Objects: objectsOf(scaleMixture()), Scope: o.scale.scope, Minutes: o.scale.stands.Minutes(),
	}
	for _, size := range o.scale.sizes {
		for _, shared := range []bool{false, true} {
			s, err := measureScaled(ctx, o, size, shared)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", s.title(), err)
			}
			r.Runs = append(r.Runs, s)
		}
	}
	return r, nil
}

// measureScaled measures one number of virtual nodes in one way, in clusters of their own.
func measureScaled(ctx context.Context, o options, size int, shared bool) (s scaled, err error) {
	s = scaled{Providers: size, Shared: shared, Before: watchCounts{}, After: watchCounts{}}
	fmt.Fprintf(os.Stderr, "starting a home cluster and %d others for %s ...\n", o.scale.servers, s.title())
	up, down, err := playground(ctx, env.Options{
		Bin: o.bin, Providers: o.scale.servers, Nodes: o.scale.nodesFor(size), Peer: true,
		Aliases: size, SharedAgent: shared, Peering: []string{"--watch-scope=" + o.scale.scope},
	})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, down()) }()
	ctx, cancel := context.WithTimeout(ctx, scaleTimeout)
	defer cancel()
	f := &scaleFleet{bench: bench{env: up}, opts: o.scale}
	err = attended(ctx, time.Second, f.ended, func(ctx context.Context) error { return f.measure(ctx, &s) })
	return s, err
}

// scaleFleet is a home cluster whose providers are aliases.
type scaleFleet struct {
	bench
	opts  scaleOptions
	teams *namespaces
}

// furnish begins what is watched besides by the benchmark, and by API servers: the parameters of the policies that all
// peerings of a provider share.
func (f *scaleFleet) furnish(ctx context.Context) error {
	for _, c := range f.env.Providers() {
		if err := c.Apply(ctx, "provider"); err != nil {
			return err
		}
	}
	f.teams = &namespaces{env: f.env, count: f.opts.namespaces}
	return f.teams.watch(ctx)
}

// measure brings the virtual nodes up, gives them work, and looks at the agents once all is in step.
func (f *scaleFleet) measure(ctx context.Context, s *scaled) error {
	if err := errors.Join(f.furnish(ctx), settled(ctx, f.env, s.Before)); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "peering, and starting agents ...")
	start := time.Now()
	if err := f.env.PeerAliases(ctx); err != nil {
		return err
	}
	s.Ready = time.Since(start).Seconds()
	if err := f.work(ctx); err != nil {
		return err
	}
	s.InStep = time.Since(start).Seconds()
	fmt.Fprintln(os.Stderr, "all is in step, waiting until no more watches begin ...")
	if err := errors.Join(f.quiet(ctx), settled(ctx, f.env, s.After)); err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "leaving it alone for %s ...\n", f.opts.stands)
	cpu := f.cpu()
	if err := pause(ctx, f.opts.stands); err != nil {
		return err
	}
	s.CPU = f.cpuSince(cpu)
	return f.memory(ctx, s)
}

// agents returns the components that serve virtual nodes.
func (f *scaleFleet) agents() []env.Process {
	var all []env.Process
	for _, p := range f.env.Processes() {
		if p.Cluster == env.Consumer && strings.HasPrefix(p.Component, env.Agent) {
			all = append(all, p)
		}
	}
	return all
}

// ended names an agent that has ended.
func (f *scaleFleet) ended() (string, bool) {
	for _, p := range f.agents() {
		if !p.Alive() {
			return p.Component, true
		}
	}
	return f.bench.ended()
}

// memory takes down what each agent has once it has looked for garbage, and what the API servers have.
func (f *scaleFleet) memory(ctx context.Context, s *scaled) error {
	agents := f.agents()
	s.Agents = make([]agentMemory, len(agents))
	group, ctx := errgroup.WithContext(ctx)
	for i, p := range agents {
		group.Go(func() (err error) {
			s.Agents[i].Component = p.Component
			s.Agents[i].footprint, err = memoryOf(ctx, f.env, p.Component)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, u := range f.env.Usage() {
		if u.Component == env.APIServer {
			s.Servers = append(s.Servers, memory{u.Cluster, u.Component, u.RSS})
		}
	}
	return nil
}
