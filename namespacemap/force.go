package namespacemap

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// forceGrace is how long a release by force still waits for twins that may well go by themselves: a provider that
// answers needs a few seconds to empty a namespace, and an agent up to [callTimeout] to find that one does not answer.
const forceGrace = 10 * time.Second

// forced says that somebody asked not to wait for twins that do not go.
func (p *pass) forced() bool {
	return p.off != nil && !p.off.DeletionTimestamp.IsZero() &&
		p.off.Annotations[v1beta1.AnnotationForceRemoval] == "true"
}

// force lets a NamespaceOffloading go without its last twins. Those of providers that cannot be reached, or that refuse
// us, are given up at once, all others when they had their time. Given up is only the wait: what the agent needs to
// delete the twin stays in the provider's map, for when it can.
func (o *Offloadings) force(ctx context.Context, p *pass) (done bool, again time.Duration, err error) {
	left := p.clusters()
	for _, id := range left {
		if !hopeless(entryOf(p.maps[id], p.home)) {
			again = p.off.DeletionTimestamp.Add(forceGrace).Sub(o.Clock.Now())
		}
	}
	if again > 0 {
		return false, again, nil
	}
	if err := o.unmark(ctx, p); err != nil {
		return false, 0, err
	}
	for _, id := range left {
		facts := o.facts(p, id)
		twin := facts.Desired
		if facts.Entry != nil {
			twin = facts.Entry.RemoteNamespace
		}
		m := &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.TenantNamespace(id), Name: id}}
		o.Events.Eventf(p.off, m, corev1.EventTypeWarning, "TwinLeftBehind", "Release", "%s",
			leftBehind(id, twin, facts))
	}
	return true, 0, nil
}

// hopeless says that an agent reported that it can do nothing about a twin now.
func hopeless(entry *v1beta1.TwinStatus) bool {
	return entry != nil && entry.Phase == v1beta1.MappingTerminating &&
		(entry.Reason == v1beta1.ReasonClusterUnreachable || entry.Reason == v1beta1.ReasonPermissionDenied)
}

func leftBehind(id, twin string, facts clusterFacts) string {
	return fmt.Sprintf("cluster %s: namespace %s is left behind, its agent deletes it as soon as it can (%s)", id, twin,
		leavingOf(facts).Message)
}

// goodbye decides, once home has done its part, whether the NamespaceOffloading may go, and lets it.
func (o *Offloadings) goodbye(ctx context.Context, p *pass) (gone bool, again time.Duration, err error) {
	switch {
	case p.off.DeletionTimestamp.IsZero():
		return false, 0, nil
	case len(p.clusters()) == 0:
		err = o.unmark(ctx, p)
		gone = err == nil
	case p.forced():
		gone, again, err = o.force(ctx, p)
	}
	return gone, again, p.blame("", err)
}
