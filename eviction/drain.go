package eviction

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
	"github.com/twinspace/twinspace/schedplugin/placement/nodefit"
)

// Reasons of the events about pods of a virtual node that is on its way out.
const (
	// ReasonDrained: the pod was evicted.
	ReasonDrained = "VirtualNodeDrained"
	// ReasonDrainHeld: a PodDisruptionBudget does not let the pod go yet.
	ReasonDrainHeld = "VirtualNodeDrainHeld"
)

// heldFor is for how long what was said of a node's pods is remembered, after nobody asks to drain it any more.
const heldFor = time.Hour

// heldPods is what was said of the pods of a node that budgets hold.
type heldPods struct {
	told  map[types.UID]string
	asked time.Time
}

// Drain evicts the pods of a virtual node that is on its way out, as far as budgets let them go, and returns what is
// waited for; "" means that no pod is left that must go before the node. It is for one caller at a time, who asks
// again.
//
// Nothing is evicted before the node is cordoned, or what is evicted comes back. All pods go, those without a
// controller too: the node will be gone, and they with it.
func (r *Reconciler) Drain(ctx context.Context, name string) (string, error) {
	r.forgetHeld()
	node := &corev1.Node{}
	err := r.Live.Get(ctx, client.ObjectKey{Name: name}, node)
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("get node %s: %w", name, err)
	case !placement.IsVirtual(node):
		return "", nil // an ordinary node that happens to have the name
	}
	pods, err := r.pods(ctx, client.MatchingFields{"spec.nodeName": name})
	if err != nil {
		return "", err
	}
	left := draining(pods)
	if !node.Spec.Unschedulable {
		return fmt.Sprintf("waiting for the agent to cordon Node %s", name), nil
	}
	err = r.drain(ctx, node, left)
	return drainSentence(left), err
}

// draining returns the pods that have to leave a node before it goes, by name. Those of a DaemonSet that tolerate the
// taint of a node that leaves would come back for as long as there is a node, so they go with it.
func draining(pods []corev1.Pod) []violation {
	leavingTaint := v1beta1.TaintLeaving()
	var left []violation
	for i := range pods {
		pod := &pods[i]
		switch {
		case pod.DeletionTimestamp != nil:
			left = append(left, violation{pod: pod, state: leaving})
		case finished(pod), nodefit.BelongsToNode(pod) && nodefit.Tolerates(pod, &leavingTaint):
		default:
			left = append(left, violation{pod: pod, state: queued})
		}
	}
	slices.SortFunc(left, func(a, b violation) int {
		return cmp.Or(cmp.Compare(a.pod.Namespace, b.pod.Namespace), cmp.Compare(a.pod.Name, b.pod.Name))
	})
	return left
}

// drain asks for the evictions, and notes what came of them.
func (r *Reconciler) drain(ctx context.Context, node *corev1.Node, left []violation) error {
	var errs []error
	told, began := map[types.UID]string{}, r.Clock.Now()
	for i := range left {
		v := &left[i]
		if v.state != queued || r.Clock.Since(began) >= evictFor || !r.Limit.TryAccept() {
			continue
		}
		err := r.evictOne(ctx, v.pod)
		switch why, held := heldBack(err); {
		case err == nil:
			v.state = leaving
			r.Events.Eventf(v.pod, node, corev1.EventTypeNormal, ReasonDrained, "Drain",
				"virtual node %s is on its way out", node.Name)
		case apierrors.IsNotFound(err), apierrors.IsConflict(err):
			v.state = leaving
		case held:
			v.state, v.why = budget, why
			if told[v.pod.UID] = why; r.saidHeld(node.Name)[v.pod.UID] != why {
				r.Events.Eventf(v.pod, node, corev1.EventTypeWarning, ReasonDrainHeld, "Drain", "%s", truncate(why))
			}
		default:
			v.state, v.why = failed, err.Error()
			errs = append(errs, err)
		}
	}
	r.rememberHeld(node.Name, left, told)
	return errors.Join(errs...)
}

// rememberHeld keeps what was told of a node's pods that are held, so that it is told once. What is known of those that
// were not asked for this time stays; pods that are not there any more are forgotten.
func (r *Reconciler) rememberHeld(node string, left []violation, told map[types.UID]string) {
	before := r.saidHeld(node)
	for i := range left {
		uid := left[i].pod.UID
		if why := before[uid]; why != "" && told[uid] == "" && left[i].state == queued {
			told[uid] = why
		}
	}
	if len(told) == 0 {
		delete(r.toldHeld, node)
		return
	}
	if r.toldHeld == nil {
		r.toldHeld = map[string]*heldPods{}
	}
	r.toldHeld[node] = &heldPods{told: told, asked: r.Clock.Now()}
}

// saidHeld returns what was told of the pods of a node that are held.
func (r *Reconciler) saidHeld(node string) map[types.UID]string {
	if held := r.toldHeld[node]; held != nil {
		return held.told
	}
	return nil
}

// forgetHeld drops nodes that went, or that stay after all, while pods were held there.
func (r *Reconciler) forgetHeld() {
	maps.DeleteFunc(r.toldHeld, func(_ string, held *heldPods) bool { return r.Clock.Since(held.asked) >= heldFor })
}

// drainSentence says what a node waits for, or nothing.
func drainSentence(left []violation) string {
	if len(left) == 0 {
		return ""
	}
	parts := []string{fmt.Sprintf("waiting for %d pods to leave", len(left))}
	for _, chapter := range []struct {
		state state
		text  string
	}{
		{failed, "tried again because the eviction failed"},
		{leaving, "leaving"},
		{queued, "waiting for their turn"},
		{budget, "held by a PodDisruptionBudget"},
	} {
		if text := tellOf(left, chapter.state); text != "" {
			parts = append(parts, chapter.text+": "+text)
		}
	}
	return truncate(strings.Join(parts, "; "))
}

// tellOf lists the pods in a state, those with the same explanation together.
func tellOf(left []violation, s state) string {
	var whys []string
	names := map[string][]string{}
	for _, v := range left {
		if v.state != s {
			continue
		}
		if names[v.why] == nil {
			whys = append(whys, v.why)
		}
		names[v.why] = append(names[v.why], v.pod.Namespace+"/"+v.pod.Name)
	}
	var parts []string
	for _, why := range whys {
		text := listed(names[why])
		if why != "" {
			text += " (" + why + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}
