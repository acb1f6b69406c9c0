// Controller-manager keeps the home side of namespace offloading: it turns NamespaceOffloadings into NamespaceMaps,
// which the agents serve, and the agents' answers into status. It holds credentials of the home cluster only.
package main

import (
	"context"
	"os"

	"github.com/twinspace/twinspace/cmd/internal/daemon"
)

func main() { os.Exit(program().Main()) }

func program() daemon.Program {
	opts := defaults()
	return daemon.Program{
		Name:  "controller-manager",
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
		AddFlags: opts.addFlags,
		Validate: opts.validate,
		Run:      func(ctx context.Context) error { return run(ctx, opts) },
	}
}
