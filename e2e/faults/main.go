// Command faults breaks a whole system on purpose and finds out whether it keeps its promises: real work goes on in a
// playground while faults come and go in an order that a seed decides, everything that the API servers say is written
// down, and the invariants of docs/acceptance.md are decided from that record alone.
//
// It ends with 0 when every invariant was kept and every bound was met. `make faults` runs it; docs/reliability.md says
// how to read what it prints.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/e2e/faults/nemesis"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout)
	stop()
	os.Exit(code)
}

// options are what the command line says.
type options struct {
	bin, ours, record, report string
	only, table               string
	duration, pace            time.Duration
	seed                      uint64
	providers                 int
	list                      bool
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("faults", flag.ContinueOnError)
	fs.StringVar(&o.bin, "bin", "bin", "folder of the programs that make build makes")
	fs.StringVar(&o.ours, "ours", "", "folder of our own programs; BIN/faults (make build-faults) if it is there")
	fs.StringVar(&o.record, "record", "", "folder to keep the record in; without it, that of a failing run is kept")
	fs.StringVar(&o.report, "report", "", "file to write the results to as JSON")
	fs.StringVar(&o.only, "only", "",
		"steps to run, comma-separated: FAULT or FAULT+FAULT, with @PROVIDER if it matters")
	fs.StringVar(&o.table, "table", "",
		"files that -report wrote, comma-separated: print their table for docs/reliability.md")
	fs.DurationVar(&o.duration, "duration", 15*time.Minute, "for how long faults come; from 1h on the long ones, too")
	fs.Uint64Var(&o.seed, "seed", 0, "what decides which faults come when; 0 is a fresh one")
	fs.DurationVar(&o.pace, "pace", 0, "from one thing that users ask for to the next; 0 is a third of a second")
	fs.IntVar(&o.providers, "providers", 2, "how many clusters there are besides home")
	fs.BoolVar(&o.list, "list", false, "list all faults")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 || o.duration <= 0 || o.providers < 1 || o.pace < 0 {
		return o, errors.New("-duration and -providers must be positive, and there are no arguments besides flags")
	}
	return o, nil
}

// Exit codes.
const (
	kept    = 0
	broken  = 1
	misused = 2
)

func run(ctx context.Context, args []string, out io.Writer) int {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return kept
	}
	if err == nil && o.list {
		list(out)
		return kept
	}
	if err == nil && o.table != "" {
		return table(o.table, out)
	}
	var plan []nemesis.Step
	if err == nil {
		plan, err = o.plan()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return misused
	}
	log.SetLogger(klog.Background())
	fmt.Fprintf(out, "seed %d\n", o.seed)
	ok, err := play(ctx, o, plan, out)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
	}
	if err != nil || !ok {
		return broken
	}
	return kept
}

// plan decides what comes when, and the seed unless it is given.
func (o *options) plan() ([]nemesis.Step, error) {
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000_007 //nolint:gosec // G115: it is not negative
	}
	s := nemesis.Schedule{Seed: o.seed, For: o.duration, Faults: nemesis.Catalogue(), Providers: o.names()}
	if o.only != "" {
		return s.Only(o.only)
	}
	return s.Plan(), nil
}

func list(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "FAULT\tLASTS\tBOUND\tWHAT\n")
	for _, f := range nemesis.Catalogue() {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", f.Name, f.Hold, f.Bound, f.Does)
	}
	_ = t.Flush() // the writer's errors are the terminal's
}

func table(files string, out io.Writer) int {
	runs, err := nemesis.Load(strings.Split(files, ",")...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return misused
	}
	nemesis.Markdown(out, nemesis.Catalogue(), runs)
	return kept
}
