package namespacemap

import (
	"context"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// conditions computes the status. It writes nothing.
func (o *Offloadings) conditions(_ context.Context, p *pass) error {
	now := metav1.NewTime(o.Clock.Now()).Rfc3339Copy() // what the API server would store
	status := &p.off.Status
	old := status.RemoteNamespacesConditions
	clusters := make(map[string][]v1beta1.ClusterCondition, len(old))
	for _, id := range p.clusters() {
		clusters[id] = conditionsOf(o.facts(p, id))
		keepTimes(old[id], clusters[id], now)
	}
	if len(clusters) == 0 {
		clusters = nil
	}
	status.RemoteNamespacesConditions = clusters
	status.OffloadingPhase = phaseOf(p.leaving(), clusters)
	status.ObservedGeneration = p.off.Generation
	if !p.leaving() {
		status.RemoteNamespaceName = ""
		if p.refused == nil {
			status.RemoteNamespaceName = p.twin
		}
	}

	ready := metav1.Condition{
		Type: v1beta1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: p.off.Generation,
		LastTransitionTime: now, Reason: string(status.OffloadingPhase), Message: o.message(p),
	}
	if status.OffloadingPhase == v1beta1.PhaseReady {
		ready.Status = metav1.ConditionTrue
	}
	meta.SetStatusCondition(&status.Conditions, ready)
	return nil
}

func (o *Offloadings) facts(p *pass, id string) clusterFacts {
	facts := clusterFacts{
		Selected: !p.leaving() && p.selected.Has(id), Want: p.twin, Refused: p.refused, Trouble: p.trouble[id],
		Unmapped: p.maps[id] == nil, Entry: entryOf(p.maps[id], p.home), Kept: p.kept[id],
		Twice: p.twice[id],
	}
	if m := p.maps[id]; m != nil {
		facts.Desired, facts.Report = m.Spec.DesiredMapping[p.home], reportIn(m, p.home)
	}
	return facts
}

// message sums up in one sentence, with what went wrong for all clusters at its end.
func (o *Offloadings) message(p *pass) string {
	text := sentence(p.off.Status.OffloadingPhase, p.off.Status.RemoteNamespacesConditions)
	if p.off.Status.OffloadingPhase == v1beta1.PhaseNoClusterSelected {
		text = whyNone(p.selectorErr, p.off.Spec.ClusterSelector, p.candidates)
	}
	for _, id := range slices.Sorted(maps.Keys(p.trouble)) {
		if _, told := p.off.Status.RemoteNamespacesConditions[id]; !told {
			text += "; " + p.trouble[id].Error()
		}
	}
	return truncate(text, 4096)
}

// announce tells users, once, which cluster's twin became ready, failed or is on its way out.
func (o *Offloadings) announce(before, after *v1beta1.NamespaceOffloading) {
	if after.Status.OffloadingPhase == v1beta1.PhaseTerminating {
		return // its namespace may be going too, and take no events any more
	}
	for id, conditions := range after.Status.RemoteNamespacesConditions {
		is := find(conditions, v1beta1.ConditionReady)
		was := find(before.Status.RemoteNamespacesConditions[id], v1beta1.ConditionReady)
		if is == nil || is.Reason == v1beta1.ReasonCreating || (was != nil && was.Reason == is.Reason) {
			continue
		}
		kind := corev1.EventTypeWarning
		if is.Status == corev1.ConditionTrue || is.Reason == v1beta1.ReasonTerminating {
			kind = corev1.EventTypeNormal
		}
		// The map tells events of several clusters apart, which would else be counted as one that repeats.
		m := &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.TenantNamespace(id), Name: id}}
		o.Events.Eventf(after, m, kind, is.Reason, "Offload", "cluster %s: %s", id, is.Message)
	}
}
