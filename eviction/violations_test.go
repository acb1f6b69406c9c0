package eviction

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestViolations(t *testing.T) {
	remote := build.Offloading("shop").Strategy(v1beta1.Remote)
	liqo := func(pod *corev1.Pod) { pod.Spec.RuntimeClassName = ptr.To(v1beta1.RuntimeClass) }
	tests := map[string]struct {
		off  *build.OffloadingBuilder
		pods []corev1.Pod
		want []string
	}{
		"LocalAndRemote permits pods everywhere": {
			off: build.Offloading("shop"), pods: []corev1.Pod{webPod("a", "home-1"), webPod("b", "b-1")},
		},
		"Local does not permit pods away": {
			off: local(), pods: []corev1.Pod{webPod("a", "home-1"), webPod("b", "b-1"), webPod("c", "c-1")},
			want: []string{"b queued", "c queued"},
		},
		"Remote does not permit pods at home": {
			off: remote, pods: []corev1.Pod{webPod("a", "home-1"), webPod("b", "b-1")}, want: []string{"a queued"},
		},
		"a selector does not permit pods on other clusters": {
			off:  build.Offloading("shop").Selector(build.Selector("region", "south")),
			pods: []corev1.Pod{webPod("a", "home-1"), webPod("b", "b-1"), webPod("c", "c-1")},
			want: []string{"b queued"},
		},
		"an invalid selector permits no cluster": {
			off:  build.Offloading("shop").Selector(build.Selector("not a label", "x")),
			pods: []corev1.Pod{webPod("a", "home-1"), webPod("b", "b-1")}, want: []string{"b queued"},
		},
		"the RuntimeClass permits a pod away under Local, and not at home": {
			off:  local(),
			pods: []corev1.Pod{with(webPod("a", "b-1"), liqo), with(webPod("b", "home-1"), liqo)},
			want: []string{"b queued"},
		},
		"pods that are not ready go first": {
			off:  local(),
			pods: []corev1.Pod{webPod("a", "b-1"), with(webPod("b", "b-1"), unready), webPod("c", "b-1")},
			want: []string{"b queued", "a queued", "c queued"},
		},
		"a pod that is being deleted is still there": {
			off: local(), pods: []corev1.Pod{with(webPod("a", "b-1"), deleted)}, want: []string{"a leaving"},
		},
		"a pod without controller stays": {
			off: local(), pods: []corev1.Pod{podOf("", "", "a", "b-1")}, want: []string{"a single"},
		},
		"pods of a scheduler that is not ours would come back": {
			off: local(), pods: []corev1.Pod{
				with(webPod("a", "b-1"), scheduledAs("theirs")),
				with(webPod("b", "b-1"), scheduledAs("liqo-scheduler")),
				with(webPod("c", "b-1"), scheduledAs("default-scheduler")), webPod("d", "b-1"),
			},
			want: []string{"a foreign", "b queued", "c queued", "d queued"},
		},
		"what is worse about them is told first": {
			off: local(), pods: []corev1.Pod{
				with(podOf("", "", "a", "b-1"), scheduledAs("theirs")),
				with(with(webPod("b", "b-1"), scheduledAs("theirs")), deleted),
			},
			want: []string{"a single", "b leaving"},
		},
		"pods that belong to their node are none of ours": {
			off: remote,
			pods: []corev1.Pod{
				podOf("DaemonSet", "log", "a", "home-1"), podOf("Node", "home-1", "b", "home-1"),
				with(podOf("", "", "c", "home-1"), func(p *corev1.Pod) {
					metav1.SetMetaDataAnnotation(&p.ObjectMeta, corev1.MirrorPodAnnotationKey, "x")
				}),
			},
		},
		"finished pods run nowhere": {
			off: local(),
			pods: []corev1.Pod{
				with(webPod("a", "b-1"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
				with(webPod("b", "b-1"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }),
			},
		},
		"pods without a node, or whose node is gone, are left to others": {
			off: remote, pods: []corev1.Pod{webPod("a", ""), webPod("b", "gone-1")},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := violations(tc.pods, rulesOf(tc.off), byName(cluster()), ours())
			if diff := cmp.Diff(tc.want, states(got)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
			for _, v := range got {
				if v.verdict.Message == "" {
					t.Errorf("nobody learns why %s may not stay", v.pod.Name)
				}
			}
		})
	}
}

// Before a policy was processed, and while a twin is not ready, verdicts are to wait: nobody is evicted for that.
func TestWaitingIsNoViolation(t *testing.T) {
	unprocessed := build.Offloading("shop").Strategy(v1beta1.Remote).Obj()
	r, _ := newReconciler(t, build.Namespace("shop").Label(v1beta1.LabelSchedulingEnabled, "true").Obj(),
		build.Map("b").Has("shop", "shop-a", v1beta1.MappingCreationLoopBackOff).Obj())
	pods := []corev1.Pod{webPod("home", "home-1"), webPod("away", "b-1")}
	for name, processed := range map[string]int64{"not processed": 0, "the twin failed": 1} {
		unprocessed.Status.ObservedGeneration = processed
		of, err := r.rules(t.Context(), unprocessed)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		if processed > 0 {
			want = []string{"home queued"}
		}
		if diff := cmp.Diff(want, states(violations(pods, of, byName(cluster()), ours()))); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", name, diff)
		}
	}
}
