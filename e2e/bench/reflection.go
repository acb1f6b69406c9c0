package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twinspace/twinspace/e2e/env"
)

// reflectionTimeout bounds part reflection.
const reflectionTimeout = time.Hour

// reflectionOptions are those of part reflection.
type reflectionOptions struct {
	rates     []int
	specimens []specimen
	// seconds is for how long each kind is changed at each rate, spread how many objects are changed in turns.
	seconds, spread int
	// objects are reflected when the agent is restarted.
	objects int
	// watched is how many namespaces are offloaded when watches are counted, in each of scopes.
	watched int
	scopes  []string
}

// The scopes of liqoctl peer --watch-scope.
const (
	scopeNamespace = "namespace"
	scopeCluster   = "cluster"
)

func (o *reflectionOptions) flags(fs *flag.FlagSet) {
	o.rates, o.specimens = []int{10, 200}, specimens()
	o.scopes = []string{scopeNamespace, scopeCluster}
	fs.Func("rates", "changes per second, rising and comma-separated, in part reflection (default 10,200)",
		func(list string) (err error) {
			o.rates, err = numbers(list)
			return err
		})
	fs.Func("kinds", "resources to change in part reflection, comma-separated, of "+resources(specimens())+
		"; - for none (default all)",
		func(list string) (err error) {
			o.specimens, err = specimensNamed(list)
			return err
		})
	fs.Func("scopes", "scopes of watching to compare in part reflection, comma-separated; - for none "+
		"(default namespace,cluster)",
		func(list string) (err error) {
			o.scopes, err = scopesNamed(list)
			return err
		})
	fs.IntVar(&o.seconds, "rate-seconds", 20, "how long each kind is changed at each rate, in part reflection")
	fs.IntVar(&o.spread, "spread", 200, "objects of each kind that are changed in turns, in part reflection")
	fs.IntVar(&o.objects, "reflected", 5000, "objects to restart the agent with, in part reflection; 0 for no restart")
	fs.IntVar(&o.watched, "watched", 200, "namespaces to count watches for, in part reflection")
}

func (o *reflectionOptions) check() error {
	if o.seconds < 1 || o.spread < 1 || o.watched < 1 || o.objects < 0 {
		return errors.New("-rate-seconds, -spread and -watched must be at least 1, and -reflected not negative")
	}
	return nil
}

func scopesNamed(list string) ([]string, error) {
	if list == "-" {
		return nil, nil
	}
	scopes := strings.Split(list, ",")
	for _, scope := range scopes {
		if scope != scopeNamespace && scope != scopeCluster {
			return nil, fmt.Errorf("%q: each must be %s or %s", scope, scopeNamespace, scopeCluster)
		}
	}
	return scopes, nil
}

func specimensNamed(list string) ([]specimen, error) {
	if list == "-" {
		return nil, nil
	}
	wanted := strings.Split(list, ",")
	chosen := slices.DeleteFunc(specimens(), func(s specimen) bool { return !slices.Contains(wanted, s.resource) })
	if len(chosen) != len(wanted) {
		return nil, fmt.Errorf("%q: each must be one of %s, and named once", list, resources(specimens()))
	}
	return chosen, nil
}

func resources(all []specimen) string {
	var list []string
	for _, s := range all {
		list = append(list, s.resource)
	}
	return strings.Join(list, ", ")
}

// measureReflection measures how fast changes arrive, what a restart costs and how much is watched.
func measureReflection(ctx context.Context, o options) (report, error) {
	ctx, cancel := context.WithTimeout(ctx, reflectionTimeout)
	defer cancel()
	r := &reflectionResult{}
	if len(o.reflection.specimens) > 0 || o.reflection.objects > 0 {
		if err := r.pair(ctx, o); err != nil {
			return nil, err
		}
	}
	for _, scope := range o.reflection.scopes {
		w, err := measureWatches(ctx, o, scope)
		if err != nil {
			return nil, fmt.Errorf("watches, scope %s: %w", scope, err)
		}
		r.Watches = append(r.Watches, *w)
	}
	return r, nil
}

// pair measures what needs one provider only.
func (r *reflectionResult) pair(ctx context.Context, o options) (err error) {
	fmt.Fprintln(os.Stderr, "starting a home cluster and one provider ...")
	up, down, err := playground(ctx, env.Options{Bin: o.bin, Providers: 1, Nodes: 2, Peer: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, down()) }()
	if len(o.reflection.specimens) > 0 {
		if r.Latencies, err = measureLatencies(ctx, up, o.reflection); err != nil {
			return fmt.Errorf("latency: %w", err)
		}
	}
	if o.reflection.objects > 0 {
		if r.Restart, err = measureRestart(ctx, up, o.reflection.objects); err != nil {
			return fmt.Errorf("restart: %w", err)
		}
	}
	return nil
}
