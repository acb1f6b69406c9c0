package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// pollInterval is how often a wait looks.
const pollInterval = 250 * time.Millisecond

// verdict is what a look at a namespace says: whether the wait is over, how to say where it stands, and what is wrong.
type verdict struct {
	over     bool
	sentence string
	err      error
}

// offloaded judges a namespace that shall be offloaded. What failed does not wait for the timeout: it says why.
func offloaded(off *v1beta1.NamespaceOffloading) verdict {
	if off.Status.ObservedGeneration < off.Generation {
		return verdict{sentence: "waiting for the controller-manager to see the change"}
	}
	switch off.Status.OffloadingPhase {
	case v1beta1.PhaseReady:
		return verdict{over: true, sentence: "ready on " + strings.Join(clusters(off, isReady), ", ")}
	case v1beta1.PhaseNoClusterSelected:
		return verdict{over: true}
	case v1beta1.PhaseAllFailed, v1beta1.PhaseSomeFailed:
		return verdict{over: true, err: fmt.Errorf("namespace %s is not offloaded everywhere (%s): %s",
			off.Namespace, off.Status.OffloadingPhase, reasons(off))}
	case v1beta1.PhaseTerminating:
		return verdict{over: true, err: fmt.Errorf("namespace %s is being un-offloaded: %s; repeat this when it is",
			off.Namespace, reasons(off))}
	}
	return verdict{sentence: "waiting for twins: " + reasons(off)}
}

// awaitOffloaded shows how the twins come about, until they have or a reason is known why not.
func (a *app) awaitOffloaded(
	ctx context.Context, home *cluster, off *v1beta1.NamespaceOffloading, timeout time.Duration,
) error {
	var last verdict
	err := poll(ctx, timeout, func(ctx context.Context) (bool, error) {
		if err := home.Get(ctx, client.ObjectKeyFromObject(off), off); err != nil {
			return false, fmt.Errorf("look at namespace %s: %w", off.Namespace, err)
		}
		now := offloaded(off)
		if now.sentence != last.sentence && now.sentence != "" {
			a.progress(now.sentence)
		}
		last = now
		return now.over, now.err
	})
	switch {
	case isTimeout(ctx, err):
		return fmt.Errorf("namespace %s is not ready after %s: %s; it goes on by itself, see liqoctl info",
			off.Namespace, timeout, last.sentence)
	case err != nil:
		return err
	case off.Status.OffloadingPhase == v1beta1.PhaseNoClusterSelected:
		a.warn(fmt.Sprintf("no cluster matches the selector of namespace %s; one that does later is used by itself%s",
			off.Namespace, selectorError(off)))
	default:
		a.success("namespace %s is offloaded", off.Namespace)
	}
	return nil
}

func selectorError(off *v1beta1.NamespaceOffloading) string {
	if text := off.Annotations[v1beta1.AnnotationSelectorError]; text != "" {
		return " (" + text + ")"
	}
	return ""
}

// awaitHome shows how the twins go, until none is left. An offloading that somebody made anew is another one.
func (a *app) awaitHome(
	ctx context.Context, home *cluster, gone *v1beta1.NamespaceOffloading, timeout time.Duration,
) error {
	namespace, said := gone.Namespace, ""
	err := poll(ctx, timeout, func(ctx context.Context) (bool, error) {
		off := &v1beta1.NamespaceOffloading{}
		err := home.Get(ctx, client.ObjectKeyFromObject(gone), off)
		if apierrors.IsNotFound(err) || (err == nil && off.UID != gone.UID) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("look at namespace %s: %w", namespace, err)
		}
		now := "waiting for twins to go"
		if len(off.Status.RemoteNamespacesConditions) > 0 {
			now += ": " + reasons(off)
		}
		if now != said {
			said = now
			a.progress(now)
		}
		return false, nil
	})
	if isTimeout(ctx, err) {
		return fmt.Errorf("namespace %s still has twins after %s: %s; it goes on by itself, see liqoctl info, or "+
			"leave them behind with --force", namespace, timeout, said)
	}
	return err
}

// poll looks until the look says that it is over. The timeout ends the wait, not a look that is under way.
func poll(ctx context.Context, timeout time.Duration, look wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextTimeout(ctx, pollInterval, timeout, true, func(context.Context) (bool, error) {
		return look(ctx)
	})
}

// isTimeout tells a wait that took too long from one that was interrupted.
func isTimeout(ctx context.Context, err error) bool {
	return errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
}

// reasons says, cluster by cluster, what is not ready and why.
func reasons(off *v1beta1.NamespaceOffloading) string {
	var out []string
	for _, id := range slices.Sorted(maps.Keys(off.Status.RemoteNamespacesConditions)) {
		for _, c := range off.Status.RemoteNamespacesConditions[id] {
			if c.Type == v1beta1.ConditionReady && !isReady(c) {
				out = append(out, strings.TrimSuffix(fmt.Sprintf("%s: %s, %s", id, c.Reason, c.Message), ", "))
			}
		}
	}
	if len(out) == 0 {
		return "no cluster has answered yet"
	}
	return strings.Join(out, "; ")
}

// clusters returns the clusters that have a condition which keep keeps.
func clusters(off *v1beta1.NamespaceOffloading, keep func(v1beta1.ClusterCondition) bool) []string {
	out := []string{}
	for id, conditions := range off.Status.RemoteNamespacesConditions {
		if slices.ContainsFunc(conditions, keep) {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

func isReady(c v1beta1.ClusterCondition) bool {
	return c.Type == v1beta1.ConditionReady && c.Status == "True"
}
