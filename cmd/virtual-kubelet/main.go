// Virtual-kubelet is the agent of one provider: it runs at home and makes that provider look like nodes, gives
// offloaded namespaces their twins there, and keeps pods and what they need in step on both sides.
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
		Name:  "virtual-kubelet",
		Short: "Make a provider look like nodes of this cluster",
		Long: `virtual-kubelet, the agent, runs in the home cluster (the consumer), once per peering or, as the shared
agent, once for several; of several replicas one leads.

It serves every VirtualNode in the tenant namespace of its provider (liqo-tenant-<remote-cluster-id>): it keeps the
Node and its lease, runs the pods bound to the Node in the twin namespaces at the provider and reports their status,
makes and removes those twins as the provider's NamespaceMap asks, reflects Services, EndpointSlices, ConfigMaps and
referenced Secrets into them, answers kubectl logs on --node-ip:--kubelet-port, and renews its token at the provider.

Its credential for the provider is the Secret that liqoctl peer has put into the tenant namespace.`,
		Example: `  # In the home cluster, with the ServiceAccount liqo-tenant-milan/virtual-kubelet
  virtual-kubelet --cluster-id rome --remote-cluster-id milan --node-ip "$POD_IP"

  # One for two providers, with the ServiceAccount liqo/virtual-kubelet
  virtual-kubelet --cluster-id rome --remote-cluster-id milan,turin --node-ip "$POD_IP"

  # From outside, for development
  virtual-kubelet --kubeconfig agent.kubeconfig --cluster-id rome --remote-cluster-id milan --node-ip 127.0.0.1`,
		AddFlags: opts.addFlags,
		Validate: opts.validate,
		Run:      func(ctx context.Context) error { return run(ctx, opts) },
	}
}
