package explanation

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/component-helpers/resource"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/schedplugin/placement"
	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

// admit changes a pod that does not exist yet as admission will when it is created, as far as this concerns where it
// may go, and returns what is worth knowing about that.
func (f *Facts) admit(pod *corev1.Pod) []string {
	defaultRequests(&pod.Spec)
	for _, key := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		taint := corev1.Taint{Key: key, Effect: corev1.TaintEffectNoExecute}
		if !nodefit.Tolerates(pod, &taint) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{
				Key: key, Operator: corev1.TolerationOpExists, Effect: taint.Effect,
				TolerationSeconds: ptr.To[int64](300),
			})
		}
	}
	name := placement.RuntimeClass(pod)
	if name == "" {
		return nil
	}
	class, read := f.Classes[name]
	switch {
	case !read:
		return []string{fmt.Sprintf("node selector and tolerations that RuntimeClass %q adds are not known", name)}
	case class == nil:
		return []string{fmt.Sprintf("the pod cannot be created: RuntimeClass %q does not exist "+
			"(kubectl get runtimeclasses lists those that do)", name)}
	}
	return append(overhead(pod, class), scheduling(pod, class)...)
}

// defaultRequests requests as much as a limit allows where nothing is requested.
func defaultRequests(spec *corev1.PodSpec) {
	for _, containers := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
		for i := range containers {
			own := &containers[i].Resources
			own.Requests = filled(own.Requests, own.Limits)
		}
	}
	if spec.Resources == nil {
		return
	}
	// What containers request counts before what the pod as a whole is limited to.
	limits := maps.Clone(spec.Resources.Limits)
	requested := resource.AggregateContainerRequests(&corev1.Pod{Spec: *spec}, resource.PodResourcesOptions{})
	maps.DeleteFunc(limits, func(name corev1.ResourceName, _ apiresource.Quantity) bool {
		_, found := requested[name]
		return found || !resource.IsSupportedPodLevelResource(name)
	})
	spec.Resources.Requests = filled(spec.Resources.Requests, limits)
}

// filled returns requests and, for what they do not name, limits.
func filled(requests, limits corev1.ResourceList) corev1.ResourceList {
	all := maps.Clone(limits)
	if all == nil {
		return requests
	}
	maps.Copy(all, requests)
	return all
}

func overhead(pod *corev1.Pod, class *nodev1.RuntimeClass) (notes []string) {
	if class.Overhead != nil {
		if len(pod.Spec.Overhead) > 0 && !apiequality.Semantic.DeepEqual(pod.Spec.Overhead, class.Overhead.PodFixed) {
			notes = append(notes, fmt.Sprintf(
				"the pod cannot be created: its overhead is not the one of RuntimeClass %q", class.Name))
		}
		pod.Spec.Overhead = class.Overhead.PodFixed
	}
	return notes
}

func scheduling(pod *corev1.Pod, class *nodev1.RuntimeClass) (notes []string) {
	if class.Scheduling == nil {
		return nil
	}
	pod.Spec.Tolerations = append(pod.Spec.Tolerations, class.Scheduling.Tolerations...)
	selector := maps.Clone(pod.Spec.NodeSelector)
	if selector == nil {
		selector = map[string]string{}
	}
	for _, key := range slices.Sorted(maps.Keys(class.Scheduling.NodeSelector)) {
		value := class.Scheduling.NodeSelector[key]
		if own, found := selector[key]; found && own != value {
			notes = append(notes, fmt.Sprintf("the pod cannot be created: its node selector says %s=%s, RuntimeClass "+
				"%q says %s=%s", key, own, class.Name, key, value))
			continue
		}
		selector[key] = value
	}
	pod.Spec.NodeSelector = selector
	return notes
}
