package main

import (
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// podsOptions are those of the parts that run pods.
type podsOptions struct {
	// sizes are numbers of pods, each measured in rounds of the same place.
	sizes, rounds []int
	// nodes are the ordinary ones of each cluster; 0 is as many as the pods need.
	nodes int
	// single is how often one pod is started alone.
	single int
	// rolled is the size of the Deployment that is replaced, stood how many pods are left alone for stands.
	rolled, stood int
	stands        time.Duration
	// restarted is how many pods there are when the agent is restarted, old how many events of theirs.
	restarted, old int
}

func (o *podsOptions) flags(fs *flag.FlagSet) {
	o.sizes, o.rounds = []int{1000, 5000, 10000}, []int{3, 1}
	fs.Func("pods", "pods at once in part pods, rising and comma-separated (default 1000,5000,10000)",
		func(list string) (err error) {
			o.sizes, err = numbers(list)
			return err
		})
	fs.Func("rounds", "rounds on each side for each of -pods, comma-separated; the last is for all that follow; "+
		"medians are compared (default 3,1)",
		func(list string) (err error) {
			o.rounds, err = positive(list)
			return err
		})
	fs.IntVar(&o.nodes, "nodes", 0, "ordinary nodes per cluster in parts with pods; 0 is as many as they need, and "+
		strconv.Itoa(leastNodes)+" at least")
	fs.IntVar(&o.single, "single", 50, "how often one pod is started alone, in part pods; 0 for never")
	fs.IntVar(&o.rolled, "rolled", 1000, "pods of the Deployment in part rolling")
	fs.IntVar(&o.stood, "steady", 5000, "pods that are left alone in part steady")
	fs.DurationVar(&o.stands, "steady-for", 5*time.Minute, "for how long they are")
	fs.IntVar(&o.restarted, "restarted", 10000, "pods that there are in part restart")
	fs.IntVar(&o.old, "old-events", 10000, "events of theirs that there are on the provider")
}

func (o *podsOptions) check() error {
	switch {
	case o.nodes < 0 || o.single < 0 || o.old < 0:
		return errors.New("-nodes, -single and -old-events must not be negative")
	case o.rolled < 1 || o.stood < 1 || o.restarted < 1:
		return errors.New("-rolled, -steady and -restarted must be at least 1")
	case o.stands <= 0:
		return errors.New("-steady-for must be longer than nothing")
	}
	return nil
}

const (
	leastNodes = 10
	// perNode is how many pods a fake node takes, less what is left free so that nobody waits for the last places.
	perNode = 900
)

// nodesFor returns how many nodes each cluster needs for so many pods.
func (o *podsOptions) nodesFor(pods int) int {
	if o.nodes > 0 {
		return o.nodes
	}
	return max(leastNodes, (pods+perNode-1)/perNode)
}

// roundsOf returns how many rounds the i-th size has.
func (o *podsOptions) roundsOf(i int) int { return o.rounds[min(i, len(o.rounds)-1)] }

// positive reads a comma-separated list of numbers from 1.
func positive(list string) ([]int, error) {
	var all []int
	for word := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("%q must be numbers, from 1", list)
		}
		all = append(all, n)
	}
	return all, nil
}
