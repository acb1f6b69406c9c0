package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	crfake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// Twins and Nodes come and go, before and after the start, and nothing stays behind.
func TestNothingIsLeftRunning(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	p := NewPods(PodsOptions{
		Home:   fake.NewClientset(build.Pod("web").Namespace("shop").UID("1").Node("vn-1").Obj()),
		Away:   fake.NewClientset(),
		Origin: "home", Destination: "provider-1", Recorder: events.NewFakeRecorder(100),
	})
	p.TwinReady("early", "early-home")
	p.TwinGone("never")
	p.Serve("vn-1", nil)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Start(ctx) }()
	for _, ns := range []string{"shop", "early"} {
		p.TwinReady(ns, ns+"-home")
		p.TwinReady(ns, ns+"-home")
		p.TwinReady(ns, ns+"-moved")
		p.TwinLeaving(ns)
		p.TwinGone(ns)
		p.TwinReady(ns, ns+"-home")
	}
	p.Serve("vn-2", nil)
	p.Release("vn-2")
	p.Release("vn-3")
	p.Wake("shop")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestIsRefusal(t *testing.T) {
	status := func(code int, causes ...metav1.StatusCause) error {
		return &apierrors.StatusError{ErrStatus: metav1.Status{Code: int32(code),
			Details: &metav1.StatusDetails{Causes: causes}}}
	}
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"policy":                   {status(http.StatusForbidden), true},
		"invalid":                  {status(http.StatusUnprocessableEntity), true},
		"too large for etcd":       {status(http.StatusInternalServerError), true},
		"too large for the server": {status(http.StatusRequestEntityTooLarge), true},
		"wrapped":                  {fmt.Errorf("create: %w", status(http.StatusForbidden)), true},
		"the namespace is going": {
			status(http.StatusForbidden, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause}), false,
		},
		"throttled":                {status(http.StatusTooManyRequests), false},
		"the token has expired":    {status(http.StatusUnauthorized), false},
		"the server is starting":   {status(http.StatusServiceUnavailable), false},
		"the server took too long": {status(http.StatusGatewayTimeout), false},
		"the connection was cut":   {errors.New("connection reset by peer"), false},
		"the deadline passed":      {context.DeadlineExceeded, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := isRefusal(tc.err); got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}

func TestRetryHonoursTheServer(t *testing.T) {
	for name, tc := range map[string]struct {
		err        error
		wantAtMost time.Duration
		wantAfter  time.Duration
	}{
		"own delay":          {errors.New("cut"), time.Second, 0},
		"the server's delay": {apierrors.NewTooManyRequests("busy", 7), 8 * time.Second, 6 * time.Second},
		"within reason": {
			apierrors.NewTooManyRequests("busy", 1<<30), maxRetryAfter + time.Second, maxRetryAfter - time.Second,
		},
		"a refusal that was told": {errBackoff, time.Second, 0},
		"a shorter one than our own": {
			apierrors.NewServerTimeout(schema.GroupResource{Resource: "pods"}, "create", 0), time.Second, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
			queue := &delays{}
			p := NewPods(PodsOptions{Clock: clock})
			p.queue.ShutDown()
			p.queue = queue
			p.retry(t.Context(), key{Name: "web"}, tc.err)
			if got := queue.after; got > tc.wantAtMost || got < tc.wantAfter {
				t.Errorf("want between %s and %s, got %s", tc.wantAfter, tc.wantAtMost, got)
			}
		})
	}
}

// delays is a queue that remembers the last delay.
type delays struct{ after time.Duration }

func (d *delays) AddAfter(_ key, after time.Duration) { d.after = after }
func (d *delays) Add(key)                             {}
func (d *delays) Len() int                            { return 0 }
func (d *delays) Get() (key, bool)                    { return key{}, true }
func (d *delays) Done(key)                            {}
func (d *delays) ShutDown()                           {}
func (d *delays) ShutDownWithDrain()                  {}
func (d *delays) ShuttingDown() bool                  { return true }

func TestBackoffIsCapped(t *testing.T) {
	p := NewPods(PodsOptions{})
	defer p.queue.ShutDown()
	var last time.Duration
	for range 100 {
		last = p.limiter.When(key{Name: "web"})
	}
	if last != backoffMax {
		t.Errorf("the 100th delay is %s, want %s", last, backoffMax)
	}
}

func TestWhatWaitsIsTriedWhenTheProviderAnswersAgain(t *testing.T) {
	p := NewPods(PodsOptions{Clock: clock.RealClock{}})
	defer p.queue.ShutDown()
	tokens := NewTokens(p, clock.RealClock{})
	defer tokens.queue.ShutDown()
	_, _ = p.limiter.When(key{Name: "web"}), tokens.limiter.When(holder{})
	p.Retry()
	tokens.Retry()
	if p.queue.Len() != 1 || tokens.queue.Len() != 1 {
		t.Errorf("%d pods and %d holders of tokens are tried", p.queue.Len(), tokens.queue.Len())
	}
}

func TestMapped(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1beta1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	m := build.Map("provider-1").Want("wanted", "wanted-home").Has("there", "there-home",
		v1beta1.MappingTerminating).Obj()
	with := Mapped(crfake.NewClientBuilder().WithScheme(scheme).WithObjects(m).Build(), "provider-1")
	without := Mapped(crfake.NewClientBuilder().WithScheme(scheme).Build(), "provider-1")
	for name, tc := range map[string]struct {
		mapped    func(context.Context, string) (bool, error)
		namespace string
		want      bool
	}{
		"wanted":        {with, "wanted", true},
		"still there":   {with, "there", true},
		"never heard":   {with, "other", false},
		"no map at all": {without, "wanted", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.mapped(t.Context(), tc.namespace)
			if err != nil || got != tc.want {
				t.Errorf("want %v, got %v, %v", tc.want, got, err)
			}
		})
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	m := NewMetrics(registry)
	m.action(doMirror)
	m.failure()
	var none *Metrics
	none.action(doMirror)
	none.failure()
	want := `# HELP twinspace_pod_failures_total Calls of an API server by the pod loop that failed and are tried ` +
		`again, and watches that are refused for long.
# TYPE twinspace_pod_failures_total counter
twinspace_pod_failures_total 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "twinspace_pod_failures_total"); err != nil {
		t.Error(err)
	}
	if got := testutil.ToFloat64(m.actions.WithLabelValues("mirror")); got != 1 {
		t.Errorf("%v decisions to mirror", got)
	}
}
