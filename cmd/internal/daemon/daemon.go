// Package daemon is what our long-running programs have in common: how their command lines are checked, what they exit
// with, and the options that every one of them has.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/component-base/cli"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/component-base/version"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Exit codes.
const (
	Done = iota
	Failed
	Usage
)

// maxVerbosity is the most that is logged. From the next level on, client-go logs what it sends and receives: Secrets,
// tokens that it asks for, and tokens of callers that it asks about.
const maxVerbosity = 7

// UsageError is the fault of whoever wrote the command line.
type UsageError struct{ error }

// Unwrap returns what is wrong.
func (e UsageError) Unwrap() error { return e.error }

// Program is one of our daemons.
type Program struct {
	Name, Short, Long, Example string
	// AddFlags defines the program's flags besides those of logging.
	AddFlags func(*pflag.FlagSet)
	// Validate returns every mistake in the options at once.
	Validate func() error
	// Run works until ctx ends, which a signal makes it do.
	Run func(ctx context.Context) error
}

// Main runs the program and returns its exit code. It has printed what went wrong.
func (p Program) Main() int {
	return p.report(cli.RunNoErrOutput(p.Command(ctrl.SetupSignalHandler)))
}

func (p Program) report(err error) int {
	if err == nil {
		return Done
	}
	fmt.Fprintln(os.Stderr, "Error:", err)
	if usage := (UsageError{}); errors.As(err, &usage) {
		fmt.Fprintf(os.Stderr, "See '%s --help' for usage.\n", p.Name)
		return Usage
	}
	return Failed
}

// Command returns the program's command; lifetime is called once everything is checked, and its context is Run's.
func (p Program) Command(lifetime func() context.Context) *cobra.Command {
	logging := logsapi.NewLoggingConfiguration()
	cmd := &cobra.Command{
		Use: p.Name, Short: p.Short, Long: p.Long, Example: p.Example,
		Version:      version.Get().GitVersion,
		SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return UsageError{fmt.Errorf("%s takes no arguments, got %q", p.Name, args)}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			if err := p.Validate(); err != nil {
				return err
			}
			limited := keepSecrets(logging)
			if err := logsapi.ValidateAndApply(logging, nil); err != nil {
				return err
			}
			if limited {
				klog.Background().Info("Verbosity is limited: beyond, Secrets would be logged", "limit", maxVerbosity)
			}
			return p.Run(lifetime())
		},
	}
	cmd.SetVersionTemplate(p.Name + " {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return UsageError{err} })
	p.AddFlags(cmd.Flags())
	logsapi.AddFlags(logging, cmd.Flags())
	return cmd
}

// keepSecrets lowers what would log them, and says whether anything would have.
func keepSecrets(logging *logsapi.LoggingConfiguration) (limited bool) {
	levels := []*logsapi.VerbosityLevel{&logging.Verbosity}
	for i := range logging.VModule {
		levels = append(levels, &logging.VModule[i].Verbosity)
	}
	for _, level := range levels {
		limited = limited || *level > maxVerbosity
		*level = min(*level, maxVerbosity)
	}
	return limited
}
