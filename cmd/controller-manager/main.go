// Controller-manager keeps the home side of namespace offloading: it turns NamespaceOffloadings into NamespaceMaps,
// which the agents serve, and the agents' answers into status. It holds credentials of the home cluster only.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/component-base/version"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Exit codes besides 0, done.
const (
	exitFailed = 1
	exitUsage  = 2
)

// usageError is the fault of whoever wrote the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func main() {
	os.Exit(exitCode(cli.RunNoErrOutput(newCommand())))
}

// exitCode prints an error and returns the exit code for it.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "Error:", err)
	if usage := (usageError{}); errors.As(err, &usage) {
		fmt.Fprintln(os.Stderr, "See 'controller-manager --help' for usage.")
		return exitUsage
	}
	return exitFailed
}

func newCommand() *cobra.Command {
	opts := defaults()
	logging := logsapi.NewLoggingConfiguration()
	cmd := &cobra.Command{
		Use:   "controller-manager",
		Short: "Keep the home side of namespace offloading",
		Long: `controller-manager runs in the home cluster (the consumer), usually two replicas of which one leads.

It watches NamespaceOffloadings, selects clusters by the labels of their virtual nodes, asks the agent of each
selected cluster for a twin namespace through that cluster's NamespaceMap, gives the agent its rights in the
offloaded namespace, labels the namespace, and reports what came of it in the NamespaceOffloading's status.
It also serves the label liqo.io/enabled=true on namespaces.

It never talks to a provider. The custom resources of offloading.liqo.io may be installed after it has started:
until then /readyz says that they are missing.`,
		Example: `  # In a cluster, with the ServiceAccount of the pod
  controller-manager --leader-elect

  # From outside, for development
  controller-manager --kubeconfig ~/.kube/config --cluster-id consumer --metrics-bind-address 127.0.0.1:8080`,
		Version:      version.Get().GitVersion,
		SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("controller-manager takes no arguments, got %q", args)}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			if err := logsapi.ValidateAndApply(logging, nil); err != nil {
				return err
			}
			if err := opts.validate(); err != nil {
				return err
			}
			return run(ctrl.SetupSignalHandler(), opts)
		},
	}
	cmd.SetVersionTemplate("controller-manager {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	opts.addFlags(cmd.Flags())
	logsapi.AddFlags(logging, cmd.Flags())
	return cmd
}
