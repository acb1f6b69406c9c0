package provider

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/twinspace/twinspace/api/v1beta1"
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

// A pod was bound before its Node was cordoned, and its remote pod comes when the Node is gone.
func TestARemotePodThatComesAfterItsNodeWent(t *testing.T) {
	home := build.Pod("web").Namespace("shop").UID("1").Node("vn-1").Obj()
	remote := translate.Target{Origin: "home", Destination: provider, Node: "vn-1", Namespace: "shop-a"}.Pod(home)
	remote.UID = "2"
	for name, early := range map[string]bool{"created before": true, "created after": false} {
		t.Run(name, func(t *testing.T) {
			away := fake.NewClientset()
			p, stop := runPods(t, fake.NewClientset(), away)
			defer stop()
			create := func() {
				_, err := away.CoreV1().Pods("shop-a").Create(t.Context(), remote, metav1.CreateOptions{})
				if err != nil {
					t.Fatal(err)
				}
			}
			p.TwinReady("shop", "shop-a")
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

// retiring is a Node that has no pods and is on its way out.
type retiring struct {
	*testing.T
	*Nodes
	clock *clocktesting.FakeClock
	home  kubernetes.Interface
	vn    *v1beta1.VirtualNode
}

func newRetiring(t *testing.T, cordoned bool) *retiring {
	t.Helper()
	vn := build.VirtualNode("vn-1", provider)
	node := build.VirtualNodesNode(vn)
	node.UID, node.Spec.Unschedulable = types.UID("1"), cordoned
	home := fake.NewClientset(node)
	pods, stop := runPods(t, home, fake.NewClientset())
	t.Cleanup(stop)
	pods.Serve(vn.Name, nil)
	within(t, "the Node's pods are known", func() bool { return pods.Synced(vn.Name) })
	c := clocktesting.NewFakeClock(time.Unix(1000, 0))
	return &retiring{T: t, clock: c, home: home, vn: vn, Nodes: &Nodes{
		Home: home, Provider: provider, Pods: pods, Offers: NewOffers(home), Clock: clock.Clock(c),
	}}
}

// pass is one pass of the reconciler, which returns how things are afterwards.
func (r *retiring) pass() string {
	r.Helper()
	node, err := r.home.CoreV1().Nodes().Get(r.Context(), r.vn.Name, metav1.GetOptions{})
	if err != nil {
		r.Fatal(err)
	}
	is, err := r.retire(r.Context(), r.vn, node)
	if err != nil || is.poll == 0 {
		r.Errorf("looks again after %v, %v", is.poll, err)
	}
	r.setConditions(r.vn, is)
	node, err = r.home.CoreV1().Nodes().Get(r.Context(), r.vn.Name, metav1.GetOptions{})
	if err != nil {
		node = &corev1.Node{}
	}
	return fmt.Sprintf("%s, there %t, cordoned %t", is.node, err == nil, node.Spec.Unschedulable)
}

// A binding that is under way while the Node is cordoned has time to show.
func TestANodeIsNotDeletedAsSoonAsItIsCordoned(t *testing.T) {
	for name, cordoned := range map[string]bool{"cordoned by us": false, "cordoned by somebody": true} {
		t.Run(name, func(t *testing.T) {
			r := newRetiring(t, cordoned)
			want := "Draining, there true, cordoned true"
			for range 2 { // the second one is brought by the Node's own event
				if got := r.pass(); got != want {
					t.Errorf("want %s, got %s", want, got)
				}
			}
			r.clock.Step(drainPoll)
			if got, want := r.pass(), "Deleting, there false, cordoned false"; got != want {
				t.Errorf("want %s, got %s", want, got)
			}
		})
	}
}

// Cordoning takes nothing back that was applied.
func TestACordonedNodeKeepsItsLabels(t *testing.T) {
	r := newRetiring(t, false)
	node, err := r.home.CoreV1().Nodes().Get(t.Context(), "vn-1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := form{vn: r.vn, offer: Offer{OS: "linux", Arch: "arm64"}}
	if node, err = r.applyMetadata(t.Context(), f, node); err != nil {
		t.Fatal(err)
	}
	if err := r.cordon(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	got, err := r.home.CoreV1().Nodes().Get(t.Context(), "vn-1", metav1.GetOptions{})
	if err != nil || got.Labels[corev1.LabelArchStable] != "arm64" || !got.Spec.Unschedulable {
		t.Errorf("labels %v, cordoned %t, %v", got.Labels, got.Spec.Unschedulable, err)
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
	if err := l.ensure(t.Context(), n, build.Node("vn-1")); err == nil {
		t.Error("a lease was begun after the end")
	}
}
