package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// drainInterval is how often it is looked which pods are left, and asked again for those that a budget held.
const drainInterval = time.Second

// drainFlags are the flags of drain.
type drainFlags struct {
	force, emptyDir bool
	grace           *time.Duration // nil is what each pod says
	timeout         time.Duration
}

func (a *app) drain() *cobra.Command {
	var f drainFlags
	var grace time.Duration
	cmd := &cobra.Command{
		Use:   "drain NODE",
		Short: "Empty a virtual node",
		Long: `Cordon a virtual node and evict its pods, so that their controllers make others elsewhere. Grace
periods and PodDisruptionBudgets hold, however long that takes; --timeout bounds the wait, not the budgets.

Pods of DaemonSets stay: they would come back. Pods without a controller would be lost, and data in emptyDir volumes
is: unless --force or --delete-emptydir-data accept that, nothing is done where there are some.

The node, the twins and the peering stay. liqoctl uncordon opens the node again.`,
		Args: exactly("NODE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.timeout <= 0 {
				return usage("--timeout must be more than 0")
			}
			if cmd.Flags().Changed("grace-period") {
				if grace < 0 {
					return usage("--grace-period must not be less than 0")
				}
				f.grace = &grace
			}
			return a.drainNode(cmd.Context(), args[0], &f)
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&f.force, "force", false, "evict pods too that no controller would replace")
	flags.BoolVar(&f.emptyDir, "delete-emptydir-data", false, "evict pods too that have data in emptyDir volumes")
	flags.DurationVar(&grace, "grace-period", 0, "how long pods may take to end; default: what each pod says")
	flags.DurationVar(&f.timeout, "timeout", 5*time.Minute, "how long to wait for the pods to be gone")
	return cmd
}

func (a *app) drainNode(ctx context.Context, name string, f *drainFlags) error {
	home, node, err := a.virtualNode(ctx, name, "drain")
	if err != nil {
		return err
	}
	pods, err := podsOn(ctx, home, name)
	if err != nil {
		return err
	}
	plan := planDrain(pods)
	if err := plan.refusal(f); err != nil {
		return fmt.Errorf("node %s was not drained: %w", name, err)
	}
	question := fmt.Sprintf("This evicts %s from node %s.", counted(len(plan.leave), "pod"), name)
	if err := a.confirm(question); err != nil {
		return err
	}
	if !node.Spec.Unschedulable {
		if err := setCordon(ctx, home, node, true); err != nil {
			return err
		}
		a.progress("node " + name + " takes no more pods")
	}
	if err := a.awaitEmpty(ctx, home, name, f); err != nil {
		return err
	}
	if len(plan.stay) > 0 {
		a.progress("pods of DaemonSets stay: " + shortened(plan.stay))
	}
	a.success("node %s is drained; liqoctl uncordon %s opens it again", name, name)
	return nil
}

// awaitEmpty evicts until no pod is left that has to leave. Pods that came after the cordon count as well.
func (a *app) awaitEmpty(ctx context.Context, home *cluster, name string, f *drainFlags) error {
	said := ""
	err := wait.PollUntilContextTimeout(ctx, drainInterval, f.timeout, true, func(context.Context) (bool, error) {
		pods, err := podsOn(ctx, home, name) // the timeout ends the wait, not a look that is under way
		if err != nil {
			return false, err
		}
		plan := planDrain(pods)
		if err := plan.refusal(f); err != nil {
			return false, fmt.Errorf("node %s is cordoned, and not empty: %w", name, err)
		}
		waits, err := evictAll(ctx, home, plan.leave, f)
		if now := waits.String(); err == nil && now != "" && now != said {
			said = now
			a.progress(now)
		}
		return len(plan.leave) == 0, err
	})
	if isTimeout(ctx, err) {
		return fmt.Errorf("node %s still has pods after %s, %s; it stays cordoned, repeat the command to go on", name,
			f.timeout, said)
	}
	return err
}

func podsOn(ctx context.Context, home *cluster, node string) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := home.List(ctx, &list, client.MatchingFields{"spec.nodeName": node}); err != nil {
		return nil, fmt.Errorf("list the pods of node %s: %w", node, err)
	}
	return list.Items, nil
}

// evictAll asks once for the eviction of each pod that is not leaving yet, and returns what each waits for. What a
// budget says of one pod of a controller holds for the others, which are not asked for.
func evictAll(ctx context.Context, home *cluster, pods []corev1.Pod, f *drainFlags) (drainWaits, error) {
	var waits drainWaits
	held := map[any]string{}
	for i := range pods {
		pod := &pods[i]
		if pod.DeletionTimestamp != nil {
			waits.add(pod, "")
			continue
		}
		of := ownerOf(pod)
		if why, is := held[of]; is {
			waits.add(pod, why)
			continue
		}
		err := evictPod(ctx, home, pod, f.grace)
		switch {
		case err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err):
			waits.add(pod, "")
		case budgetHolds(err) != "":
			held[of] = budgetHolds(err)
			waits.add(pod, held[of])
		default:
			return waits, fmt.Errorf("evict pod %s/%s: %w", pod.Namespace, pod.Name, err)
		}
	}
	return waits, nil
}

// evictPod asks for the eviction of exactly this pod.
func evictPod(ctx context.Context, home *cluster, pod *corev1.Pod, grace *time.Duration) error {
	eviction := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(pod.UID)}},
	}
	if grace != nil {
		whole := int64((*grace + time.Second - 1) / time.Second) // half a second must not become none
		eviction.DeleteOptions.GracePeriodSeconds = &whole
	}
	return home.SubResource("eviction").Create(ctx, pod, eviction)
}

// budgetHolds returns the words by which a PodDisruptionBudget holds a pod, or nothing.
func budgetHolds(err error) string {
	var status apierrors.APIStatus
	if !apierrors.IsTooManyRequests(err) || !errors.As(err, &status) {
		return ""
	}
	if details := status.Status().Details; details != nil {
		for _, cause := range details.Causes {
			if cause.Type == policyv1.DisruptionBudgetCause && cause.Message != "" {
				return cause.Message
			}
		}
	}
	return status.Status().Message
}
