package provider

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// watches counts the watches of pods that a client has open, by path.
type watches struct {
	mu   sync.Mutex
	open map[string]int
	all  map[string]int
}

func (w *watches) of(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return counted{w, next} })
	return config
}

func (w *watches) count(path string, by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open[path] += by
	w.all[path] += max(by, 0)
}

// paths returns what is watched now, and what ever was.
func (w *watches) paths() (now, ever []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for path, n := range w.open {
		for range n {
			now = append(now, path)
		}
	}
	for path := range w.all {
		ever = append(ever, path)
	}
	return now, ever
}

type counted struct {
	*watches
	next http.RoundTripper
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	path := r.URL.Path
	if r.URL.Query().Get("watch") == "" || !strings.HasSuffix(path, "/pods") {
		return c.next.RoundTrip(r)
	}
	c.count(path, 1)
	var once sync.Once
	over := func() { once.Do(func() { c.count(path, -1) }) }
	response, err := c.next.RoundTrip(r)
	if err != nil {
		over()
		return response, err
	}
	go func() {
		<-r.Context().Done()
		over()
	}()
	return response, nil
}

// TestOneWatchForAllTwins tells on real API servers how one watch serves twins that come, go and come back.
func TestOneWatchForAllTwins(t *testing.T) {
	w := newWorld(t)
	shops := []*shop{w.shop(t, "alpha"), w.shop(t, "beta"), w.shop(t, "gamma")}
	alpha, beta, gamma := shops[0], shops[1], shops[2]
	seen := &watches{open: map[string]int{}, all: map[string]int{}}
	health := &fakeHealth{}
	p, _ := alpha.agent(func(o *PodsOptions) {
		o.Wide, o.Health, o.Away = true, health, clientsetFor(t, seen.of(w.planes[1].Config()))
	})
	p.Serve(beta.node(), nil)
	p.Serve(gamma.node(), nil)

	first := alpha.create("web")
	lookalike := alpha.marked(first)
	lookalike.Namespace = "theirs"
	alpha.namespace(w.away, "theirs", nil)
	must(t, w.away.CoreV1().Pods("theirs").Create, lookalike)

	p.TwinReady(alpha.ns, alpha.twin)
	p.TwinReady(beta.ns, beta.twin)
	away := alpha.remote(first)
	alpha.run(away)
	alpha.phase(first, corev1.PodRunning)
	_, other := beta.running("web")
	p.TwinReady(gamma.ns, gamma.twin) // the watch has seen everything by now
	gamma.running("web")

	wide := func(what string, want ...string) {
		t.Helper()
		alpha.eventually(what, func() error {
			now, ever := seen.paths()
			if diff := cmp.Diff(want, now); diff != "" {
				return fmt.Errorf("open watches (-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"/api/v1/pods"}, ever); diff != "" {
				return fmt.Errorf("paths that were watched (-want,+got):\n%s", diff)
			}
			return nil
		})
	}
	wide("one watch for three twins", "/api/v1/pods")
	if _, err := w.away.CoreV1().Pods("theirs").Get(t.Context(), "web", metav1.GetOptions{}); err != nil {
		t.Errorf("a pod in a namespace that is no twin: %v", err)
	}

	p.TwinGone(beta.ns)
	beta.report(other, corev1.PodStatus{Phase: corev1.PodFailed})
	alpha.report(away, corev1.PodStatus{Phase: corev1.PodSucceeded})
	alpha.phase(first, corev1.PodSucceeded)

	health.set(errors.New("cut"))
	health.set(nil)
	gamma.running("after")
	wide("one watch after a cut", "/api/v1/pods")

	p.TwinGone(alpha.ns)
	p.TwinGone(gamma.ns)
	wide("no watch without a twin")
	p.TwinReady(gamma.ns, gamma.twin)
	gamma.running("back")
}

func TestAViewShowsOneNamespace(t *testing.T) {
	all := newAsked(t, build.Pod("web").Namespace("shop-a").Obj(), build.Pod("till").Namespace("bank-a").Obj())
	p := NewPods(PodsOptions{Wide: true, Origin: "a"})
	defer p.queue.ShutDown()
	p.ctx = t.Context()
	p.wide.watch = &watch{informer: all, cancel: func() {}}
	p.TwinReady("shop", "shop-a")
	if got := p.twins["shop"].watch.pods(metav1.NamespaceAll); len(got) != 1 || got[0].Name != "web" {
		t.Errorf("shown are %v, want web only", got)
	}
	if k, _ := p.queue.Get(); p.queue.Len() > 0 || k.String() != "shop/web" {
		t.Errorf("looked at %s and %d more, want shop/web only", k, p.queue.Len())
	}
}

func TestEventsOfOthersAreDropped(t *testing.T) {
	for name, c := range map[string]struct {
		obj  any
		want string
	}{
		"a pod of a twin":                {build.Pod("web").Namespace("shop-a").Obj(), "shop/web"},
		"a pod of another namespace":     {build.Pod("web").Namespace("own").Obj(), ""},
		"the last state of a twin's pod": {tombstone("shop-a"), "shop/web"},
		"the last state of another's":    {tombstone("own"), ""},
		"no pod":                         {cache.DeletedFinalStateUnknown{Obj: &corev1.Node{}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPods(PodsOptions{Wide: true, Origin: "a"})
			p.wide.homes = map[string]string{"shop-a": "shop"}
			p.wideChanged(c.obj, p.awayWent)
			p.queue.ShutDown()
			got := ""
			if k, down := p.queue.Get(); !down {
				got = k.String()
			}
			if got != c.want {
				t.Errorf("looked at %q, want %q", got, c.want)
			}
		})
	}
}

func tombstone(namespace string) any {
	return cache.DeletedFinalStateUnknown{Key: "x", Obj: build.Pod("web").Namespace(namespace).Obj()}
}

func TestLittleIsKeptOfPodsOfOthers(t *testing.T) {
	p := NewPods(PodsOptions{Origin: "a"})
	defer p.queue.ShutDown()
	pod := build.Pod("web").Namespace("own").Obj()
	pod.UID, pod.ResourceVersion = "u1", "7"
	pod.Labels = map[string]string{v1beta1.LabelOrigin: "a"}
	pod.Status.Phase = corev1.PodRunning
	got, err := p.onlyOurs(pod.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	want := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "own", UID: "u1", ResourceVersion: "7"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("of another's pod (-want,+got):\n%s", diff)
	}
	pod.Annotations = homeUID(types.UID("h1"))
	if got, err = p.onlyOurs(pod); err != nil || got.(*corev1.Pod).Status.Phase != corev1.PodRunning {
		t.Errorf("of ours was kept %v, %v", got, err)
	}
}
