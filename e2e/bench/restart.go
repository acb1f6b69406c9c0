package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/e2e/env"
)

const (
	// perNamespace is how many objects a namespace of the restart has.
	perNamespace = 200
	// collected is how long the runtime may take to look for garbage; it does so every two minutes at least.
	collected = 3 * time.Minute
)

// mixture is what a namespace of the restart holds.
func mixture() map[string]int {
	return map[string]int{
		configMaps().resource: 100, secrets().resource: 40, services().resource: 30, endpointSlices().resource: 30,
	}
}

// measureRestart reflects many objects, kills the agent, and looks at what the next one writes and needs.
func measureRestart(ctx context.Context, up *env.Env, objects int) (*restart, error) {
	p := newPairing(up)
	r := &restart{Namespaces: max(1, objects/perNamespace)}
	fmt.Fprintf(os.Stderr, "offloading %d namespaces, and starting the agent again ...\n", r.Namespaces)
	if err := each(r.Namespaces, func(n int) error {
		return (&bench{env: up}).prepare(ctx, away, roomOf(n))
	}); err != nil {
		return nil, err
	}
	before, err := p.counted(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := p.again(ctx, before); err != nil {
		return nil, err
	}
	if r.Empty, err = p.memory(ctx); err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "reflecting %d objects ...\n", objects)
	if err := each(r.Namespaces, func(n int) error { return p.furnish(ctx, roomOf(n)) }); err != nil {
		return nil, fmt.Errorf("fill namespaces: %w", err)
	}
	all, err := p.counted(ctx)
	if err != nil {
		return nil, err
	}
	r.Objects = all - before
	fmt.Fprintf(os.Stderr, "killing the agent with %d objects ...\n", r.Objects)
	audits, err := (&bench{env: up}).audits()
	if err != nil {
		return nil, err
	}
	if r.Seconds, err = p.again(ctx, all); err != nil {
		return nil, err
	}
	if r.Full, err = p.memory(ctx); err != nil {
		return nil, err
	}
	return r, r.count(audits)
}

// roomPrefix begins the names of the namespaces of the restart.
const roomPrefix = "room-"

func roomOf(n int) string { return fmt.Sprintf("%s%03d", roomPrefix, n) }

// furnish makes the objects of a namespace that is offloaded, and waits until they are reflected.
func (p *pairing) furnish(ctx context.Context, namespace string) error {
	return p.populate(ctx, namespace, []specimen{configMaps(), secrets(), services(), endpointSlices()}, mixture())
}

// counted counts the objects on the provider that are made of specimens, in all namespaces.
func (p *pairing) counted(ctx context.Context) (int, error) {
	sum := 0
	for _, s := range specimens() {
		n, err := p.copies(ctx, s)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// again kills the agent, starts it, and waits until it has looked at so many objects and has nothing to do any more. It
// returns how long that took from the kill.
func (p *pairing) again(ctx context.Context, objects int) (float64, error) {
	agent, start := env.AgentOf(p.away.Name), time.Now()
	if err := errors.Join(p.env.Kill(ctx, p.home.Name, agent), p.env.Start(ctx, p.home.Name, agent)); err != nil {
		return 0, err
	}
	var looks float64
	var since time.Time
	err := wait.PollUntilContextTimeout(ctx, 10*poll, arrival, true, func(ctx context.Context) (bool, error) {
		sum, err := ask(ctx, p.home, agent, "liqo_reflection_passes_total")
		if err != nil {
			return false, err
		}
		if sum != looks {
			looks, since = sum, time.Now()
		}
		return looks >= float64(objects) && time.Since(since) > 2*calm, nil
	})
	if err != nil {
		return 0, fmt.Errorf("the agent looked %.0f times at %d objects: %w", looks, objects, err)
	}
	return since.Sub(start).Seconds(), nil
}

// memory returns what the agent needs once it has looked for garbage.
func (p *pairing) memory(ctx context.Context) (footprint, error) {
	return memoryOf(ctx, p.env, env.AgentOf(p.away.Name))
}

// memoryOf is memory for any agent.
func memoryOf(ctx context.Context, up *env.Env, agent string) (footprint, error) {
	const cycles = "go_gc_cycles_total_gc_cycles_total"
	home := up.Consumer()
	before, err := ask(ctx, home, agent, cycles)
	if err != nil {
		return footprint{}, err
	}
	err = wait.PollUntilContextTimeout(ctx, 10*poll, collected, true, func(ctx context.Context) (bool, error) {
		now, err := ask(ctx, home, agent, cycles)
		return now > before, err
	})
	if err != nil {
		return footprint{}, fmt.Errorf("wait until the agent has looked for garbage: %w", err)
	}
	live, err := ask(ctx, home, agent, "go_gc_heap_live_bytes")
	if err != nil {
		return footprint{}, err
	}
	f := footprint{Live: int64(live)}
	for _, u := range up.Usage() {
		if u.Cluster == home.Name && u.Component == agent {
			f.RSS, f.Peak = u.RSS, u.PeakRSS
		}
	}
	return f, nil
}

// count takes from the audit logs what our components wrote and read.
func (r *restart) count(audits map[string]*env.Audit) error {
	r.Writes, r.Others = map[string]int{}, map[string]int{}
	for cluster, audit := range audits {
		events, err := audit.Events()
		if err != nil {
			return err
		}
		for _, event := range events {
			r.add(cluster, event)
		}
	}
	return nil
}

func (r *restart) add(cluster string, event auditv1.Event) {
	inside := event.ObjectRef != nil && strings.HasPrefix(event.ObjectRef.Namespace, roomPrefix)
	switch {
	case counts(event) && inside:
		r.Writes[described(cluster, event)]++
	case counts(event):
		r.Others[described(cluster, event)]++
	case inside && ourUser(event) && event.Verb == "get" && event.Stage == auditv1.StageResponseComplete:
		r.Reads++
	}
}
