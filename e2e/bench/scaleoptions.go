package main

import (
	"errors"
	"flag"
	"fmt"
	"time"
)

// mostScale is how many virtual nodes a playground can have.
const mostScale = 50

// scaleOptions are those of part scale.
type scaleOptions struct {
	// sizes are numbers of virtual nodes, each of a provider with an id of its own; servers is how many clusters are
	// behind them.
	sizes   []int
	servers int
	// namespaces are offloaded to all of them, where pods is how many run in each on each.
	namespaces, pods int
	// stands is for how long they are left alone.
	stands time.Duration
	// scope is that of watching.
	scope string
}

func (o *scaleOptions) flags(fs *flag.FlagSet) {
	o.sizes, o.scope = []int{2, 10, 30}, scopeNamespace
	fs.Func("scale", "numbers of virtual nodes, rising and comma-separated, in part scale (default 2,10,30)",
		func(list string) (err error) {
			o.sizes, err = numbers(list)
			return err
		})
	fs.Func("scale-scope", "scope of watching in part scale, namespace or cluster (default namespace)",
		func(scope string) error {
			o.scope = scope
			scopes, err := scopesNamed(scope)
			if err == nil && len(scopes) != 1 {
				err = fmt.Errorf("%q must be one of them", scope)
			}
			return err
		})
	fs.IntVar(&o.servers, "scale-servers", 2, "clusters behind all virtual nodes, in part scale")
	fs.IntVar(&o.namespaces, "scale-namespaces", 5, "namespaces that are offloaded to all of them")
	fs.IntVar(&o.pods, "scale-pods", 2, "pods in each of these on each of them")
	fs.DurationVar(&o.stands, "scale-for", time.Minute, "for how long they are left alone")
}

func (o *scaleOptions) check() error {
	switch {
	case o.sizes[len(o.sizes)-1] > mostScale:
		return fmt.Errorf("-scale must not be above %d", mostScale)
	case o.servers < 1 || o.namespaces < 1 || o.pods < 0:
		return errors.New("-scale-servers and -scale-namespaces must be at least 1, and -scale-pods not negative")
	case o.stands <= 0:
		return errors.New("-scale-for must be longer than nothing")
	}
	return nil
}

// nodesFor returns how many ordinary nodes each cluster needs for so many virtual ones.
func (o *scaleOptions) nodesFor(size int) int {
	pods := o.namespaces * o.pods * ((size + o.servers - 1) / o.servers)
	return max(1, (pods+perNode-1)/perNode)
}
