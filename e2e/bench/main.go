// Command bench measures what offloading costs, as ratios from one run: it brings the same pods to Running on
// ordinary nodes of the home cluster and on a virtual node, with the same scheduler and the same fake kubelets behind
// both, in alternating rounds, and compares time, API writes and the use of every process.
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
	"os"
	"os/signal"
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

// options are what the command line says.
type options struct {
	bin, out     string
	pods, rounds int
	nodes        int
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&o.bin, "bin", "bin", "folder of the binaries that make build makes")
	fs.StringVar(&o.out, "out", "", "file to save the result to, as JSON")
	fs.IntVar(&o.pods, "pods", 500, "pods per round")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds on each side; medians are compared")
	fs.IntVar(&o.nodes, "nodes", 10, "ordinary nodes per cluster")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if o.pods < 1 || o.rounds < 1 || o.nodes < 1 || fs.NArg() > 0 {
		return o, errors.New("-pods, -rounds and -nodes must be at least 1, and there are no other arguments")
	}
	return o, nil
}

func run(ctx context.Context, args []string) (err error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "twinspace-bench-")
	if err != nil {
		return fmt.Errorf("make a folder for the playground: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	fmt.Fprintln(os.Stderr, "starting a home cluster and one provider ...")
	playground, err := env.Up(ctx, env.Options{
		Dir: dir, Bin: o.bin, Providers: 1, Nodes: o.nodes, Peer: true, Tied: true,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, playground.Down(context.WithoutCancel(ctx))) }()
	result, err := measure(ctx, playground, o)
	if err != nil {
		return err
	}
	result.print(os.Stdout)
	if o.out == "" {
		return nil
	}
	data, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return fmt.Errorf("write result: %w", err)
	}
	return os.WriteFile(o.out, append(data, '\n'), 0o600)
}
