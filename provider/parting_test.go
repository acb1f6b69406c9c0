package provider

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/provider/translate"
)

// leaver is a pod that home deletes, of which home has been told everything but that.
type leaver struct {
	pods       *Pods
	clock      *clocktesting.FakeClock
	home, away *corev1.Pod
	client     *fake.Clientset
}

func newLeaver(t *testing.T) *leaver {
	t.Helper()
	l := &leaver{clock: clocktesting.NewFakeClock(time.Unix(1000, 0))}
	named := func(namespace string, uid types.UID) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: namespace, UID: uid, Generation: 1},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}},
		}
	}
	l.home, l.away = named("shop", "home-1"), named("shop-home", "away-1")
	l.away.Status.Phase = corev1.PodRunning
	l.away.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodReady, Status: corev1.ConditionTrue, ObservedGeneration: 1},
	}
	l.home.Status = translate.View{Now: metav1.NewTime(l.clock.Now())}.Status(l.home, l.away)
	l.home.Generation = 2 // an API server counts the deletion
	l.home.DeletionTimestamp = ptr.To(metav1.NewTime(l.clock.Now()))
	l.home.DeletionGracePeriodSeconds = ptr.To[int64](30)
	l.client = fake.NewClientset(l.home)
	l.pods = NewPods(PodsOptions{Clock: l.clock, Home: l.client, Away: fake.NewClientset(), Origin: "home"})
	t.Cleanup(l.pods.queue.ShutDown)
	return l
}

// tell returns how often home was written to, and for how long news are held back.
func (l *leaver) tell(t *testing.T) (writes int, rest time.Duration) {
	t.Helper()
	l.client.ClearActions()
	w := &work{key: key{Namespace: "shop", Name: "web"}, facts: facts{home: l.home, away: l.away}}
	err := l.pods.tell(t.Context(), w, translate.InStep)
	var a again
	if err != nil && !errors.As(err, &a) {
		t.Fatal(err)
	}
	for _, action := range l.client.Actions() {
		if action.GetVerb() == "patch" {
			writes++
		}
	}
	return writes, a.after
}

func TestThatAPodLeavesIsToldWithHowItEnded(t *testing.T) {
	l := newLeaver(t)
	if writes, rest := l.tell(t); writes != 0 || rest != settle {
		t.Errorf("that it is being deleted costs %d writes, and the next look is in %s", writes, rest)
	}
	l.away.Status.Phase = corev1.PodFailed
	if writes, _ := l.tell(t); writes != 1 {
		t.Errorf("its end costs %d writes", writes)
	}
}

func TestAPodThatTakesItsTimeToLeaveHasItsGenerationObserved(t *testing.T) {
	l := newLeaver(t)
	l.tell(t)
	l.clock.Step(settle)
	if writes, rest := l.tell(t); writes != 1 || rest != 0 {
		t.Errorf("%d writes after %s, and the next look in %s", writes, settle, rest)
	}
}

func TestWhatElseIsNewsOfALeavingPodIsToldAtOnce(t *testing.T) {
	l := newLeaver(t)
	l.away.Status.Conditions[0].Status = corev1.ConditionFalse
	if writes, _ := l.tell(t); writes != 1 {
		t.Errorf("that it is not ready any more costs %d writes", writes)
	}
}

func TestAPodThatStaysHasItsGenerationObservedAtOnce(t *testing.T) {
	l := newLeaver(t)
	l.home.DeletionTimestamp = nil
	if writes, _ := l.tell(t); writes != 1 {
		t.Errorf("a change that was taken costs %d writes", writes)
	}
}
