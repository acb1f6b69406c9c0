package main

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

// drainPlan says what becomes of the pods of a node.
type drainPlan struct {
	// leave are the pods that are evicted, or that leave already; of these nobody would replace the single ones, and
	// the data of the stateful ones goes with them.
	leave            []corev1.Pod
	single, stateful []string
	// stay are the pods that would come back.
	stay []string
}

// planDrain sorts the pods of a node, by name. Finished ones need no attention.
func planDrain(pods []corev1.Pod) drainPlan {
	var plan drainPlan
	slices.SortFunc(pods, func(a, b corev1.Pod) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	for i := range pods {
		pod := &pods[i]
		name := pod.Namespace + "/" + pod.Name
		switch {
		case pod.DeletionTimestamp != nil:
			plan.leave = append(plan.leave, *pod)
		case pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed:
		case nodefit.BelongsToNode(pod):
			plan.stay = append(plan.stay, name)
		default:
			plan.leave = append(plan.leave, *pod)
			if metav1.GetControllerOf(pod) == nil {
				plan.single = append(plan.single, name)
			}
			if hasEmptyDir(pod) {
				plan.stateful = append(plan.stateful, name)
			}
		}
	}
	return plan
}

func hasEmptyDir(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.EmptyDir != nil })
}

// refusal says what would be lost that nobody has accepted to lose.
func (p drainPlan) refusal(f *drainFlags) error {
	var errs []string
	if len(p.single) > 0 && !f.force {
		errs = append(errs, fmt.Sprintf("no controller would replace %s (--force evicts them all the same)",
			shortened(p.single)))
	}
	if len(p.stateful) > 0 && !f.emptyDir {
		errs = append(errs, fmt.Sprintf("%s would lose the data in emptyDir volumes (--delete-emptydir-data accepts "+
			"that)", shortened(p.stateful)))
	}
	if len(errs) == 0 {
		return nil
	}
	return errors.New(strings.Join(errs, "; "))
}

// ownerOf tells pods apart that budgets treat alike: by controller, or one by one.
func ownerOf(pod *corev1.Pod) any {
	if owner := metav1.GetControllerOf(pod); owner != nil {
		return owner.UID
	}
	return pod.Namespace + "/" + pod.Name
}

// drainWaits are the pods that are waited for.
type drainWaits struct {
	leaving, held []string
	// why is the first reason by which one is held.
	why string
}

// add notes a pod that leaves, or that is held for a reason.
func (w *drainWaits) add(pod *corev1.Pod, why string) {
	name := pod.Namespace + "/" + pod.Name
	if why == "" {
		w.leaving = append(w.leaving, name)
		return
	}
	w.held = append(w.held, name)
	w.why = cmp.Or(w.why, why)
}

// String says what is waited for, or nothing.
func (w *drainWaits) String() string {
	var parts []string
	if len(w.leaving) > 0 {
		parts = append(parts, fmt.Sprintf("waiting for %s to end: %s", counted(len(w.leaving), "pod"),
			shortened(w.leaving)))
	}
	if len(w.held) > 0 {
		parts = append(parts, fmt.Sprintf("held by a PodDisruptionBudget: %s (%s)", shortened(w.held),
			w.why))
	}
	return strings.Join(parts, "; ")
}
