package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// settles is for how long the numbers of watches must stay the same. In scope cluster an agent looks for Secrets in
// each new twin, and stops watching them after a minute in which nothing there referred to one.
const settles = 75 * time.Second

// measureWatches offloads many namespaces on all providers and counts the watches that this adds to each API server.
func measureWatches(ctx context.Context, o options, scope string) (_ *watches, err error) {
	fmt.Fprintf(os.Stderr, "starting a home cluster and %d providers, scope %s ...\n", o.providers, scope)
	up, down, err := playground(ctx, env.Options{
		Bin: o.bin, Providers: o.providers, Peer: true, Peering: []string{"--watch-scope=" + scope},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	w := &watches{
		Scope: scope, Namespaces: o.reflection.watched, Providers: o.providers,
		Before: map[string]map[string]float64{}, After: map[string]map[string]float64{},
	}
	n := &namespaces{env: up, count: w.Namespaces}
	if err := n.watch(ctx); err != nil {
		return nil, err
	}
	if err := settled(ctx, up, w.Before); err != nil {
		return nil, err
	}
	fmt.Fprintf(os.Stderr, "offloading %d namespaces ...\n", w.Namespaces)
	if err := n.each(ctx, func(ctx context.Context, name string) error {
		return errors.Join(up.Consumer().Client().Create(ctx, build.Namespace(name).Obj()), n.offload(ctx, name))
	}); err != nil {
		return nil, fmt.Errorf("offload namespaces: %w", err)
	}
	ready := 0
	err = wait.PollUntilContextTimeout(ctx, 10*poll, namespacesTimeout, true,
		func(ctx context.Context) (_ bool, err error) {
			ready, err = n.ready(ctx)
			return ready == w.Namespaces, err
		})
	if err != nil {
		return nil, fmt.Errorf("%d of %d namespaces are ready: %w", ready, w.Namespaces, err)
	}
	if err := settled(ctx, up, w.After); err != nil {
		return nil, err
	}
	for _, u := range up.Usage() {
		w.Memory = append(w.Memory, memory{u.Cluster, u.Component, u.RSS})
	}
	return w, nil
}

// settled counts the watches of each API server, by resource, once their numbers stay the same.
func settled(ctx context.Context, up *env.Env, into map[string]map[string]float64) error {
	since, known := time.Now(), map[string]*steadied{}
	for _, c := range up.Clusters() {
		known[c.Name] = &steadied{}
	}
	err := wait.PollUntilContextTimeout(ctx, 10*poll, arrival, true, func(ctx context.Context) (bool, error) {
		for _, c := range up.Clusters() {
			now, err := watchesOf(ctx, c)
			if err != nil {
				return false, err
			}
			if known[c.Name].see(now) {
				into[c.Name], since = now, time.Now()
			}
		}
		return time.Since(since) > settles, nil
	})
	if err != nil {
		return fmt.Errorf("wait until no more watches begin: %w", err)
	}
	return nil
}

// steadied are numbers of watches, which change when they have been others twice in a row: of many watches there is
// always one that has ended in time, and begins anew.
type steadied struct {
	known   map[string]float64
	strange int
}

// see says whether the numbers have changed, to what was seen last.
func (s *steadied) see(now map[string]float64) bool {
	if maps.Equal(now, s.known) {
		s.strange = 0
		return false
	}
	if s.strange++; s.strange < 2 {
		return false
	}
	s.known, s.strange = now, 0
	return true
}

// watchesOf counts the watches that an API server serves, by resource.
func watchesOf(ctx context.Context, c *env.Cluster) (map[string]float64, error) {
	text, err := c.Metrics(ctx, env.APIServer)
	if err != nil {
		return nil, err
	}
	all, err := samples(text, "apiserver_longrunning_requests")
	if err != nil {
		return nil, err
	}
	sums := map[string]float64{}
	for _, s := range all {
		if s.labels["verb"] == "WATCH" && s.value > 0 {
			sums[s.labels["resource"]] += s.value
		}
	}
	return sums, nil
}
