package namespacemap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// lookAgain is how often it is asked whether the pods that keep a twin have left. Usually the change of the status that
// counts them comes first.
const lookAgain = 10 * time.Second

// Tenants knows the pods that run on a cluster.
type Tenants interface {
	// Staying returns how many pods of a home namespace are still to leave a cluster before its twin may go.
	Staying(ctx context.Context, home, clusterID string) (int, error)
}

// keep finds the twins that are no longer selected and yet stay, because the pods in them are being evicted. Those of a
// provider whose last VirtualNode is being deleted go as ever: there pods are drained, not evicted for a policy.
func (o *Offloadings) keep(ctx context.Context, p *pass) error {
	if o.Tenants == nil || p.off.Spec.PodEvictionStrategy != v1beta1.EvictOnPolicyChange {
		return nil
	}
	p.kept = map[string]int{}
	var errs []error
	for _, c := range p.candidates {
		m := p.maps[c.ClusterID]
		if _, seen := p.kept[c.ClusterID]; seen || p.selected.Has(c.ClusterID) || m == nil ||
			m.Spec.DesiredMapping[p.home] == "" {
			continue
		}
		count, err := o.Tenants.Staying(ctx, p.home, c.ClusterID)
		if err != nil {
			count = -1
			err = fmt.Errorf("count the pods of %s on cluster %s: %w", p.home, c.ClusterID, err)
			errs = append(errs, p.blame("", err))
		}
		p.kept[c.ClusterID] = count
	}
	return errors.Join(errs...)
}

// patient asks again while pods keep a twin.
func (p *pass) patient(result reconcile.Result, err error) (reconcile.Result, error) {
	for _, count := range p.kept {
		if count > 0 && err == nil && result.RequeueAfter == 0 {
			result.RequeueAfter = lookAgain
		}
	}
	if p.again > 0 && err == nil && (result.RequeueAfter == 0 || result.RequeueAfter > p.again) {
		result.RequeueAfter = p.again
	}
	return result, err
}

// waiting says what a twin waits for that is no longer selected and yet stays.
func waiting(pods int, twin string) string {
	if pods < 0 {
		return fmt.Sprintf("waiting to learn which pods are to be evicted before namespace %s goes", twin)
	}
	return fmt.Sprintf("waiting for pods to be evicted before namespace %s goes, %d left: see condition %s", twin, pods,
		v1beta1.ConditionPodsPermitted)
}
