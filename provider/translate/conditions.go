package translate

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Offloaded is our condition on a home pod. True: its remote pod has existed, which is remembered here so that a
// restarted agent can tell "not created yet" from "gone". False: why it has not been created.
const Offloaded corev1.PodConditionType = "offloading.liqo.io/Offloaded"

// ReasonUnschedulable is the reason of a home pod whose remote pod no node of the provider takes.
const ReasonUnschedulable = corev1.PodReasonUnschedulable

// Existed tells whether the status of a home pod remembers that a remote pod of it has existed.
func Existed(home *corev1.Pod) bool {
	if home.Status.Phase == corev1.PodRunning || Finished(home.Status.Phase) {
		return true
	}
	c := find(home.Status.Conditions, Offloaded)
	return c != nil && c.Status == corev1.ConditionTrue
}

// mirrored are the conditions that a kubelet sets. A provider has no say in others: they are set at home, and home's
// controllers believe them. PodScheduled is home's too, as the home pod is bound.
func mirrored() []corev1.PodConditionType {
	return []corev1.PodConditionType{
		corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady,
		corev1.DisruptionTarget, corev1.PodResizePending, corev1.PodResizeInProgress, corev1.AllContainersRestarting,
	}
}

func (v View) conditions(out *corev1.PodStatus, home, away *corev1.Pod) {
	for _, t := range mirrored() {
		src := find(away.Status.Conditions, t)
		if src == nil || !known(src.Status) {
			// A disruption that home announced stays announced.
			if t != corev1.DisruptionTarget {
				out.Conditions = slices.DeleteFunc(out.Conditions,
					func(c corev1.PodCondition) bool { return c.Type == t })
			}
			continue
		}
		c := *src
		c.Reason, c.Message = cut(c.Reason, maxMessage), cut(c.Message, maxMessage)
		c.LastProbeTime.Reset() // changes without a change
		if c.ObservedGeneration != 0 {
			c.ObservedGeneration = home.Generation
		}
		if t == corev1.PodReady {
			v.set(out, home, v.ready(c, home))
			continue
		}
		put(out, c)
	}
	v.set(out, home, v.offloaded(out, away))
}

// ready weighs what only home knows: the readiness gates, and whether the provider can be reached.
func (v View) ready(c corev1.PodCondition, home *corev1.Pod) corev1.PodCondition {
	if c.Status != corev1.ConditionTrue {
		return c
	}
	for _, gate := range home.Spec.ReadinessGates {
		g := find(home.Status.Conditions, gate.ConditionType)
		if g == nil || g.Status != corev1.ConditionTrue {
			c.Status, c.Reason = corev1.ConditionFalse, "ReadinessGatesNotReady"
			c.Message = fmt.Sprintf("the status of pod readiness gate %q is not True", gate.ConditionType)
		}
	}
	if v.Unreachable {
		c.Status, c.Reason = corev1.ConditionFalse, "ProviderUnreachable"
		c.Message = "the provider cannot be reached, so nobody knows whether the pod is ready"
	}
	return c
}

// Unsure returns a home pod's status when all that is known is whether its provider can be reached.
func (v View) Unsure(home *corev1.Pod) corev1.PodStatus {
	out := *home.Status.DeepCopy()
	if c := find(home.Status.Conditions, corev1.PodReady); c != nil && v.Unreachable && !Finished(out.Phase) {
		v.set(&out, home, v.ready(*c, home))
	}
	return out
}

// offloaded also tells, in the pod's own reason, when no node over there takes the pod.
func (v View) offloaded(out *corev1.PodStatus, away *corev1.Pod) corev1.PodCondition {
	c := corev1.PodCondition{
		Type: Offloaded, Status: corev1.ConditionTrue, Reason: "Created",
		Message: fmt.Sprintf("remote pod %s/%s, uid %s", away.Namespace, away.Name, away.UID),
	}
	if told := away.Status.PodIP; told != "" && out.PodIP == "" {
		c.Message += cut(fmt.Sprintf("; its address %s is none that pods of the provider may have", told), maxMessage/4)
	}
	s := find(away.Status.Conditions, corev1.PodScheduled)
	if out.Phase == corev1.PodPending && s != nil && s.Status == corev1.ConditionFalse &&
		s.Reason == corev1.PodReasonUnschedulable {
		c.Reason = ReasonUnschedulable
		c.Message = cut("no node of the provider takes the pod: "+s.Message, maxMessage)
		out.Reason, out.Message = c.Reason, c.Message
	}
	return c
}

// disrupt says that not the pod but its place was at fault.
func (v View) disrupt(out *corev1.PodStatus, reason, message string) {
	if c := find(out.Conditions, corev1.DisruptionTarget); c != nil && c.Status == corev1.ConditionTrue {
		return
	}
	put(out, corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, Message: cut(message, maxMessage),
		LastTransitionTime: v.Now, ObservedGeneration: out.ObservedGeneration,
	})
	if out.Reason == "" {
		out.Reason, out.Message = reason, cut(message, maxMessage)
	}
}

// set puts a condition whose transition is known only at home: its time changes with its status, and with nothing else.
func (v View) set(out *corev1.PodStatus, home *corev1.Pod, c corev1.PodCondition) {
	had := find(home.Status.Conditions, c.Type)
	switch {
	case had != nil && had.Status == c.Status:
		c.LastTransitionTime = had.LastTransitionTime
	case c.LastTransitionTime.IsZero() || had != nil:
		c.LastTransitionTime = v.Now
	}
	put(out, c)
}

func put(out *corev1.PodStatus, c corev1.PodCondition) {
	if had := find(out.Conditions, c.Type); had != nil {
		*had = c
		return
	}
	out.Conditions = append(out.Conditions, c)
}

func find(list []corev1.PodCondition, t corev1.PodConditionType) *corev1.PodCondition {
	for i := range list {
		if list[i].Type == t {
			return &list[i]
		}
	}
	return nil
}

func known(s corev1.ConditionStatus) bool {
	return s == corev1.ConditionTrue || s == corev1.ConditionFalse || s == corev1.ConditionUnknown
}

func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// CreatedBefore tells whether the remote pod of a home pod was known to exist before t.
func CreatedBefore(home *corev1.Pod, t metav1.Time) bool {
	c := find(home.Status.Conditions, Offloaded)
	return c != nil && c.Status == corev1.ConditionTrue && c.LastTransitionTime.Before(&t)
}
