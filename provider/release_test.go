package provider

import (
	"context"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

// runPods runs a pod loop between two fakes until the test ends, or until stop is called.
func runPods(t *testing.T, home, away kubernetes.Interface) (p *Pods, stop func()) {
	t.Helper()
	p = NewPods(PodsOptions{
		Home: home, Away: away, Origin: "home", Destination: provider, Recorder: events.NewFakeRecorder(100),
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Start(ctx) }()
	within(t, "the loop runs", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.ctx != nil
	})
	stop = func() {
		cancel()
		if err, open := <-done; open && err != nil {
			t.Error(err)
		}
		close(done)
	}
	return p, stop
}

// within waits until check is true.
func within(t *testing.T, what string, check func() bool) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), poll, converges, true, func(context.Context) (bool, error) {
		return check(), nil
	})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// watchedPods is a fake that says when its pods are watched. What comes between a list of a fake and its watch is lost,
// unlike with an API server.
func watchedPods() (*fake.Clientset, <-chan struct{}) {
	away, watched := fake.NewClientset(), make(chan struct{})
	said := sync.OnceFunc(func() { close(watched) })
	away.PrependWatchReactor("pods", func(a clienttesting.Action) (bool, apiwatch.Interface, error) {
		defer said()
		stream, err := away.Tracker().Watch(a.GetResource(), a.GetNamespace())
		return true, stream, err
	})
	return away, watched
}

// A pod was bound before its Node was cordoned, and its remote pod comes when the Node is gone.
func TestARemotePodThatComesAfterItsNodeWent(t *testing.T) {
	home := build.Pod("web").Namespace("shop").UID("1").Node("vn-1").Obj()
	remote := translate.Target{Origin: "home", Destination: provider, Node: "vn-1", Namespace: "shop-a"}.Pod(home)
	remote.UID = "2"
	for name, early := range map[string]bool{"created before": true, "created after": false} {
		t.Run(name, func(t *testing.T) {
			away, watched := watchedPods()
			p, stop := runPods(t, fake.NewClientset(), away)
			defer stop()
			create := func() {
				_, err := away.CoreV1().Pods("shop-a").Create(t.Context(), remote, metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
			}
			p.TwinReady("shop", "shop-a")
			<-watched
			if early { // and looked at while no Node was known
				create()
			}
			within(t, "the twin is known", func() bool {
				_, phase := p.twinOf("shop")
				return phase == twinReady
			})
			p.Serve("vn-1", nil)
			p.Release("vn-1")
			if !early {
				create()
			}
			within(t, "the remote pod goes", func() bool {
				_, err := away.CoreV1().Pods("shop-a").Get(t.Context(), "web", metav1.GetOptions{})
				return apierrors.IsNotFound(err)
			})
		})
	}
}

// Whoever waits for everything to end must not meet somebody who begins something.
func TestNothingBeginsAfterTheEnd(t *testing.T) {
	p, stop := runPods(t, fake.NewClientset(), fake.NewClientset())
	stop()
	p.Serve("vn-1", nil)
	p.TwinReady("shop", "shop-a")
	if p.nodes["vn-1"].watch != nil || p.twins["shop"].watch != nil {
		t.Error("a watch was started after the end")
	}

	var l leases
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Start(ctx); err != nil {
		t.Fatal(err)
	}
	n := &Nodes{Home: fake.NewClientset(), Clock: clock.RealClock{}}
	if err := l.ensure(n, build.Node("vn-1")); err == nil {
		t.Error("a lease was begun after the end")
	}
}
