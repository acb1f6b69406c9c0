package namespacemap

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/namespacemap/naming"
)

// maxListed is how many names a sentence lists before it says how many more there are.
const maxListed = 10

// clusterFacts is all that the conditions of one cluster depend on.
type clusterFacts struct {
	// Selected says that the namespace shall have a twin there.
	Selected bool
	// Want is the twin's name, Refused why it can have none.
	Want    string
	Refused error
	// Trouble is what kept this controller from doing its part.
	Trouble error
	// Unmapped says that the cluster has no NamespaceMap yet.
	Unmapped bool
	// Desired is what the map still asks for, Entry what the agent answered.
	Desired string
	Entry   *v1beta1.TwinStatus
	// Twice says that the cluster is another one under a second id, and which.
	Twice string
	// Kept is how many pods are to leave before a twin that is no longer selected goes.
	Kept int
	// Report is what the agent says of reflection, nil when all is well.
	Report *v1beta1.ReflectionReport
}

// conditionsOf returns the conditions of one cluster, without times.
func conditionsOf(f clusterFacts) []v1beta1.ClusterCondition {
	conditions := twinConditions(f)
	if f.Report != nil && f.Entry != nil && f.Entry.Phase == v1beta1.MappingAccepted {
		conditions = append(conditions, reflectionConditions(f.Report)...)
	}
	return conditions
}

func twinConditions(f clusterFacts) []v1beta1.ClusterCondition {
	if f.Selected {
		return []v1beta1.ClusterCondition{
			{Type: v1beta1.ConditionOffloadingRequired, Status: corev1.ConditionTrue,
				Reason: v1beta1.ReasonClusterSelected, Message: "the namespace shall have a twin on this cluster"},
			readyOf(f),
		}
	}
	conditions := []v1beta1.ClusterCondition{{
		Type: v1beta1.ConditionOffloadingRequired, Status: corev1.ConditionFalse,
		Reason: v1beta1.ReasonClusterNotSelected, Message: "the namespace shall have no twin on this cluster",
	}}
	if f.Entry != nil || f.Desired != "" {
		conditions = append(conditions, leavingOf(f))
	}
	return conditions
}

func readyOf(f clusterFacts) v1beta1.ClusterCondition {
	switch {
	case f.Refused != nil:
		return notReady(reasonOfRefusal(f.Refused), f.Refused.Error())
	case f.Twice != "":
		return notReady(v1beta1.ReasonDuplicateCluster, f.Twice)
	case f.Trouble != nil:
		return troubled(f.Trouble)
	case f.Unmapped:
		return notReady(v1beta1.ReasonCreating, "waiting for the cluster's NamespaceMap to be created")
	case f.Entry != nil && f.Entry.Phase == v1beta1.MappingTerminating:
		return leavingOf(f)
	case f.Entry == nil || f.Entry.RemoteNamespace != f.Want:
		return notReady(v1beta1.ReasonCreating, fmt.Sprintf("waiting for the agent to create namespace %s", f.Want))
	case f.Entry.Phase == v1beta1.MappingAccepted:
		return v1beta1.ClusterCondition{
			Type: v1beta1.ConditionReady, Status: corev1.ConditionTrue,
			Reason: v1beta1.ReasonNamespaceCreated, Message: fmt.Sprintf("namespace %s is ready", f.Want),
		}
	default:
		return notReady(failureReason(f.Entry.Reason), f.Entry.Message)
	}
}

// troubled describes a failure at home.
func troubled(err error) v1beta1.ClusterCondition {
	var full *fullError
	if errors.As(err, &full) {
		return notReady(v1beta1.ReasonMapFull, err.Error())
	}
	if apierrors.IsForbidden(err) {
		return notReady(v1beta1.ReasonPermissionDenied, err.Error())
	}
	return notReady(v1beta1.ReasonCreating, "tried again: "+err.Error())
}

// stuck describes a failure at home to give a twin up.
func stuck(err error) v1beta1.ClusterCondition {
	condition := troubled(err)
	if condition.Reason == v1beta1.ReasonCreating {
		condition.Reason = v1beta1.ReasonTerminating
	}
	return condition
}

// leavingOf describes a twin on its way out; until the agent says more, it is the agent that is waited for.
func leavingOf(f clusterFacts) v1beta1.ClusterCondition {
	switch {
	case f.Trouble != nil && !f.Selected:
		return stuck(f.Trouble)
	case f.Kept != 0:
		return notReady(v1beta1.ReasonTerminating, waiting(f.Kept, f.Desired))
	case f.Entry == nil:
		return notReady(v1beta1.ReasonTerminating, fmt.Sprintf("waiting for namespace %s to be given up", f.Desired))
	case f.Entry.Phase != v1beta1.MappingTerminating || f.Entry.Message == "":
		return notReady(v1beta1.ReasonTerminating,
			fmt.Sprintf("waiting for the agent to delete namespace %s", f.Entry.RemoteNamespace))
	default:
		return notReady(v1beta1.ReasonTerminating, f.Entry.Message)
	}
}

func notReady(reason, message string) v1beta1.ClusterCondition {
	return v1beta1.ClusterCondition{
		Type: v1beta1.ConditionReady, Status: corev1.ConditionFalse, Reason: reason, Message: message,
	}
}

// reasonOfRefusal returns the reason that stands for a name which no provider takes.
func reasonOfRefusal(err error) string {
	var tooLong *naming.TooLongError
	if errors.As(err, &tooLong) {
		return v1beta1.ReasonNameTooLong
	}
	return v1beta1.ReasonCreationLoopBackOff
}

// failureReason passes on the reasons of the wire language and no others.
func failureReason(reason string) string {
	switch reason {
	case v1beta1.ReasonNameTooLong, v1beta1.ReasonPermissionDenied, v1beta1.ReasonClusterUnreachable:
		return reason
	default:
		return v1beta1.ReasonCreationLoopBackOff
	}
}

// phaseOf sums up the conditions of all clusters.
func phaseOf(deleting bool, clusters map[string][]v1beta1.ClusterCondition) v1beta1.OffloadingPhase {
	required, ready, failed := tally(clusters)
	switch {
	case deleting:
		return v1beta1.PhaseTerminating
	case required == 0:
		return v1beta1.PhaseNoClusterSelected
	case ready == required:
		return v1beta1.PhaseReady
	case failed == required:
		return v1beta1.PhaseAllFailed
	case failed > 0:
		return v1beta1.PhaseSomeFailed
	default:
		return v1beta1.PhaseInProgress
	}
}

// tally counts the clusters that are required and, of those, the ready and the failed ones.
func tally(clusters map[string][]v1beta1.ClusterCondition) (required, ready, failed int) {
	for _, conditions := range clusters {
		if !isRequired(conditions) {
			continue
		}
		required++
		switch condition := find(conditions, v1beta1.ConditionReady); {
		case condition == nil:
		case condition.Status == corev1.ConditionTrue:
			ready++
		case hasFailed(condition):
			failed++
		}
	}
	return required, ready, failed
}

// hasFailed tells a twin that could not be made from one that is on its way in or out.
func hasFailed(ready *v1beta1.ClusterCondition) bool {
	return ready.Reason != v1beta1.ReasonCreating && ready.Reason != v1beta1.ReasonTerminating
}

// sentence says for the whole namespace what the conditions say per cluster: sorted, so that the same state always
// makes the same sentence.
func sentence(phase v1beta1.OffloadingPhase, clusters map[string][]v1beta1.ClusterCondition) string {
	var ready, waits []string
	for _, id := range slices.Sorted(maps.Keys(clusters)) {
		condition := find(clusters[id], v1beta1.ConditionReady)
		switch {
		case condition == nil:
		case condition.Status == corev1.ConditionTrue:
			ready = append(ready, id)
		default:
			waits = append(waits, fmt.Sprintf("%s: %s", id, condition.Message))
		}
	}
	switch {
	case phase == v1beta1.PhaseReady && len(waits) == 0:
		return "twins are ready on " + listed(ready, ", ")
	case phase == v1beta1.PhaseTerminating && len(waits) == 0:
		return "no twin is left"
	default:
		return listed(waits, "; ")
	}
}

// whyNone says why no cluster is selected.
func whyNone(selectorError error, selector *v1beta1.ClusterSelector, candidates []Candidate) string {
	switch {
	case selectorError != nil:
		return "the cluster selector is not valid: " + selectorError.Error()
	case len(candidates) == 0:
		return "there is no virtual node yet: peer with a cluster by liqoctl peer"
	default:
		return fmt.Sprintf("the cluster selector (%s) matches none of the virtual nodes; nearest: %s",
			spelled(selector), nearest(selector, candidates))
	}
}

// listed joins the first names and counts the rest.
func listed(names []string, separator string) string {
	if len(names) <= maxListed {
		return strings.Join(names, separator)
	}
	return fmt.Sprintf("%s%sand %d more", strings.Join(names[:maxListed], separator), separator, len(names)-maxListed)
}

// keepTimes dates the conditions: as before where the status is as before, else now.
func keepTimes(before, after []v1beta1.ClusterCondition, now metav1.Time) {
	for i := range after {
		after[i].LastTransitionTime = now
		if old := find(before, after[i].Type); old != nil && old.Status == after[i].Status {
			after[i].LastTransitionTime = old.LastTransitionTime
		}
	}
}

func find(conditions []v1beta1.ClusterCondition, kind string) *v1beta1.ClusterCondition {
	for i := range conditions {
		if conditions[i].Type == kind {
			return &conditions[i]
		}
	}
	return nil
}

func isRequired(conditions []v1beta1.ClusterCondition) bool {
	condition := find(conditions, v1beta1.ConditionOffloadingRequired)
	return condition != nil && condition.Status == corev1.ConditionTrue
}
