package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
)

func testRefused(s *shop) {
	p, _ := s.agent(nil)
	enforce := func(level string) {
		patch := fmt.Sprintf(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":%q}}}`, level)
		if _, err := s.away.CoreV1().Namespaces().Patch(s.Context(), s.twin, types.MergePatchType, []byte(patch),
			metav1.PatchOptions{}); err != nil {
			s.Fatal(err)
		}
	}
	enforce("restricted")
	p.TwinReady(s.ns, s.twin)
	home := s.create("web")
	s.eventually("home has the provider's words", func() error {
		got, err := s.homePod("web")
		if err != nil {
			return err
		}
		if got.Status.Phase != corev1.PodPending || got.Status.Reason != ReasonFailedCreate ||
			!strings.Contains(got.Status.Message, `violates PodSecurity "restricted:latest"`) {
			return fmt.Errorf("%s: %s: %s", got.Status.Phase, got.Status.Reason, got.Status.Message)
		}
		return nil
	})
	said := s.phase(home, corev1.PodPending)
	s.never("the same refusal is written again", func() error {
		got, err := s.homePod("web")
		if err == nil && got.ResourceVersion != said.ResourceVersion {
			return errors.New("the resource version changed")
		}
		return err
	})
	if n := len(p.opts.Recorder.(*events.FakeRecorder).Events); n != 1 {
		s.Errorf("%d events about one refusal", n)
	}
	enforce("privileged")
	s.run(s.remote(home))
	if got := s.phase(home, corev1.PodRunning); got.Status.Reason != "" || got.Status.Message != "" {
		s.Errorf("the refusal stays: %s: %s", got.Status.Reason, got.Status.Message)
	}
}

func testNotAdmitted(s *shop) {
	var allowed atomic.Bool
	var asked atomic.Int32
	p, _ := s.agent(func(o *PodsOptions) {
		o.Admit = func(context.Context, *corev1.Pod) (string, error) {
			switch {
			case allowed.Load():
				return "", nil
			case asked.Add(1) == 1:
				return "", errors.New("the cache is not filled yet") // nothing that a user should read
			default:
				return "namespace is not offloaded", nil
			}
		}
	})
	home := s.create("web")
	s.eventually("home has the sentence", func() error {
		got, err := s.homePod("web")
		if err != nil {
			return err
		}
		if got.Status.Phase != corev1.PodPending || got.Status.Reason != ReasonBackOff ||
			got.Status.Message != "namespace is not offloaded" {
			return fmt.Errorf("%s: %s: %s", got.Status.Phase, got.Status.Reason, got.Status.Message)
		}
		return nil
	})
	p.TwinReady(s.ns, s.twin)
	s.never("a remote pod is made", func() error {
		if _, err := s.awayPod("web"); !apierrors.IsNotFound(err) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	allowed.Store(true)
	p.Wake(s.ns)
	s.remote(home)
}

func testTwinLate(s *shop) {
	p, _ := s.agent(nil)
	home := s.create("web")
	s.eventually("home says what it waits for", func() error {
		got, err := s.homePod("web")
		if err != nil {
			return err
		}
		if got.Status.Reason != ReasonTwinNotReady {
			return fmt.Errorf("%s: %s", got.Status.Reason, got.Status.Message)
		}
		return nil
	})
	p.TwinReady(s.ns, s.twin)
	s.remote(home)
	s.eventually("the words go", func() error {
		got, err := s.homePod("web")
		if err == nil && got.Status.Reason != "" {
			return errors.New(got.Status.Reason)
		}
		return err
	})
}

func testFinished(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home, away := s.running("job")
	s.report(away, corev1.PodStatus{Phase: corev1.PodSucceeded})
	home = s.phase(home, corev1.PodSucceeded)
	s.end(away)
	s.never("a finished pod changes", func() error {
		got, err := s.homePod("job")
		if err == nil && got.ResourceVersion != home.ResourceVersion {
			return fmt.Errorf("it is %s", got.Status.Phase)
		}
		return err
	})
}

func testUnreachable(s *shop) {
	health := &fakeHealth{}
	p, _ := s.agent(func(o *PodsOptions) { o.Health = health })
	p.TwinReady(s.ns, s.twin)
	home, _ := s.running("web")
	ready := func(want corev1.ConditionStatus) {
		s.Helper()
		s.eventually("PodReady is "+string(want), func() error {
			got, err := s.homePod("web")
			if err != nil {
				return err
			}
			if c := condition(got, corev1.PodReady); c.Status != want || got.Status.Phase != corev1.PodRunning {
				return fmt.Errorf("%s, %+v", got.Status.Phase, c)
			}
			return nil
		})
	}
	ready(corev1.ConditionTrue)
	health.set(errors.New("no answer in time"))
	ready(corev1.ConditionFalse)
	health.set(nil)
	ready(corev1.ConditionTrue)
	if got := s.phase(home, corev1.PodRunning); got.UID != home.UID {
		s.Error("another pod")
	}
}

// troubles is a provider whose answers to creations the test decides; nil lets them through.
type troubles struct {
	next   http.RoundTripper
	answer func(attempt int32) *http.Response
	asked  atomic.Int32
}

func (r *troubles) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/pods") {
		if resp := r.answer(r.asked.Add(1)); resp != nil {
			resp.Request = req
			return resp, nil
		}
	}
	return r.next.RoundTrip(req)
}

func testTroubles(s *shop) {
	t := &troubles{answer: func(attempt int32) *http.Response {
		status := map[int32]int{1: http.StatusTooManyRequests, 2: http.StatusServiceUnavailable,
			3: http.StatusUnauthorized,
			4: http.StatusInternalServerError, 5: http.StatusGatewayTimeout}[attempt]
		if status == 0 {
			return nil
		}
		return &http.Response{StatusCode: status, Header: http.Header{},
			Body: io.NopCloser(strings.NewReader("trouble"))}
	}}
	config := s.planes[1].Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		t.next = next
		return t
	})
	away, err := kubernetes.NewForConfig(config)
	if err != nil {
		s.Fatal(err)
	}
	p, _ := s.agent(func(o *PodsOptions) { o.Away = away })
	p.TwinReady(s.ns, s.twin)
	home := must(s.T, s.home.CoreV1().Pods(s.ns).Create, build.Pod("job").Namespace(s.ns).Node(s.node()).
		Spec(func(spec *corev1.PodSpec) { spec.RestartPolicy = corev1.RestartPolicyNever }).Obj())
	phases := s.record(home)
	s.run(s.remote(home))
	s.phase(home, corev1.PodRunning)
	if n := t.asked.Load(); n != 6 {
		s.Errorf("%d attempts, want 6", n)
	}
	s.deleteHome("job", ptr.To[int64](0))
	if last := <-phases; last != corev1.PodRunning {
		s.Errorf("it was last %s", last)
	}
}

// scissors cuts the lists and watches of pods, and nothing else.
type scissors struct {
	next http.RoundTripper
	mu   sync.Mutex
	cut  bool
	open []io.Closer
}

func (c *scissors) RoundTrip(req *http.Request) (*http.Response, error) {
	list := req.Method == http.MethodGet && strings.HasSuffix(req.URL.Path, "/pods")
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	if list && cut {
		return nil, errors.New("connection reset by peer")
	}
	resp, err := c.next.RoundTrip(req)
	if err == nil && list {
		c.mu.Lock()
		c.open = append(c.open, resp.Body)
		c.mu.Unlock()
	}
	return resp, err
}

func (c *scissors) use() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = true
	for _, body := range c.open {
		_ = body.Close()
	}
}

func testCutWatch(s *shop) {
	c := &scissors{}
	config := s.planes[1].Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		c.next = next
		return c
	})
	away, err := kubernetes.NewForConfig(config)
	if err != nil {
		s.Fatal(err)
	}
	p, _ := s.agent(func(o *PodsOptions) { o.Away = away })
	p.TwinReady(s.ns, s.twin)
	home, remote := s.running("web")
	c.use()
	s.deleteHome("web", nil)
	s.eventually("the remote pod is deleted", func() error {
		got, err := s.awayPod("web")
		if err == nil && got.DeletionTimestamp == nil {
			return errors.New("it is not")
		}
		return err
	})
	s.never("home leaves first", func() error {
		_, err := s.homePod("web")
		return err
	})
	s.end(remote)
	s.gone(s.homePod, home)
}

func testMissedDeletion(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	_, away := s.running("web")
	// The Node is released and served again, as when a watch is lost for longer than the API server remembers: the new
	// watch never hears of the deletion.
	p.Release(s.node())
	s.deleteHome("web", ptr.To[int64](0))
	p.Serve(s.node(), nil)
	s.gone(s.awayPod, away)
}
