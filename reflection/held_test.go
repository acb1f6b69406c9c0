package reflection

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func TestACopyThatSomebodyDeletesAndSomethingHoldsIsTold(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	h.settle("configmaps", "settings")
	hold := func(finalizers ...string) func(c client.Client) error {
		return func(c client.Client) error {
			held := copied(h, &corev1.ConfigMap{}, "settings")
			held.Finalizers = finalizers
			return c.Update(t.Context(), held)
		}
	}
	h.meddle(hold("example.com/in-use"))
	h.meddle(func(c client.Client) error { return h.deleteAny(c, copied(h, &corev1.ConfigMap{}, "settings")) })
	since := copied(h, &corev1.ConfigMap{}, "settings").DeletionTimestamp.Time

	h.clock.SetTime(since.Add(heldAfter - time.Second))
	if after, err := h.look("configmaps", "settings"); after != time.Second || err == nil || len(h.reasons()) > 0 {
		t.Errorf("at first: looked at again after %s, %v; problems %v", after, err, h.reasons())
	}
	h.clock.SetTime(since.Add(heldAfter))
	for range 2 {
		if after, err := h.look("configmaps", "settings"); after != retryEach || err == nil {
			t.Errorf("looked at again after %s, %v", after, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"settings": v1beta1.ProblemConflict}, h.reasons()); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	want := []string{"Warning FailedReflection cannot be reflected to provider-1: " +
		"somebody has deleted the copy there; it is made anew, with nothing in it that is not from home, " +
		"as soon as example.com/in-use lets it go"}
	if diff := cmp.Diff(want, h.told()); diff != "" {
		t.Errorf("events -want,+got:\n%s", diff)
	}

	h.meddle(hold())
	h.settle("configmaps", "settings")
	if again := copied(h, &corev1.ConfigMap{}, "settings"); again == nil || again.DeletionTimestamp != nil {
		t.Errorf("it is not made anew: %v", again)
	}
	h.clock.Step(time.Minute)
	h.settle("configmaps", "settings")
	if diff := cmp.Diff(map[string]string{}, h.reasons()); diff != "" {
		t.Errorf("it is over, -want,+got:\n%s", diff)
	}
}
