package main

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
)

// podOwnedBy is a running pod of a controller.
func podOwnedBy(kind, owner, name string) corev1.Pod {
	pod := build.Pod(name).Namespace("shop").Phase(corev1.PodRunning).Obj()
	pod.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: "apps/v1", Kind: kind, Name: owner, UID: types.UID(owner), Controller: ptr.To(true),
	}}
	return *pod
}

func TestPlanDrain(t *testing.T) {
	web := podOwnedBy("ReplicaSet", "web", "web-1")
	single := *build.Pod("single").Namespace("shop").Phase(corev1.PodRunning).Obj()
	cached := podOwnedBy("ReplicaSet", "web", "cached")
	cached.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{},
	}}}
	daemon := podOwnedBy("DaemonSet", "agents", "agent")
	done := *build.Pod("done").Namespace("shop").Phase(corev1.PodSucceeded).Obj()
	leaving := *build.Pod("leaving").Namespace("shop").Phase(corev1.PodRunning).Obj()
	leaving.DeletionTimestamp = ptr.To(metav1.Now())
	for name, tc := range map[string]struct {
		pods    []corev1.Pod
		flags   drainFlags
		leave   []string
		stay    []string
		refused string
	}{
		"an empty node":                      {},
		"pods of controllers leave":          {pods: []corev1.Pod{web}, leave: []string{"web-1"}},
		"pods of DaemonSets stay":            {pods: []corev1.Pod{daemon}, stay: []string{"shop/agent"}},
		"what is finished does not matter":   {pods: []corev1.Pod{done}},
		"what leaves already needs no flags": {pods: []corev1.Pod{leaving}, leave: []string{"leaving"}},
		"a pod that nobody would replace": {
			pods: []corev1.Pod{web, single}, leave: []string{"single", "web-1"},
			refused: "no controller would replace shop/single (--force evicts them all the same)",
		},
		"a pod that nobody would replace, by force": {
			pods: []corev1.Pod{single}, flags: drainFlags{force: true}, leave: []string{"single"},
		},
		"a pod with data": {
			pods: []corev1.Pod{cached}, leave: []string{"cached"},
			refused: "shop/cached would lose the data in emptyDir volumes (--delete-emptydir-data accepts that)",
		},
		"a pod with data that may go": {
			pods: []corev1.Pod{cached}, flags: drainFlags{emptyDir: true}, leave: []string{"cached"},
		},
		"both": {
			pods: []corev1.Pod{cached, single}, leave: []string{"cached", "single"},
			refused: "no controller would replace shop/single (--force evicts them all the same); shop/cached would " +
				"lose the data in emptyDir volumes (--delete-emptydir-data accepts that)",
		},
	} {
		t.Run(name, func(t *testing.T) {
			plan := planDrain(tc.pods)
			var leave []string
			for _, pod := range plan.leave {
				leave = append(leave, pod.Name)
			}
			if diff := cmp.Diff(tc.leave, leave); diff != "" {
				t.Errorf("leave (-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.stay, plan.stay); diff != "" {
				t.Errorf("stay (-want,+got):\n%s", diff)
			}
			refused := ""
			if err := plan.refusal(&tc.flags); err != nil {
				refused = err.Error()
			}
			if diff := cmp.Diff(tc.refused, refused); diff != "" {
				t.Errorf("refused (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestWhatADrainWaitsFor(t *testing.T) {
	var w drainWaits
	if got := w.String(); got != "" {
		t.Errorf("nothing is %q", got)
	}
	for i, name := range []string{"a", "b", "c", "d", "e", "f", "g"} {
		why := ""
		if i == 6 {
			why = "needs 2 healthy pods"
		}
		w.add(build.Pod(name).Namespace("shop").Obj(), why)
	}
	want := "waiting for 6 pods to end: shop/a, shop/b, shop/c, shop/d, shop/e and 1 more; held by a " +
		"PodDisruptionBudget: shop/g (needs 2 healthy pods)"
	if diff := cmp.Diff(want, w.String()); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

func TestBudgetHolds(t *testing.T) {
	plain := apierrors.NewTooManyRequests("slow down", 1)
	budget := apierrors.NewTooManyRequests("Cannot evict pod", 0)
	budget.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: "needs 2"}}
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"no error":          {nil, ""},
		"another error":     {errors.New("down"), ""},
		"a budget":          {budget, "needs 2"},
		"a busy API server": {plain, "slow down"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := budgetHolds(tc.err); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}
