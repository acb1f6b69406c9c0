package namespacemap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// drainWait is how often it is looked whether pods have left a virtual node, and whether more may be evicted.
const drainWait = 2 * time.Second

// Drains empties virtual nodes.
type Drains interface {
	// Drain evicts what is left on a virtual node that is on its way out, as far as it may be evicted, and returns what
	// is waited for; "" means that no pod is left that must go before the node.
	Drain(ctx context.Context, node string) (waiting string, err error)
}

// emptied drains the Node of a VirtualNode that is being deleted, and says which pods it waits for. Until they are gone
// the twins stay in which they run. Whoever forces the deletion does not wait for them.
func (r *Maps) emptied(ctx context.Context, node *v1beta1.VirtualNode, p *peering) (string, error) {
	if r.Drains == nil || !holding(node) {
		return "", nil
	}
	wait, err := r.Drains.Drain(ctx, node.Name)
	if err != nil {
		return "", fmt.Errorf("drain virtual node %s: %w", node.Name, err)
	}
	if wait != "" {
		p.wait(drainWait)
	}
	return wait, nil
}

// drainDeleted drains the Nodes that are being deleted: by somebody, or by the agent because they are not wanted any
// more. The agent holds them until they are empty, and says what it waits for.
func (r *Maps) drainDeleted(ctx context.Context, p *peering) error {
	if r.Drains == nil {
		return nil
	}
	nodes := nodeMetaList()
	if err := r.Home.List(ctx, nodes, client.MatchingLabels{
		v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual, v1beta1.LabelRemoteClusterID: p.clusterID,
	}); err != nil {
		return fmt.Errorf("list the nodes of %s: %w", p.clusterID, err)
	}
	var errs []error
	for i := range nodes.Items {
		node := &nodes.Items[i]
		judged := slices.ContainsFunc(p.leaving, func(v *v1beta1.VirtualNode) bool {
			return v.Name == node.Name && holding(v)
		})
		if node.DeletionTimestamp.IsZero() || judged {
			continue
		}
		wait, err := r.Drains.Drain(ctx, node.Name)
		if err != nil {
			errs = append(errs, fmt.Errorf("drain node %s: %w", node.Name, err))
		}
		if p.wait(refreshWait); wait != "" {
			p.wait(drainWait)
		}
	}
	return errors.Join(errs...)
}
