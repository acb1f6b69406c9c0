package provider

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func testUnavailable(s *shop) {
	health := &fakeHealth{}
	p, _ := s.agent(func(o *PodsOptions) { o.Health = health })
	p.TwinReady(s.ns, s.twin)
	s.running("web")
	done, doneAway := s.running("job")
	s.report(doneAway, corev1.PodStatus{Phase: corev1.PodSucceeded})
	done = s.phase(done, corev1.PodSucceeded)
	labelled := func(name string, want bool) {
		s.Helper()
		s.eventually(fmt.Sprintf("%s is labelled: %v", name, want), func() error {
			pod, err := s.homePod(name)
			if err == nil && (pod.Labels[v1beta1.LabelRemoteUnavailable] == "true") != want {
				return fmt.Errorf("labels %v", pod.Labels)
			}
			return err
		})
	}
	health.set(errors.New("no answer in time"))
	labelled("web", true)
	p.TwinLeaving(s.ns) // a pod that cannot be created
	s.create("late")
	labelled("late", true)
	p.TwinReady(s.ns, s.twin)
	if pod, err := s.homePod("web"); err != nil || condition(pod, corev1.PodReady).Status != corev1.ConditionFalse {
		s.Errorf("the label came before the condition: %v", err)
	}
	health.set(nil)
	labelled("web", false)
	labelled("late", false)
	if pod, err := s.awayPod("web"); err != nil || pod.Labels[v1beta1.LabelRemoteUnavailable] != "" {
		s.Errorf("the provider was told about itself: %v", err)
	}
	if pod, err := s.homePod("job"); err != nil || pod.ResourceVersion != done.ResourceVersion {
		s.Errorf("a finished pod was written to: %v", err)
	}
}

// turnstile is a provider that answers creations only when it is opened.
type turnstile struct {
	next   http.RoundTripper
	mu     sync.Mutex
	shut   chan struct{} // nil: open
	waits  int
	posted []time.Time
	busy   int // creations that are still told to come back later
}

func (g *turnstile) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodPost || !strings.HasSuffix(req.URL.Path, "/pods") {
		return g.next.RoundTrip(req)
	}
	g.mu.Lock()
	shut, busy := g.shut, g.busy > 0
	g.waits++
	g.posted = append(g.posted, time.Now())
	if busy {
		g.busy--
	}
	g.mu.Unlock()
	if busy {
		return &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"4"}},
			Body: io.NopCloser(strings.NewReader("too many requests")), Request: req}, nil
	}
	if shut != nil {
		<-shut // whatever the deadline of the call: a test has to see who waits for whom
	}
	return g.next.RoundTrip(req)
}

func (s *shop) gated(g *turnstile) (*kubernetes.Clientset, *Throttle) {
	s.Helper()
	throttle := NewThrottle(clock.RealClock{})
	config := s.planes[1].Config()
	config.QPS = -1
	config.UserAgent = agentName
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		g.next = next
		return throttle.Wrap(g)
	})
	away, err := kubernetes.NewForConfig(config)
	if err != nil {
		s.Fatal(err)
	}
	return away, throttle
}

func testSlowProvider(s *shop) {
	g := &turnstile{}
	away, throttle := s.gated(g)
	p, _ := s.agent(func(o *PodsOptions) { o.Away, o.Throttle, o.Workers = away, throttle, 4 })
	p.TwinReady(s.ns, s.twin)
	home, remote := s.running("web")
	shut := make(chan struct{})
	open := sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.shut = nil
		close(shut)
	})
	s.Cleanup(open) // before the agent is waited for
	g.mu.Lock()
	g.shut, g.waits = shut, 0
	g.mu.Unlock()
	const burst = 20
	for i := range burst {
		s.create(fmt.Sprintf("burst-%02d", i))
	}
	s.eventually("as many creations are under way as there may be", func() error {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.waits < p.lanes.slots {
			return fmt.Errorf("%d are", g.waits)
		}
		return nil
	})
	s.report(remote, corev1.PodStatus{Phase: corev1.PodSucceeded})
	s.phase(home, corev1.PodSucceeded)
	open()
	for i := range burst {
		s.eventually("the creations go on", func() error {
			_, err := s.awayPod(fmt.Sprintf("burst-%02d", i))
			return err
		})
	}
}

func testRetryAfter(s *shop) {
	g := &turnstile{busy: 1}
	away, throttle := s.gated(g)
	p, _ := s.agent(func(o *PodsOptions) { o.Away, o.Throttle, o.Workers = away, throttle, 2 })
	p.TwinReady(s.ns, s.twin)
	first, second := s.create("first"), s.create("second")
	s.remote(first)
	s.remote(second)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.posted) != 3 {
		s.Errorf("%d creations were asked for, want 3", len(g.posted))
	}
	if rest := g.posted[1].Sub(g.posted[0]); rest < 3*time.Second {
		s.Errorf("the provider was asked again after %s", rest)
	}
}
