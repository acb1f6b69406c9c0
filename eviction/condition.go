package eviction

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Reasons of condition PodsPermitted. Of several that apply, the first one counts.
const (
	// ReasonFailed: the API server did not answer as it should; what failed is tried again.
	ReasonFailed = "EvictionFailed"
	// ReasonEvicting: pods are leaving, or wait for others that are.
	ReasonEvicting = "Evicting"
	// ReasonDisruptionBudget: a PodDisruptionBudget lets no pod go at the moment.
	ReasonDisruptionBudget = "DisruptionBudget"
	// ReasonNoPermittedNode: no other permitted node could take the pods that are left.
	ReasonNoPermittedNode = "NoPermittedNode"
	// ReasonNodeNamed: the pods that are left come back to where they were when they are evicted, and stay.
	ReasonNodeNamed = "NodeNamed"
	// ReasonForeignScheduler: the pods that are left have a scheduler that would put them back, and stay.
	ReasonForeignScheduler = "ForeignScheduler"
	// ReasonNoController: the pods that are left would not be replaced, and stay.
	ReasonNoController = "NoController"
	// ReasonAllPermitted: every pod is where the policy permits it.
	ReasonAllPermitted = "AllPermitted"
)

const (
	// maxListed is how many pods a sentence names before it says how many more there are.
	maxListed = 10
	// maxMessage bounds the sentence.
	maxMessage = 4096
)

// chapters tell of the states, in this order, and which reason each stands for.
var chapters = [...]struct {
	reason string
	states []state
	text   string
}{
	{ReasonFailed, []state{failed}, "tried again because the eviction failed"},
	{ReasonEvicting, []state{next, leaving}, "leaving"},
	{ReasonEvicting, []state{queued}, "waiting for their turn"},
	{ReasonDisruptionBudget, []state{budget}, "held by a PodDisruptionBudget"},
	{ReasonNoPermittedNode, []state{stuck}, "held because no other permitted node could take them"},
	{ReasonNodeNamed, []state{returning}, "left alone because they came back (do they name a node, or a scheduler?)"},
	{ReasonForeignScheduler, []state{foreign}, "never evicted because their scheduler is none of ours and would put " +
		"them back"},
	{ReasonNoController, []state{single}, "never evicted because no controller would replace them"},
}

// condition says how many pods are where they may not be, why they may not, and what each waits for. It depends on
// nothing else, so that the same state is the same sentence.
func condition(found []violation, generation int64) metav1.Condition {
	c := metav1.Condition{
		Type: v1beta1.ConditionPodsPermitted, Status: metav1.ConditionFalse, ObservedGeneration: generation,
	}
	if len(found) == 0 {
		c.Status, c.Reason = metav1.ConditionTrue, ReasonAllPermitted
		c.Message = "every pod is where the policy permits it"
		return c
	}
	parts := []string{fmt.Sprintf("%s where the policy does not permit it (%s)", plural(len(found)), because(found))}
	for _, chapter := range chapters {
		text := tell(found, chapter.states)
		if text == "" {
			continue
		}
		parts = append(parts, chapter.text+": "+text)
		if c.Reason == "" {
			c.Reason = chapter.reason
		}
	}
	c.Message = truncate(strings.Join(parts, "; "))
	return c
}

func plural(pods int) string {
	if pods == 1 {
		return "1 pod is"
	}
	return fmt.Sprintf("%d pods are", pods)
}

// because lists why the policy does not permit the pods where they are.
func because(found []violation) string {
	reasons := map[string]bool{}
	for _, v := range found {
		reasons[v.verdict.Message] = true
	}
	return strings.Join(slices.Sorted(maps.Keys(reasons)), ", ")
}

// tell lists the pods in one of the states, those with the same explanation together.
func tell(found []violation, states []state) string {
	names := map[string][]string{}
	for _, v := range found {
		if slices.Contains(states, v.state) {
			names[v.why] = append(names[v.why], v.pod.Name)
		}
	}
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(names)) {
		slices.Sort(names[why])
		text := listed(names[why])
		if why != "" {
			text += " (" + why + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

func listed(names []string) string {
	if len(names) <= maxListed {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), len(names)-maxListed)
}

func truncate(text string) string {
	if len(text) <= maxMessage {
		return text
	}
	return strings.ToValidUTF8(text[:maxMessage-3], "") + "..."
}
