package provider

import (
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

// travelling is a home pod of which Secret "pull" is still on its way, until the test says otherwise.
func travelling(t *testing.T) (p *Pods, look func() error, missing *string, clock *clocktesting.FakeClock) {
	t.Helper()
	missing, clock = new(string), clocktesting.NewFakeClock(atNoon)
	*missing = "secrets/pull"
	p = NewPods(PodsOptions{
		Home: fake.NewClientset(), Away: fake.NewClientset(), Origin: "home", Destination: provider, Clock: clock,
		Baggage: func(*corev1.Pod) string { return *missing },
	})
	t.Cleanup(p.queue.ShutDown)
	home := build.Pod("web").Namespace("shop").UID("1").Node("vn-1").Obj()
	k := key{Namespace: "shop", Name: "web"}
	return p, func() error {
		return p.create(t.Context(), &work{
			key: k, facts: facts{home: home, twin: twinReady}, space: twin{away: "shop-a"},
			target: translate.Target{Origin: "home", Destination: provider, Node: "vn-1", Namespace: "shop-a"},
			record: p.memory.get(k, home.UID),
		})
	}, missing, clock
}

// made says whether the remote pod is there.
func made(t *testing.T, p *Pods) bool {
	t.Helper()
	pods, err := p.opts.Away.CoreV1().Pods("shop-a").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return len(pods.Items) > 0
}

func TestARemotePodComesAfterWhatItRefersTo(t *testing.T) {
	p, look, missing, clock := travelling(t)
	var later again
	for range 3 {
		if err := look(); !errors.As(err, &later) || later.after != baggageLook || later.backoff {
			t.Fatalf("want to look again in %s, got %v", baggageLook, err)
		}
		clock.Step(time.Second)
	}
	if made(t, p) {
		t.Error("it did not wait")
	}
	*missing = ""
	if err := look(); !errors.As(err, &later) || later.after != lateWatch {
		t.Errorf("want it made, got %v", err)
	}
	if !made(t, p) {
		t.Error("it is not there")
	}
}

// What cannot come must not keep a pod from running that does without.
func TestARemotePodDoesNotWaitForEver(t *testing.T) {
	p, look, _, clock := travelling(t)
	_ = look()
	clock.Step(baggagePatience - time.Millisecond)
	_ = look()
	if made(t, p) {
		t.Error("it did not wait long enough")
	}
	clock.Step(time.Millisecond)
	_ = look()
	if !made(t, p) {
		t.Error("it still waits")
	}
}

func TestAnAgentWithoutReflectionWaitsForNothing(t *testing.T) {
	p, look, _, _ := travelling(t)
	p.opts.Baggage = nil
	_ = look()
	if !made(t, p) {
		t.Error("it waits")
	}
}
