package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"

	"github.com/twinspace/twinspace/e2e/env"
)

// schedulingOptions are those of part scheduling.
type schedulingOptions struct {
	sizes        []int
	sides        []side
	pods, rounds int
	pace         int
	profiles     string
}

func (o *schedulingOptions) flags(fs *flag.FlagSet) {
	o.sizes = []int{100, 1000, 5000}
	fs.Func("sizes", "numbers of nodes, rising and comma-separated, in part scheduling (default 100,1000,5000)",
		func(list string) (err error) {
			o.sizes, err = numbers(list)
			return err
		})
	o.sides = sides()
	fs.Func("sides", "sides to compare in part scheduling, comma-separated (default all)",
		func(list string) (err error) {
			o.sides, err = sidesNamed(list)
			return err
		})
	fs.IntVar(&o.pods, "scheduled", 1000, "pods per round in part scheduling")
	fs.IntVar(&o.rounds, "scheduling-rounds", 5, "rounds of each side in part scheduling")
	fs.IntVar(&o.pace, "pace", 50, "pods per second where part scheduling measures a stream; 0 leaves that out")
	fs.StringVar(&o.profiles, "profiles", "", "folder for CPU profiles of part scheduling, one per size and side")
}

func (o *schedulingOptions) check() error {
	if o.pods < 1 || o.rounds < 1 || o.pace < 0 {
		return errors.New("-scheduled and -scheduling-rounds must be at least 1, and -pace not negative")
	}
	return nil
}

// numbers reads a list such as "100,1000".
func numbers(list string) ([]int, error) {
	var all []int
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || len(all) > 0 && n <= all[len(all)-1] {
			return nil, fmt.Errorf("%q must be rising numbers, from 1", list)
		}
		all = append(all, n)
	}
	return all, nil
}

// side is one way to schedule the same pods.
type side struct {
	name, title string
	// against is the side that it is compared with, and limit what the ratio shall not exceed.
	against string
	limit   float64
	// ours says which scheduler runs: the one that we ship, or kube-scheduler with its defaults.
	ours       bool
	namespaces []string
	// away pods ask for virtual nodes by themselves, with selector and toleration, as they must without our plugins.
	away bool
}

const (
	bare          = "bare"
	bareScattered = "bare-scattered"
	bareAway      = "bare-away"

	ordinaryLimit  = 1.03
	offloadedLimit = 1.10
)

// sides are in the order in which they take turns.
func sides() []side {
	var many []string
	for i := range manyNamespaces {
		many = append(many, fmt.Sprintf("ordinary-%d", i))
	}
	return []side{
		{name: bare, title: "kube-scheduler", namespaces: many[:1]},
		{
			name: "ordinary", title: "ours, ordinary namespace",
			against: bare, limit: ordinaryLimit, ours: true, namespaces: many[:1],
		},
		{
			name: bareScattered, title: fmt.Sprintf("kube-scheduler, %d namespaces", manyNamespaces),
			against: bare, namespaces: many,
		},
		{
			name: "scattered", title: fmt.Sprintf("ours, %d ordinary namespaces", manyNamespaces),
			against: bareScattered, limit: ordinaryLimit, ours: true, namespaces: many,
		},
		{
			name: "both", title: "ours, LocalAndRemote",
			against: bare, limit: offloadedLimit, ours: true, namespaces: []string{nsBoth},
		},
		{
			name: "anywhere", title: "ours, LocalAndRemote, spread None",
			against: bare, limit: offloadedLimit, ours: true, namespaces: []string{nsAnywhere},
		},
		{
			name: bareAway, title: "kube-scheduler, pods made for virtual nodes",
			against: bare, namespaces: many[:1], away: true,
		},
		{
			name: "remote", title: "ours, Remote",
			against: bareAway, limit: offloadedLimit, ours: true, namespaces: []string{nsRemote},
		},
	}
}

// sidesNamed returns those of a comma-separated list, all if it is empty, and always what they are compared with.
func sidesNamed(list string) ([]side, error) {
	wanted := map[string]bool{}
	for word := range strings.SplitSeq(list, ",") {
		if word != "" {
			wanted[word] = true
		}
	}
	for _, s := range sides() {
		if wanted[s.name] && s.against != "" {
			wanted[s.against], wanted[bare] = true, true
		}
	}
	chosen := slices.DeleteFunc(sides(), func(s side) bool { return len(wanted) > 0 && !wanted[s.name] })
	if len(wanted) > len(chosen) {
		return nil, fmt.Errorf("%q names a side that does not exist", list)
	}
	return chosen, nil
}

// measureScheduling lets schedulers with and without our plugins schedule the same pods onto the same fake nodes.
func measureScheduling(ctx context.Context, o options) (_ report, err error) {
	klog.SetLogger(logr.Discard()) // the schedulers' log of what they configure
	fmt.Fprintln(os.Stderr, "starting an API server ...")
	up, down, err := playground(ctx, env.Options{Bin: o.bin, Bare: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, down()) }()
	c, err := newSchedulingCluster(ctx, up)
	if err != nil {
		return nil, err
	}
	r := &schedulingResult{Pods: o.scheduling.pods, sides: o.scheduling.sides}
	for i, size := range o.scheduling.sizes {
		if err := c.grow(ctx, size); err != nil {
			return nil, err
		}
		s, err := c.measure(ctx, "backlog", o.scheduling.sides, o.scheduling)
		if err != nil {
			return nil, fmt.Errorf("%d nodes: %w", size, err)
		}
		r.Sizes = append(r.Sizes, s)
		if i == 0 && o.scheduling.pace > 0 { // where the rest of scheduling is cheapest
			some := slices.DeleteFunc(slices.Clone(o.scheduling.sides), func(s side) bool { return !streamed(s) })
			if s, err = c.measure(ctx, "stream", some, o.scheduling); err != nil {
				return nil, fmt.Errorf("stream: %w", err)
			}
			r.Stream, r.Pace = &s, o.scheduling.pace
		}
	}
	return r, nil
}

// measure lets sides take turns, so that what else the machine does meets all of them.
func (c *schedulingCluster) measure(ctx context.Context, how string, all []side, o schedulingOptions) (
	schedulingSize, error,
) {
	s := schedulingSize{Nodes: c.nodes, Rounds: map[string][]schedulingRound{}}
	play := c.backlog
	if how == "stream" {
		play = c.steady
	}
	for n := range o.rounds {
		order := slices.Clone(all)
		if n%2 == 1 { // or one side would always follow the same other
			slices.Reverse(order)
		}
		for _, side := range order {
			round, err := c.round(ctx, side, o, play)
			if err != nil {
				return s, fmt.Errorf("round %d, %s: %w", n+1, side.name, err)
			}
			fmt.Fprintf(os.Stderr, "%d nodes, %s, round %d of %d, %s: %d pods in %.2fs, CPU %.2fs\n",
				c.nodes, how, n+1, o.rounds, side.name, o.pods, round.Seconds, round.CPU)
			s.Rounds[side.name] = append(s.Rounds[side.name], round)
		}
	}
	return s, nil
}
