package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	kubernetes "k8s.io/component-base/version"

	"github.com/twinspace/twinspace/e2e/env"
)

const long = `Starts real Kubernetes clusters on this machine, without containers: a home cluster, "consumer",
and providers, "provider-1", "provider-2" ..., each with its own etcd, API server, controller manager and
scheduler. Their nodes and containers are played by kwok, so pods become Running but run nothing.
The consumer is peered with every provider: each shows up as a node at home.

Everything lives under one directory and ends with "playground down".`

const examples = `  playground up                                # three clusters, peered
  playground kubectl consumer get nodes        # no kubectl needed
  eval "$(playground env)"                     # kubectl and liqoctl for this shell
  playground link provider-1 cut               # see what a broken network does ...
  playground link provider-1 heal              # ... and what happens afterwards
  playground demo                              # a guided tour
  playground down`

func newCommand() *cobra.Command {
	// The components register flags of theirs for every command of a program, --version among them.
	pflag.CommandLine = pflag.NewFlagSet("playground", pflag.ContinueOnError)
	root := &cobra.Command{
		Use:           "playground",
		Short:         "Real Kubernetes clusters on this machine, peered, in seconds",
		Long:          long,
		Example:       examples,
		Version:       describe(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().String("dir", ".playground", "directory that holds everything of the playground")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &env.UsageError{Reason: err.Error()} })
	root.CompletionOptions.DisableDefaultCmd = true
	root.Args = func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return &env.UsageError{Reason: fmt.Sprintf("there is no command %q; see playground --help", args[0])}
		}
		return nil
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.AddCommand(upCommand(), downCommand(), statusCommand(), demoCommand(),
		logsCommand(), envCommand(), kubectlCommand(), linkCommand())
	return root
}

// version is set by the linker; without it the build says what it was made from.
var version string

func describe() string {
	own := version
	if info, ok := debug.ReadBuildInfo(); ok && own == "" {
		own = info.Main.Version
	}
	return fmt.Sprintf("%s (Kubernetes %s)", own, kubernetes.Get().GitVersion)
}

// exactly checks the number of arguments; names are theirs.
func exactly(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == len(names) {
			return nil
		}
		return &env.UsageError{Reason: fmt.Sprintf("%s takes %d arguments, not %d: %s",
			cmd.CommandPath(), len(names), len(args), cmd.UseLine())}
	}
}

func dirOf(cmd *cobra.Command) string {
	dir, err := cmd.Flags().GetString("dir")
	if err != nil {
		panic(err) // the flag is persistent on the root
	}
	return dir
}

// bin returns the folder of this program, where the others are.
func bin() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find programs: %w", err)
	}
	return filepath.Dir(self), nil
}

// open returns the playground that runs.
func open(dir string) (*env.Env, error) {
	programs, err := bin()
	if err != nil {
		return nil, err
	}
	e, err := env.Open(dir, programs)
	if errors.Is(err, env.ErrNotRunning) {
		return nil, fmt.Errorf("no playground runs in %s: start one with playground up", dir)
	}
	return e, err
}
