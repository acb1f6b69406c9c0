package translate

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func TestGenerationIsObservedOnceTheRemotePodHasTakenIt(t *testing.T) {
	for name, tc := range map[string]struct {
		lag             Lag
		is, seen, want  int64
		refused, wanted string
	}{
		"taken, and the kubelet has seen it":      {lag: InStep, is: 2, seen: 2, want: 3},
		"taken, and the kubelet has not":          {lag: InStep, is: 2, seen: 1, want: 1},
		"taken, and the kubelet never says":       {lag: InStep, is: 2, seen: 0, want: 3},
		"not taken":                               {lag: Behind, is: 1, seen: 1, want: 1},
		"labels drifted":                          {lag: Drifted, is: 1, seen: 1, want: 3},
		"a refusal that is over":                  {lag: InStep, is: 2, seen: 2, want: 3, refused: "no"},
		"a refusal that is over, before it shows": {lag: InStep, is: 2, seen: 1, want: 1, refused: "no"},
		"a refusal that stands":                   {lag: Behind, is: 1, seen: 1, want: 1, refused: "no", wanted: "no"},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(func(p *corev1.Pod) { p.Status.ObservedGeneration = 1 })
			if tc.refused != "" {
				home.Status = view.Refused(home, tc.refused)
			}
			away := pod(func(p *corev1.Pod) {
				p.Generation, p.Status.ObservedGeneration = tc.is, tc.seen
				p.Status.Conditions = []corev1.PodCondition{
					{Type: corev1.PodReady, Status: corev1.ConditionTrue, ObservedGeneration: max(tc.seen, 1)},
				}
			})
			got := view.Status(home, away)
			Follow(&got, home, away, tc.lag)
			if got.ObservedGeneration != tc.want {
				t.Errorf("want generation %d, got %d", tc.want, got.ObservedGeneration)
			}
			if ready := find(got.Conditions, corev1.PodReady); ready.ObservedGeneration != tc.want {
				t.Errorf("want generation %d of the condition, got %d", tc.want, ready.ObservedGeneration)
			}
			home.Status = got
			if refusal := Refusal(home); refusal != tc.wanted {
				t.Errorf("want refusal %q, got %q", tc.wanted, refusal)
			}
			again := view.Status(home, away)
			Follow(&again, home, away, tc.lag)
			if patch, err := StatusPatch(home.UID, &home.Status, &again); patch != nil || err != nil {
				t.Errorf("a no-op is written: %s, %v", patch, err)
			}
		})
	}
}

func TestARefusalIsOneConditionWithBounds(t *testing.T) {
	home := pod(nil)
	home.Status = view.Refused(home, "first")
	since := find(home.Status.Conditions, UpdateRefused).LastTransitionTime
	later := View{Now: before}
	home.Status = later.Refused(home, "second")
	want := []corev1.PodCondition{{
		Type: UpdateRefused, Status: corev1.ConditionTrue, Reason: "Refused", Message: "second",
		LastTransitionTime: since,
	}}
	if diff := cmp.Diff(want, home.Status.Conditions); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	long := make([]byte, 10*maxMessage)
	home.Status = view.Refused(home, string(long))
	if n := len(Refusal(home)); n > maxMessage {
		t.Errorf("%d bytes of a provider's words are stored", n)
	}
}

func TestTheLabelAboutAProviderThatCannotBeReached(t *testing.T) {
	for name, tc := range map[string]struct {
		has         string
		unreachable bool
		phase       corev1.PodPhase
		want        string
		silent      bool // nothing is written
	}{
		"nothing to say": {phase: corev1.PodRunning, silent: true},
		"unreachable":    {unreachable: true, phase: corev1.PodRunning, want: "true"},
		"still unreachable": {
			has: "true", unreachable: true, phase: corev1.PodRunning, want: "true", silent: true,
		},
		"back":                       {has: "true", phase: corev1.PodRunning},
		"unreachable, and finished":  {unreachable: true, phase: corev1.PodSucceeded, silent: true},
		"finished meanwhile":         {has: "true", unreachable: true, phase: corev1.PodFailed},
		"a value of somebody's own":  {has: "x", unreachable: true, phase: corev1.PodPending, want: "true"},
		"a label of somebody's own":  {has: "x", phase: corev1.PodPending},
		"unreachable before it runs": {unreachable: true, phase: corev1.PodPending, want: "true"},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(func(p *corev1.Pod) {
				p.Labels = map[string]string{"app": "web"}
				if tc.has != "" {
					p.Labels[v1beta1.LabelRemoteUnavailable] = tc.has
				}
				p.Status.Phase = tc.phase
			})
			v := View{Unreachable: tc.unreachable, Now: now}
			if v.Mislabelled(home, tc.phase) == tc.silent {
				t.Errorf("it says that the label is right: %v", tc.silent)
			}
			patch, err := v.Patch(home, home.Status.DeepCopy())
			if err != nil || (patch == nil) != tc.silent {
				t.Fatalf("patch %s, %v", patch, err)
			}
			for _, status := range []corev1.PodStatus{home.Status, {Phase: tc.phase, Message: "m"}} {
				got := afterPatch(t, v, home, status)
				if got.Labels["app"] != "web" || got.Labels[v1beta1.LabelRemoteUnavailable] != tc.want {
					t.Errorf("the labels are %v", got.Labels)
				}
				if got.Status.Message != status.Message {
					t.Errorf("the status was lost: %+v", got.Status)
				}
			}
		})
	}
}

func afterPatch(t *testing.T, v View, home *corev1.Pod, status corev1.PodStatus) *corev1.Pod {
	t.Helper()
	patch, err := v.Patch(home, &status)
	if err != nil {
		t.Fatal(err)
	}
	if patch == nil {
		return home
	}
	original, err := json.Marshal(home)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := strategicpatch.StrategicMergePatch(original, patch, &corev1.Pod{})
	if err != nil {
		t.Fatalf("%v: %s", err, patch)
	}
	var got corev1.Pod
	if err := json.Unmarshal(merged, &got); err != nil {
		t.Fatal(err)
	}
	if got.UID != home.UID {
		t.Errorf("the patch %s does not name the pod", patch)
	}
	return &got
}

func TestOnlyTheGenerationIsNews(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.PodStatus)
		want   bool
	}{
		"nothing is new":          {change: func(*corev1.PodStatus) {}},
		"a generation was seen":   {change: func(s *corev1.PodStatus) { s.ObservedGeneration = 3 }, want: true},
		"in a condition, as well": {change: func(s *corev1.PodStatus) { observe(s, 3) }, want: true},
		"in a condition only":     {change: func(s *corev1.PodStatus) { s.Conditions[0].ObservedGeneration = 3 }},
		"it is not ready any more": {change: func(s *corev1.PodStatus) {
			observe(s, 3).Status = corev1.ConditionFalse
		}},
		"it has failed": {change: func(s *corev1.PodStatus) {
			observe(s, 3)
			s.Phase = corev1.PodFailed
		}},
		"a condition is new": {change: func(s *corev1.PodStatus) {
			s.ObservedGeneration = 3
			s.Conditions = append(s.Conditions, corev1.PodCondition{Type: Offloaded})
		}},
		"a condition is gone": {change: func(s *corev1.PodStatus) { s.ObservedGeneration, s.Conditions = 3, nil }},
	} {
		t.Run(name, func(t *testing.T) {
			had := &corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionTrue},
			}}
			observe(had, 2)
			next, before := had.DeepCopy(), had.DeepCopy()
			tc.change(next)
			if got := OnlyObserved(had, next); got != tc.want {
				t.Errorf("want %t, got %t", tc.want, got)
			}
			if diff := cmp.Diff(before, had); diff != "" {
				t.Errorf("it was changed (-want, +got):\n%s", diff)
			}
		})
	}
}

// observe sets the generation of a status and of its first condition, and returns that.
func observe(s *corev1.PodStatus, generation int64) *corev1.PodCondition {
	s.ObservedGeneration, s.Conditions[0].ObservedGeneration = generation, generation
	return &s.Conditions[0]
}
