package schedplugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

// patchAttempts is how often a toleration is tried to be added to a pod that others change at the same time.
const patchAttempts = 4

// Bind is the last look before a pod is bound, and leaves the binding itself to the plugin after it: the policy must be
// in force still, and a pod that goes to a virtual node must tolerate it.
func (o *Offloading) Bind(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, node string) *fwk.Status {
	c, err := cycleOf(state)
	if err != nil {
		return fwk.AsStatus(err)
	}
	c.checked.Store(true)
	if err := o.proofs.confirm(ctx, pod, c.identity); errors.Is(err, errChanged) {
		return fwk.NewStatus(fwk.Unschedulable, err.Error())
	} else if err != nil {
		return fwk.AsStatus(err)
	}
	target, err := o.nodes.Get(node)
	if err != nil {
		return fwk.AsStatus(fmt.Errorf("bind to %s: %w", node, err))
	}
	if placement.IsVirtual(target) {
		// The taint did not keep the pod away: it is just being taken off the node, or put on.
		if verdict := c.rule.On(target); verdict.Outcome != placement.Permitted {
			return fwk.AsStatus(fmt.Errorf("bind to %s: %s", node, verdict.Message))
		}
		if err := o.tolerate(ctx, pod); err != nil {
			return fwk.AsStatus(err)
		}
	}
	return fwk.NewStatus(fwk.Skip)
}

// PostBind notices a configuration in which another plugin binds first. Pods without the toleration would be evicted
// from virtual nodes over and over; no more are sent there.
func (o *Offloading) PostBind(ctx context.Context, state fwk.CycleState, pod *corev1.Pod, _ string) {
	c, err := cycleOf(state)
	if err != nil || c.checked.Load() || o.unordered.Swap(true) {
		return
	}
	klog.FromContext(ctx).Error(nil, "A pod was bound without a look at its namespace's policy; "+
		"list "+Name+" under plugins.bind.enabled of this profile", "pod", klog.KObj(pod))
}

// tolerate adds the toleration of virtual nodes to the pod, unless it has one. It is the one change of a pending pod's
// spec that the API server allows. A crash after it is harmless: the policy, not the toleration, decides next time.
func (o *Offloading) tolerate(ctx context.Context, pod *corev1.Pod) error {
	client := o.pods.Pods(pod.Namespace)
	for range patchAttempts {
		if tolerates(pod) {
			return nil
		}
		patch, err := tolerationPatch(pod)
		if err != nil {
			return err
		}
		_, err = client.Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		if !apierrors.IsConflict(err) {
			if err != nil {
				return fmt.Errorf("add toleration to pod %s: %w", klog.KObj(pod), err)
			}
			return nil
		}
		uid := pod.UID
		if pod, err = client.Get(ctx, pod.Name, metav1.GetOptions{}); err != nil {
			return fmt.Errorf("add toleration: read pod again: %w", err)
		}
		if pod.UID != uid {
			return fmt.Errorf("add toleration: pod %s was replaced by another of its name", klog.KObj(pod))
		}
	}
	return fmt.Errorf("add toleration: pod %s changed %d times meanwhile", klog.KObj(pod), patchAttempts)
}

// tolerationPatch returns a merge patch, which replaces the list as a whole, and therefore insists on the very version
// of the pod that the list was read from.
func tolerationPatch(pod *corev1.Pod) ([]byte, error) {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID, "resourceVersion": pod.ResourceVersion},
		"spec":     map[string]any{"tolerations": tolerant(pod).Spec.Tolerations},
	})
	if err != nil {
		return nil, fmt.Errorf("write toleration patch: %w", err)
	}
	return patch, nil
}

// tolerates says whether the pod tolerates virtual nodes by itself.
func tolerates(pod *corev1.Pod) bool {
	taint := v1beta1.Taint()
	return nodefit.Tolerates(pod, &taint)
}

// tolerant returns a copy of the pod that tolerates virtual nodes; it shares with the pod all but the tolerations.
func tolerant(pod *corev1.Pod) *corev1.Pod {
	dup := *pod
	dup.Spec.Tolerations = append(slices.Clone(pod.Spec.Tolerations), v1beta1.Toleration())
	return &dup
}

// tainted says whether the taint keeps pods that do not tolerate it off the node.
func tainted(node *corev1.Node) bool {
	return slices.ContainsFunc(node.Spec.Taints, func(taint corev1.Taint) bool { return nodefit.Ours(&taint) })
}
