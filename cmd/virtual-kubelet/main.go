// Virtual-kubelet is the agent of one provider: it runs at home and makes that provider look like nodes, gives
// offloaded namespaces their twins there, and keeps pods and what they need in step on both sides.
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
		fmt.Fprintln(os.Stderr, "See 'virtual-kubelet --help' for usage.")
		return exitUsage
	}
	return exitFailed
}

func newCommand() *cobra.Command {
	opts := defaultOptions()
	logging := logsapi.NewLoggingConfiguration()
	cmd := &cobra.Command{
		Use:   "virtual-kubelet",
		Short: "Make a provider look like nodes of this cluster",
		Long: `virtual-kubelet, the agent, runs in the home cluster (the consumer), once per peering; of several
replicas one leads.

It serves every VirtualNode in the tenant namespace of its provider (liqo-tenant-<remote-cluster-id>): it keeps the
Node and its lease, runs the pods bound to the Node in the twin namespaces at the provider and reports their status,
makes and removes those twins as the provider's NamespaceMap asks, reflects Services, EndpointSlices, ConfigMaps and
referenced Secrets into them, answers kubectl logs on --node-ip:--kubelet-port, and renews its token at the provider.

Its credential for the provider is the Secret that liqoctl peer has put into the tenant namespace.`,
		Example: `  # In the home cluster, with the ServiceAccount liqo-tenant-milan/virtual-kubelet
  virtual-kubelet --cluster-id rome --remote-cluster-id milan --node-ip "$POD_IP"

  # From outside, for development
  virtual-kubelet --kubeconfig agent.kubeconfig --cluster-id rome --remote-cluster-id milan --node-ip 127.0.0.1`,
		Version:      version.Get().GitVersion,
		SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("virtual-kubelet takes no arguments, got %q", args)}
			}
			return nil
		},
		RunE: func(*cobra.Command, []string) error {
			if err := opts.validate(); err != nil {
				return err
			}
			if err := logsapi.ValidateAndApply(logging, nil); err != nil {
				return err
			}
			return run(ctrl.SetupSignalHandler(), opts)
		},
	}
	cmd.SetVersionTemplate("virtual-kubelet {{.Version}}\n")
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	opts.addFlags(cmd.Flags())
	logsapi.AddFlags(logging, cmd.Flags())
	return cmd
}
