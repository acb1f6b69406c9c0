// Command bench measures what the system costs, as ratios from one run, in parts that -only selects from:
//
//   - pods brings the same pods to Running on ordinary nodes of the home cluster, through an ideal loop and on a
//     virtual node, with the same scheduler and the same fake kubelets behind all, in alternating rounds, and deletes
//     them again: time, requests by resource, verb and whom, use of every process; and one pod at a time on a system
//     that does nothing else;
//   - rolling replaces all pods of a Deployment, on both;
//   - steady leaves many offloaded pods alone and looks at what is asked of the API servers meanwhile;
//   - restart kills the agent among many pods and old events, and waits for a new pod to run;
//   - namespaces offloads many namespaces and takes them back;
//   - reflection changes objects of every kind and looks at when their copies follow, kills the agent, and counts
//     watches;
//   - scale looks at memory and watches of agents with a few providers and with many, one agent for each and one for
//     all;
//   - scheduling compares schedulers with and without our plugins.
//
// In the end one table has what was measured beside floors and targets; -out saves the run, and -compare says what
// changed against a saved one. Absolute times depend on the machine and on what else it does; ratios from one run do so
// far less. `make bench` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/twinspace/twinspace/e2e/env"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// report is what a part measured; as JSON it is complete. One with a method figures() []figure besides takes part in
// the table and in comparisons.
type report interface{ print(io.Writer) }

// part is something to measure.
type part struct {
	name    string
	measure func(context.Context, options) (report, error)
}

// parts are all that there are, in the order in which they run.
func parts() []part {
	return []part{
		{"pods", measurePods},
		{"rolling", measureRolling},
		{"steady", measureSteady},
		{"restart", measurePodsRestart},
		{"namespaces", measureNamespaces},
		{"reflection", measureReflection},
		{"scale", measureScale},
		{"scheduling", measureScheduling},
	}
}

// options are what the command line says.
type options struct {
	bin          string
	out, against string
	parts        []part
	pods         podsOptions
	// namespaces are offloaded on so many providers.
	namespaces, providers int
	reflection            reflectionOptions
	scale                 scaleOptions
	scheduling            schedulingOptions
}

func parse(args []string) (options, error) {
	var (
		o    options
		only string
	)
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&o.bin, "bin", "bin", "folder of the binaries that make build makes")
	fs.StringVar(&o.out, "out", "", "file to save the result to, as JSON")
	fs.StringVar(&o.against, "compare", "", "saved result to compare with")
	fs.StringVar(&only, "only", "", "parts to measure, comma-separated, of "+names(parts())+"; all if empty")
	o.pods.flags(fs)
	fs.IntVar(&o.namespaces, "namespaces", 500, "namespaces to offload, in part namespaces")
	fs.IntVar(&o.providers, "providers", 3, "providers to offload them on, in parts namespaces and reflection")
	o.reflection.flags(fs)
	o.scale.flags(fs)
	o.scheduling.flags(fs)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("there are no arguments but flags; %q is none", fs.Arg(0))
	}
	if o.namespaces < 1 || o.providers < 1 {
		return o, errors.New("-namespaces and -providers must be at least 1")
	}
	if err := errors.Join(o.pods.check(), o.reflection.check(), o.scale.check(), o.scheduling.check()); err != nil {
		return o, err
	}
	var err error
	o.parts, err = selected(only)
	return o, err
}

// selected returns the parts that a comma-separated list names, in their own order; all of them if it is empty.
func selected(only string) ([]part, error) {
	if only == "" {
		return parts(), nil
	}
	wanted := strings.Split(only, ",")
	chosen := slices.DeleteFunc(parts(), func(p part) bool { return !slices.Contains(wanted, p.name) })
	if len(chosen) != len(wanted) {
		return nil, fmt.Errorf("-only %s: every part must be one of %s, and named once", only, names(parts()))
	}
	return chosen, nil
}

// helpers are what this program does for another one of it, by the word that asks for it.
func helpers() map[string]func(context.Context, string) error {
	return map[string]func(context.Context, string) error{errandRunner: runErrand, idealRunner: runIdeal}
}

func names(all []part) string {
	var list []string
	for _, p := range all {
		list = append(list, p.name)
	}
	return strings.Join(list, ", ")
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 {
		if do := helpers()[args[0]]; do != nil {
			return do(ctx, args[1])
		}
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	var before *saved
	if o.against != "" { // read first: a wrong name should not show after an hour
		if before, err = load(o.against); err != nil {
			return err
		}
	}
	now := &saved{Machine: thisMachine(), Parts: map[string]report{}}
	for _, p := range o.parts {
		r, err := p.measure(ctx, o)
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", p.name, err), now.store(o.out))
		}
		fmt.Fprintf(os.Stdout, "\n== %s ==\n", p.name)
		r.print(os.Stdout)
		now.add(p.name, r)
	}
	now.summary(os.Stdout)
	if before != nil {
		before.compare(now, os.Stdout)
	}
	return now.store(o.out)
}

// playground starts what the options say in a folder of its own and returns it and how to end it.
func playground(ctx context.Context, o env.Options) (*env.Env, func() error, error) {
	dir, err := os.MkdirTemp("", "twinspace-bench-")
	if err != nil {
		return nil, nil, fmt.Errorf("make a folder for the playground: %w", err)
	}
	o.Dir, o.Tied = dir, true
	up, err := env.Up(ctx, o)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return up, func() error {
		return errors.Join(up.Down(context.WithoutCancel(ctx)), os.RemoveAll(dir))
	}, nil
}
