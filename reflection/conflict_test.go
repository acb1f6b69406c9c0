package reflection

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// reasons returns the names and reasons of the problems in the namespace.
func (h *harness) reasons() map[string]string {
	out := map[string]string{}
	for _, problem := range h.m.Problems(testHome) {
		out[problem.Name] = problem.Reason
	}
	return out
}

// fight has somebody edit the copy until nothing is done about it any more.
func (h *harness) fight(name string) {
	h.t.Helper()
	for range maxRepairs + 1 {
		h.meddle(func(c client.Client) error { return edit(h.t.Context(), c, name, "theirs") })
		_, _ = h.look("configmaps", name)
	}
}

// Else the condition would come and go for as long as the two fight.
func TestAConflictIsOverWhenNobodyHasFoughtForAMinute(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	h.settle("configmaps", "settings")
	conflict, none := map[string]string{"settings": v1beta1.ProblemConflict}, map[string]string{}
	h.fight("settings")
	if diff := cmp.Diff(conflict, h.reasons()); diff != "" {
		t.Fatalf("in the fight, -want,+got:\n%s", diff)
	}
	h.clock.Step(time.Minute)
	h.settle("configmaps", "settings")
	if got := copied(h, &corev1.ConfigMap{}, "settings"); got.Data["key"] != "value" {
		t.Fatalf("not repaired: %v", got.Data)
	}
	if diff := cmp.Diff(conflict, h.reasons()); diff != "" {
		t.Errorf("put right once more, -want,+got:\n%s", diff)
	}
	h.clock.Step(30 * time.Second)
	h.settle("configmaps", "settings")
	if diff := cmp.Diff(conflict, h.reasons()); diff != "" {
		t.Errorf("quiet for half a minute, -want,+got:\n%s", diff)
	}
	h.clock.Step(30 * time.Second)
	h.settle("configmaps", "settings")
	if diff := cmp.Diff(none, h.reasons()); diff != "" {
		t.Errorf("quiet for a minute, -want,+got:\n%s", diff)
	}
}

func TestALookBetweenTwoRepairsDoesNotBeginTheCountAnew(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	h.settle("configmaps", "settings")
	for range maxRepairs {
		h.meddle(func(c client.Client) error { return edit(t.Context(), c, "settings", "theirs") })
		h.settle("configmaps", "settings")
		h.settle("configmaps", "settings") // our own change comes through the watch
	}
	h.fight("settings")
	if diff := cmp.Diff(map[string]string{"settings": v1beta1.ProblemConflict}, h.reasons()); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if got := copied(h, &corev1.ConfigMap{}, "settings"); got.Data["key"] != "theirs" {
		t.Error("it was put right more often than that")
	}
}

func TestAConflictIsLookedAtAgainWhenItMayBeOver(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	h.settle("configmaps", "settings")
	h.fight("settings")
	h.clock.Step(time.Minute)
	h.settle("configmaps", "settings")
	queue := h.reflector("configmaps").queue
	looked := func() bool { // the queue has a goroutine of its own
		h.clock.Step(time.Second)
		return queue.Len() > 0
	}
	if !becomes(t, looked) {
		t.Fatal("nobody looks at it again")
	}
	if it, _ := queue.Get(); it != (item{testHome, "settings"}) {
		t.Errorf("looked at %v", it)
	}
}

func TestOtherProblemsAreOverWithTheNextSuccess(t *testing.T) {
	h := newHarness(t, foreign("settings"))
	h.has(configMap("settings"))
	_, _ = h.look("configmaps", "settings")
	if diff := cmp.Diff(map[string]string{"settings": v1beta1.ProblemNameTaken}, h.reasons()); diff != "" {
		t.Fatalf("-want,+got:\n%s", diff)
	}
	h.meddle(func(c client.Client) error { return h.deleteAny(c, foreign("settings")) })
	h.settle("configmaps", "settings")
	if diff := cmp.Diff(map[string]string{}, h.reasons()); diff != "" {
		t.Errorf("the name is free, -want,+got:\n%s", diff)
	}
}

// The world outside must hear of each of these once.
func TestProblemsThatComeAndGoAreTold(t *testing.T) {
	h := newHarness(t, foreign("settings"))
	var told []string
	h.m.opts.ProblemsChanged = func(home string) { told = append(told, home) }
	for _, r := range h.m.reflectors {
		r.opts.ProblemsChanged = h.m.opts.ProblemsChanged
	}
	h.has(configMap("settings"))
	for range 3 {
		_, _ = h.look("configmaps", "settings")
	}
	if diff := cmp.Diff([]string{testHome}, told); diff != "" {
		t.Errorf("the name is taken, -want,+got:\n%s", diff)
	}
	h.lost(configMap("settings"))
	h.settle("configmaps", "settings")
	if diff := cmp.Diff([]string{testHome, testHome}, told); diff != "" {
		t.Errorf("the object has gone, -want,+got:\n%s", diff)
	}
}
