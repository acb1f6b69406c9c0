package eviction

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	podresource "k8s.io/component-helpers/resource"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"

	"github.com/twinspace/twinspace/schedplugin/placement"
	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

// room knows what is free on the nodes that a namespace may use, less what was promised in this round.
type room struct {
	// nodes are all of the cluster, sorted by name.
	nodes []corev1.Node
	of    rules
	// bound returns the pods that are bound to a node. It is asked at most once for each.
	bound func(node string) ([]corev1.Pod, error)
	// pins returns, for a pod with volumes, what those demand of its node.
	pins func(pod *corev1.Pod) ([]*nodeaffinity.NodeSelector, error)

	free map[string]corev1.ResourceList
}

// take promises a pod the first node that could take it and is not the one that it is on. When there is none it says
// why, counting nodes. What it does not look at is whether pods attract or repel each other: the scheduler does.
func (r *room) take(pod *corev1.Pod) (why string, err error) {
	demands, err := r.demands(pod)
	if err != nil {
		return "", err
	}
	refusals := map[string]int{}
	for i := range r.nodes {
		node := &r.nodes[i]
		if node.Name == pod.Spec.NodeName {
			continue
		}
		refusal := demands.refusal(node)
		if refusal == "" {
			if refusal, err = r.reserve(node, demands.requests); err != nil {
				return "", err
			}
		}
		if refusal == "" {
			return "", nil
		}
		refusals[refusal]++
	}
	return counted(refusals), nil
}

// demands are what a pod demands of a node.
type demands struct {
	rule     *placement.Rule
	pod      *corev1.Pod
	pins     []*nodeaffinity.NodeSelector
	requests corev1.ResourceList
}

func (r *room) demands(pod *corev1.Pod) (*demands, error) {
	pins, err := r.pins(pod)
	if err != nil {
		return nil, err
	}
	return &demands{
		rule: r.of(placement.RuntimeClass(pod)), pod: pod, pins: pins, requests: requests(pod),
	}, nil
}

// requests returns what a pod takes of a node, itself included.
func requests(pod *corev1.Pod) corev1.ResourceList {
	all := podresource.PodRequests(pod, podresource.PodResourcesOptions{})
	all[corev1.ResourcePods] = *resource.NewQuantity(1, resource.DecimalSI)
	return all
}

// refusal says, of a node as such, why it cannot take the pod.
func (d *demands) refusal(node *corev1.Node) string {
	if verdict := d.rule.On(node); verdict.Outcome != placement.Permitted {
		return verdict.Message
	}
	if placement.IsVirtual(node) {
		if misfits := placement.Misfits(d.pod, placement.ReadRoom(node)); len(misfits) > 0 {
			return misfits[0].Message
		}
	}
	switch matches, err := nodefit.Matches(d.pod, node); {
	case err != nil || !matches:
		return "the pod's own node selector or affinity does not match"
	case slices.ContainsFunc(d.pins, func(pin *nodeaffinity.NodeSelector) bool { return !pin.Match(node) }):
		return "a volume of the pod cannot be reached from there"
	case node.DeletionTimestamp != nil:
		return "the node is being deleted"
	case nodefit.Cordoned(d.pod, node):
		return "the node is cordoned"
	case !working(node):
		return "the node is not ready"
	}
	if taints := nodefit.Untolerated(d.pod, node); len(taints) > 0 {
		return fmt.Sprintf("the node has taint %s, which the pod does not tolerate", taints[0].Key)
	}
	return ""
}

func working(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue
	})
}

// reserve takes what a pod requests from what is free on a node, or says what it lacks.
func (r *room) reserve(node *corev1.Node, wants corev1.ResourceList) (string, error) {
	if lacks := lacking(node.Status.Allocatable, wants); lacks != "" {
		return lacks, nil // not even an empty node has it: nothing needs to be read for that
	}
	free, known := r.free[node.Name]
	if !known {
		pods, err := r.bound(node.Name)
		if err != nil {
			return "", err
		}
		free = node.Status.Allocatable.DeepCopy()
		for i := range pods {
			if !finished(&pods[i]) {
				subtract(free, requests(&pods[i]))
			}
		}
		if r.free == nil {
			r.free = map[string]corev1.ResourceList{}
		}
		r.free[node.Name] = free
	}
	if lacks := lacking(free, wants); lacks != "" {
		return lacks, nil
	}
	subtract(free, wants)
	return "", nil
}

func subtract(from, what corev1.ResourceList) {
	for name, quantity := range what {
		left := from[name]
		left.Sub(quantity)
		from[name] = left
	}
}

// lacking names the resources of which there is not enough.
func lacking(free, wants corev1.ResourceList) string {
	var names []string
	for _, name := range nodefit.Lacking(free, wants) {
		names = append(names, string(name))
	}
	if len(names) == 0 {
		return ""
	}
	return "not enough " + strings.Join(names, " and ") + " is free"
}

// counted says how many nodes refuse for which reason, in the order of the reasons.
func counted(refusals map[string]int) string {
	if len(refusals) == 0 {
		return "there is no other node"
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(refusals)) {
		parts = append(parts, fmt.Sprintf("%d × %s", refusals[reason], reason))
	}
	return strings.Join(parts, ", ")
}
