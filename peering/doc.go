// Package peering trades the kubeconfig of a provider's admin for an identity that may do only what an agent must: its
// roles, the admission fence around it, a token that is renewed before it expires, and the removal of it all.
//
// Every step is server-side apply of a whole object, so that a peering which was interrupted is completed by asking for
// it again. Whatever can be refused is refused before the first write. The admin's credential is used and forgotten:
// the consumer keeps only the token of the identity.
package peering

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// FieldManager is the server-side-apply field manager of what a peering consists of.
const FieldManager = "liqoctl"

// DefaultTokenTTL is for how long a token of the identity is asked to be valid.
const DefaultTokenTTL = 24 * time.Hour

// Peering is one consumer and one provider, seen by a human who is an admin of both.
type Peering struct {
	// Home and Away are clients of the human for the two clusters. To end a peering whose provider is out of reach,
	// Away is nil.
	Home, Away client.Client
	// HomeID and AwayID are the ids of the two clusters.
	HomeID, AwayID string
	// Endpoint is how the agent reaches the provider: server, server name and authorities. It holds no secret.
	Endpoint remote.Credential
	// AsPeer returns a client for the provider that shows the given token.
	AsPeer func(token string) (client.Client, error)
	// NodeName is the name of the virtual node.
	NodeName string
	// NodeLabels are the labels by which selectors find the virtual node.
	NodeLabels map[string]string
	// WatchScope is how much the agent may watch on both sides. When empty it stays what it is; a new peering takes
	// what home's installation says, or else [v1beta1.WatchNamespaces].
	WatchScope v1beta1.WatchScope
	// Agent is who serves the peering: [AgentOwn] or [AgentShared]. When empty it stays who it is, of a new one
	// AgentOwn.
	Agent Agent
	// TokenTTL is for how long tokens shall be valid; the provider may grant less.
	TokenTTL time.Duration
	// FenceTimeout is how long the provider may take to put new roles and policies into force, 20 s unless set.
	FenceTimeout time.Duration
	// Report is told each thing that was done, or that is waited for.
	Report func(sentence string)
}
