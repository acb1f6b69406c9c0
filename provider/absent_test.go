package provider

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/reflection/remote"
)

// lostPods is a pod loop, and one pod of its, whose way to both API servers ends at a proxy that does not know them.
func lostPods(t *testing.T) (*Pods, *work) {
	t.Helper()
	proxy := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(proxy.Close)
	lost, err := kubernetes.NewForConfig(&rest.Config{Host: proxy.URL})
	if err != nil {
		t.Fatal(err)
	}
	p := NewPods(PodsOptions{
		Home: lost, Away: lost, Origin: "home", Destination: provider, Recorder: events.NewFakeRecorder(10),
	})
	t.Cleanup(p.queue.ShutDown)
	home := build.Pod("web").Namespace("shop").UID("1").Node("vn-1").Phase(corev1.PodRunning).Obj()
	away := build.Pod("web").Namespace("shop-a").UID("2").Obj()
	return p, &work{
		key:   key{Namespace: "shop", Name: "web"},
		facts: facts{home: home, away: away, owner: "1", twin: twinReady}, space: twin{away: "shop-a"},
	}
}

// A load balancer that has lost its API server answers "not found" to everything. Nothing is gone because of that.
func TestAProxyThatDoesNotFindTheServer(t *testing.T) {
	for name, do := range map[string]func(*testing.T, *Pods, *work) error{
		"a remote pod is not taken for lost": func(t *testing.T, p *Pods, w *work) error {
			return p.lose(t.Context(), w)
		},
		"a home pod does not go": func(t *testing.T, p *Pods, w *work) error {
			return p.finish(t.Context(), w)
		},
		"a remote pod is not an orphan": func(t *testing.T, p *Pods, w *work) error {
			return p.orphan(t.Context(), w)
		},
		"it is not a predecessor's": func(t *testing.T, p *Pods, w *work) error {
			return p.replace(t.Context(), w)
		},
		"a deletion is not done": func(t *testing.T, p *Pods, w *work) error {
			return p.remove(t.Context(), w.key, w.away, nil)
		},
		"what home is told is not forgotten": func(t *testing.T, p *Pods, w *work) error {
			return p.write(t.Context(), w, p.view().Waiting(w.home, ReasonTwinNotReady, "wait"))
		},
		"why a pod went is not known": func(t *testing.T, p *Pods, w *work) error {
			_, _, err := p.why(t.Context(), w)
			return err
		},
		"a pod is not released": func(t *testing.T, p *Pods, w *work) error {
			return p.evict(t.Context(), w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, w := lostPods(t)
			err := do(t, p, w)
			if err == nil || errors.As(err, &again{}) {
				t.Errorf("it is taken for an answer: %v", err)
			}
			if p.memory.isBuried(w.key, w.away.UID) {
				t.Error("the remote pod is taken for gone")
			}
		})
	}
	if !remote.Absent(apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, "web")) {
		t.Error("an API server is not believed")
	}
}

// Somebody at the provider may say for ever that there is a pod which there is not.
func TestANameThatIsTakenByNobodyIsNotAskedForAtFullSpeed(t *testing.T) {
	away := fake.NewClientset()
	away.PrependReactor("create", "pods", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewAlreadyExists(schema.GroupResource{Resource: "pods"}, "web")
	})
	p, w := lostPods(t)
	p.opts.Away = away
	w.away = nil
	w.target = translate.Target{Origin: "home", Destination: provider, Node: "vn-1", Namespace: "shop-a"}
	if err := p.create(t.Context(), w); !errors.Is(err, errBackoff) {
		t.Errorf("want growing delays, got %v", err)
	}
}

// An agent that starts while its provider cannot be reached sees no remote pod, and yet knows that nobody knows.
func TestAnAgentThatStartsWithoutItsProvider(t *testing.T) {
	home := build.Pod("web").Namespace("shop").UID("1").Node("vn-1").Phase(corev1.PodRunning).Obj()
	home.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	client := fake.NewClientset(home)
	health := &fakeHealth{err: errors.New("no answer in time")}
	p := NewPods(PodsOptions{
		Home: client, Away: fake.NewClientset(), Origin: "home", Destination: provider, Health: health,
		Recorder: events.NewFakeRecorder(10),
	})
	defer p.queue.ShutDown()
	p.nodes["vn-1"] = &node{name: "vn-1", watch: watchOf(t, home)}
	k := key{Namespace: "shop", Name: "web"}
	if err := p.reconcile(t.Context(), k); err != nil && !errors.As(err, &again{}) {
		t.Fatal(err)
	}
	got, err := client.CoreV1().Pods("shop").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := condition(got, corev1.PodReady)
	if c.Status != corev1.ConditionFalse || c.Reason != "ProviderUnreachable" ||
		got.Labels[v1beta1.LabelRemoteUnavailable] != "true" || got.Status.Phase != corev1.PodRunning {
		t.Errorf("%s, %+v, labels %v", got.Status.Phase, c, got.Labels)
	}
	p.nodes["vn-1"].watch = watchOf(t, got)
	client.ClearActions()
	if err := p.reconcile(t.Context(), k); len(client.Actions()) != 0 {
		t.Errorf("said again: %v, %v", client.Actions(), err)
	}
}

// What a twin's pods were remembered for goes with the twin.
func TestATwinThatGoesIsForgotten(t *testing.T) {
	p := NewPods(PodsOptions{Home: fake.NewClientset(), Away: fake.NewClientset(), Origin: "home"})
	defer p.queue.ShutDown()
	p.released = true
	last := build.Pod("web").Namespace("shop-a").UID("2").Obj()
	k := key{Namespace: "shop", Name: "web"}
	p.memory.saw(k, "1", "2")
	w := watchOf(t, last)
	w.cancel = func() {}
	p.twins["shop"] = &twin{home: "shop", away: "shop-a", phase: twinLeaving, watch: w}
	p.TwinGone("shop")
	if p.queue.Len() != 1 {
		t.Fatalf("want one name to be looked at, got %d", p.queue.Len())
	}
	if p.next(t.Context()); len(p.memory.records) != 0 {
		t.Errorf("still remembered: %v", p.memory.records)
	}
}
