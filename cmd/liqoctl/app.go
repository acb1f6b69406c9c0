package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// app is one call of liqoctl: where it reads and writes, how it connects, and the global flags.
type app struct {
	In       io.Reader
	Out, Err io.Writer
	// Interactive says that a human can answer on In.
	Interactive bool
	// Styled says that Err shows colours.
	Styled bool
	// Connect returns the cluster that a kubeconfig and a context in it (both may be empty) lead to.
	Connect func(kubeconfig, context string, warn func(string)) (*cluster, error)
	// Clock says how old things are.
	Clock clock.PassiveClock

	kubeconfig  string
	context     string
	skipConfirm bool
	verbose     bool
}

// usageError is the fault of whoever wrote the command line.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run executes a command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	root := a.root(filepath.Base(args[0]))
	root.SetArgs(args[1:])
	root.SetIn(a.In)
	root.SetOut(a.Out)
	root.SetErr(a.Err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	a.fail(err)
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

func (a *app) root(name string) *cobra.Command {
	if strings.HasPrefix(name, "kubectl-") {
		name = "kubectl " + strings.TrimPrefix(name, "kubectl-")
	}
	root := &cobra.Command{
		Use:   "liqoctl",
		Short: "Extend namespaces onto other clusters",
		Long: `liqoctl lets a cluster borrow capacity from others, and extends namespaces onto them.

Each provider shows up as one virtual node. An offloaded namespace gets a twin on every
provider that its policy selects; pods that are scheduled on the virtual node run there.

  liqoctl peer --remote-kubeconfig provider.yaml       borrow from a provider
  liqoctl offload namespace shop                       extend a namespace
  liqoctl info                                         see what there is
  liqoctl explain pod web-0 -n shop                    see why a pod is where it is, or pending
  liqoctl drain NODE                                   empty a virtual node
  liqoctl unoffload namespace shop                     bring it home
  liqoctl unpeer PROVIDER                              end it

It exits with 0 when done, 1 when it failed and 2 when it was used wrongly. Put it on the PATH
as kubectl-liqo to use it as "kubectl liqo".`,
		Version:           version.Get().GitVersion,
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: name},
		SilenceUsage:      true,
		SilenceErrors:     true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.logs(cmd) },
		RunE:              needsCommand,
		Args:              cobra.ArbitraryArgs,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage("%w; see %s --help", err, cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVar(&a.kubeconfig, "kubeconfig", "",
		"kubeconfig of this (the home) cluster; default: $KUBECONFIG, ~/.kube/config, or the pod's own")
	flags.StringVar(&a.context, "context", "", "context of --kubeconfig; default: its current one")
	flags.BoolVar(&a.skipConfirm, "skip-confirm", false, "do not ask before something is removed")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "show the requests that are made")
	root.AddCommand(a.peer(), a.unpeer(), a.offload(), a.unoffload(), a.info(), a.explain(), a.cordon(), a.uncordon(),
		a.drain(), a.create(), a.delete(), a.version())
	return root
}

// logs shows the client libraries' own logs only to whoever asks for them; at level 6 they hold no content of requests.
func (a *app) logs(*cobra.Command) error {
	if !a.verbose {
		klog.SetLogger(logr.Discard())
		ctrllog.SetLogger(logr.Discard())
		return nil
	}
	klog.ClearLogger()
	klog.SetOutput(a.Err)
	klog.LogToStderr(false)
	var level klog.Level
	if err := level.Set("6"); err != nil {
		return err
	}
	ctrllog.SetLogger(klog.Background())
	return nil
}

// needsCommand is what a command does that only has others below it.
func needsCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage("unknown command %q; see %s --help", args[0], cmd.CommandPath())
	}
	return cmd.Help()
}

// group returns a command that only has others below it.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, RunE: needsCommand, Args: cobra.ArbitraryArgs}
	cmd.AddCommand(commands...)
	return cmd
}

// exactly takes the named arguments, no more and no fewer.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < len(names) {
			return usage("%s is missing; see %s --help", strings.Join(names[len(args):], " "), cmd.CommandPath())
		}
		for i, name := range names {
			if args[i] == "" { // a variable of a script that is not set
				return usage("%s is empty; see %s --help", name, cmd.CommandPath())
			}
		}
		return atMost(len(names))(cmd, args)
	}
}

func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return usage("unexpected argument %q; see %s --help", args[n], cmd.CommandPath())
		}
		return nil
	}
}
