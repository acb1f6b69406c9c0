// Command bench measures what the system costs, as ratios from one run, in parts that -only selects from:
//
//   - pods brings the same pods to Running on ordinary nodes of the home cluster and on a virtual node, with the same
//     scheduler and the same fake kubelets behind both, in alternating rounds, and compares time, API writes and the
//     use of every process;
//   - namespaces offloads many namespaces and takes them back;
//   - reflection changes objects of every kind and looks at when their copies follow, kills the agent, and counts
//     watches;
//   - scheduling compares schedulers with and without our plugins.
//
// Absolute times depend on the machine and on what else it does; ratios from one run do so far less. `make bench` runs
// it.
package main

import (
	"context"
	"encoding/json"
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

// report is what a part measured; as JSON it is complete.
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
		{"namespaces", measureNamespaces},
		{"reflection", measureReflection},
		{"scheduling", measureScheduling},
	}
}

// options are what the command line says.
type options struct {
	bin, out     string
	parts        []part
	pods, rounds int
	nodes        int
	// namespaces are offloaded on so many providers.
	namespaces, providers int
	reflection            reflectionOptions
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
	fs.StringVar(&only, "only", "", "parts to measure, comma-separated, of "+names(parts())+"; all if empty")
	fs.IntVar(&o.pods, "pods", 500, "pods per round")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds on each side; medians are compared")
	fs.IntVar(&o.nodes, "nodes", 10, "ordinary nodes per cluster, in part pods")
	fs.IntVar(&o.namespaces, "namespaces", 2000, "namespaces to offload, in part namespaces")
	fs.IntVar(&o.providers, "providers", 3, "providers to offload them on, in parts namespaces and reflection")
	o.reflection.flags(fs)
	o.scheduling.flags(fs)
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.pods < 1 || o.rounds < 1 || o.nodes < 1 || fs.NArg() > 0 {
		return o, errors.New("-pods, -rounds and -nodes must be at least 1, and there are no other arguments")
	}
	if err := errors.Join(o.reflection.check(), o.scheduling.check()); err != nil {
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

func names(all []part) string {
	var list []string
	for _, p := range all {
		list = append(list, p.name)
	}
	return strings.Join(list, ", ")
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == creator {
		return createPods(ctx, args[1])
	}
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	reports := map[string]report{}
	for _, p := range o.parts {
		r, err := p.measure(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Fprintf(os.Stdout, "\n== %s ==\n", p.name)
		r.print(os.Stdout)
		reports[p.name] = r
	}
	if o.out == "" {
		return nil
	}
	data, err := json.MarshalIndent(reports, "", "  ")
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return os.WriteFile(o.out, append(data, '\n'), 0o600)
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
