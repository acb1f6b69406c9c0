// Package serving sees to it that home's API server can tell an agent's kubelet endpoint from an impostor: each virtual
// Node has a serving certificate of the cluster's own authority, for exactly its name and address.
//
// It has two sides that share one idea of which request is right. [Certificates], in the agent, holds the keys, which
// never leave the process, asks for certificates and renews them before they expire. [Approver], in the
// controller-manager, approves what an agent asks for its own virtual Nodes, and nothing else: kube-controller-manager
// signs whatever is approved.
package serving
