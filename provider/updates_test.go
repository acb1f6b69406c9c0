package provider

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

func TestWhatCountsAsARefusalOfAChange(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	kind := schema.GroupKind{Kind: "Pod"}
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"policy": {apierrors.NewForbidden(pods, "web", errors.New("quota")), true},
		"invalid": {
			apierrors.NewInvalid(kind, "web", field.ErrorList{field.Forbidden(field.NewPath("spec"), "no")}), true,
		},
		"a pod of another uid": {
			apierrors.NewInvalid(kind, "web",
				field.ErrorList{field.Invalid(field.NewPath("metadata", "uid"), "1", "field is immutable")}), false,
		},
		"somebody was faster": {apierrors.NewConflict(pods, "web", errors.New("modified")), false},
		"the pod is gone":     {apierrors.NewNotFound(pods, "web"), false},
		"an API server without the subresource": {
			apierrors.NewGenericServerResponse(http.StatusNotFound, "patch", pods, "web", "404 page not found", 0,
				true),
			true,
		},
		"busy":    {apierrors.NewTooManyRequests("busy", 1), false},
		"cut off": {errors.New("connection reset by peer"), false},
		"wrapped": {fmt.Errorf("patch: %w", apierrors.NewForbidden(pods, "web", errors.New("quota"))), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := judged(tc.err); got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}

func TestHowLongAnUpdateRests(t *testing.T) {
	now := time.Unix(1000, 0)
	u := translate.Target{}.Update(build.Pod("web").UID("1").Obj())
	for name, tc := range map[string]struct {
		record
		lag  translate.Lag
		want time.Duration
	}{
		"never tried": {record{}, translate.Behind, -1},
		"refused a moment ago": {
			record{refused: u.ID(), notUpdated: now.Add(5 * time.Second)}, translate.Behind, 5 * time.Second,
		},
		"refused long ago": {
			record{refused: u.ID(), notUpdated: now.Add(-time.Second)}, translate.Behind, -1,
		},
		"something else was refused": {
			record{refused: "image.app=1", notUpdated: now.Add(5 * time.Second)}, translate.Behind, -1,
		},
		"labels were never repaired": {record{}, translate.Drifted, -1},
		"labels were repaired a moment ago": {
			record{repaired: now, pause: 4 * time.Second}, translate.Drifted, 4 * time.Second,
		},
		"home does not wait for repairs": {record{repaired: now, pause: 4 * time.Second}, translate.Behind, -1},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.restsFor(u, tc.lag, now); max(got, -1) != tc.want && (tc.want != -1 || got > 0) {
				t.Errorf("want %s, got %s", tc.want, got)
			}
		})
	}
}

func TestRepairsPauseLongerAndLonger(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	r := &record{}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		r.repair(clock.Now())
		if r.pause != want*time.Second {
			t.Errorf("pause %d is %s, want %ds", i, r.pause, want)
		}
		clock.Step(r.pause)
	}
	clock.Step(repairPeace)
	if r.repair(clock.Now()); r.pause != repairBase {
		t.Errorf("after a peace the pause is %s", r.pause)
	}
}

func TestSoonest(t *testing.T) {
	trouble := errors.New("trouble")
	for name, tc := range map[string]struct {
		errs []error
		want error
	}{
		"nothing":                    {nil, nil},
		"no wish":                    {[]error{nil, nil}, nil},
		"one wish":                   {[]error{nil, again{after: 3}}, again{after: 3}},
		"the shorter":                {[]error{again{after: 3}, nil, again{after: 2}}, again{after: 2}},
		"a backoff is not ended":     {[]error{again{after: 2}, again{after: 3, backoff: true}}, again{2, true}},
		"trouble comes first":        {[]error{again{after: 2}, trouble, again{after: 1}}, trouble},
		"waiting for a turn as well": {[]error{again{after: 2}, errParked}, errParked},
	} {
		t.Run(name, func(t *testing.T) {
			if got := soonest(tc.errs...); got != tc.want { //nolint:errorlint // exactly what was given
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}

func TestChangesReachOnlyAPodThatLives(t *testing.T) {
	running := build.Pod("web").UID("1").Phase(corev1.PodRunning).Obj()
	done := build.Pod("web").UID("1").Phase(corev1.PodSucceeded).Obj()
	ending := deletingIn(running, 30)
	down := &fakeHealth{err: errors.New("no answer")}
	for name, tc := range map[string]struct {
		home, away *corev1.Pod
		twin       twinPhase
		health     Health
		want       bool
	}{
		"both run":                       {home: running, away: running, twin: twinReady, want: true},
		"home is being deleted":          {home: ending, away: running, twin: twinReady},
		"the provider is deleting it":    {home: running, away: ending, twin: twinReady},
		"home has finished":              {home: done, away: running, twin: twinReady},
		"the remote pod has finished":    {home: running, away: done, twin: twinReady},
		"the twin is leaving":            {home: running, away: running, twin: twinLeaving},
		"the twin is being read":         {home: running, away: running, twin: twinSyncing},
		"the provider cannot be reached": {home: running, away: running, twin: twinReady, health: down},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPods(PodsOptions{Health: tc.health})
			defer p.queue.ShutDown()
			if got := p.changeable(&work{facts: facts{home: tc.home, away: tc.away, twin: tc.twin}}); got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}

// What the watch keeps of a remote pod is enough to see what it lacks, and no more than that of its spec.
func TestTheWatchKeepsWhatUpdatesNeed(t *testing.T) {
	home := build.Pod("web").UID("1").Label("app", "web").Annotation("long", fmt.Sprintf("%4096d", 1)).
		Request(corev1.ResourceCPU, "1").Obj()
	target := translate.Target{Origin: "home", Destination: provider, Node: "vn-1", Namespace: "shop-home"}
	away := target.Wanted(home)
	home.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: build.Image},
	}}
	away.Spec.EphemeralContainers = target.EphemeralContainers(home)
	away.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: fieldManager}}
	kept, err := onlyStatus(away.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	pod := kept.(*corev1.Pod)
	if lag := target.Update(home).Lag(pod); lag != translate.InStep {
		t.Errorf("the remote pod is %s", lag)
	}
	if len(pod.Spec.Containers) > 0 || pod.ManagedFields != nil || pod.Spec.EphemeralContainers[0].Image != "" ||
		len(pod.Annotations["long"]) > 128 {
		t.Errorf("too much is kept: %+v", pod)
	}
	pod.Labels = map[string]string{v1beta1.LabelOrigin: "home"}
	if lag := target.Update(home).Lag(pod); lag != translate.Drifted {
		t.Errorf("without its labels the remote pod is %s", lag)
	}
}
