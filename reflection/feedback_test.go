package reflection

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
)

// speaking are Services whose load balancers' addresses come home.
func speaking() Reflected {
	return mirror(Kind[*corev1.Service]{
		Resource: "services", New: func() *corev1.Service { return &corev1.Service{} },
		Mirror:   func(dst, src *corev1.Service) { dst.Spec.Selector = src.Spec.Selector },
		Feedback: func(dst, src *corev1.Service) { dst.Status.LoadBalancer = src.Status.LoadBalancer },
	})
}

// speakingHarness has a Service with a copy.
func speakingHarness(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t)
	h.kinds = []Reflected{speaking()}
	h.restart()
	h.has(build.Service(testHome, "web"))
	h.settle("services", "web")
	h.reads("get web")
	return h
}

// answers gives the copy a status.
func (h *harness) answers(ip string) {
	h.t.Helper()
	h.meddle(func(c client.Client) error {
		obj := copied(h, &corev1.Service{}, "web")
		obj.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip}}
		return c.Status().Update(h.t.Context(), obj)
	})
}

// home is the Service at home.
func (h *harness) homeService() *corev1.Service {
	h.t.Helper()
	obj := &corev1.Service{}
	h.quietly(func() error {
		return h.home.Get(h.t.Context(), client.ObjectKey{Namespace: testHome, Name: "web"}, obj)
	})
	return obj
}

func (h *harness) expectStatus(want string) {
	h.t.Helper()
	got := ""
	for _, ingress := range h.homeService().Status.LoadBalancer.Ingress {
		got += ingress.IP
	}
	if got != want {
		h.t.Errorf("the status at home is %q, want %q", got, want)
	}
}

func TestAStatusComesHomeWithOneWrite(t *testing.T) {
	h := speakingHarness(t)
	h.answers("192.0.2.1")
	h.settle("services", "web")
	h.expect("get web")
	h.reads("get web", "status web")
	h.expectStatus("192.0.2.1")

	h.caches(h.homeService()) // home tells us of our own write
	h.settle("services", "web")
	h.expect()
	h.reads()

	h.restart()
	h.settle("services", "web")
	h.expect("get web")
	h.reads("get web")
	fed := testutil.ToFloat64(h.m.opts.Metrics.passes.WithLabelValues("provider-1", "services", outcomeFeedback))
	if fed != 0 {
		t.Errorf("counted %v writes after a restart", fed)
	}
}

func TestAStatusThatOthersChangeAtHomeIsPutRight(t *testing.T) {
	h := speakingHarness(t)
	h.answers("192.0.2.1")
	h.settle("services", "web")
	changed := h.homeService()
	changed.Status.LoadBalancer.Ingress = nil
	h.quietly(func() error { return h.home.Status().Update(t.Context(), changed) })
	h.caches(h.homeService())
	h.settle("services", "web")
	h.expect("get web")
	h.expectStatus("192.0.2.1")
}

func TestAStatusThatCouldNotBeWrittenIsWrittenLater(t *testing.T) {
	h := speakingHarness(t)
	h.answers("192.0.2.1")
	h.deny = func(call string, obj client.Object) error {
		if call == "status" {
			return conflict(obj)
		}
		return nil
	}
	for range 2 {
		if _, err := h.look("services", "web"); !apierrors.IsConflict(err) {
			t.Errorf("want a conflict, got %v", err)
		}
	}
	h.deny = func(string, client.Object) error { return nil }
	h.settle("services", "web")
	h.expectStatus("192.0.2.1")
}

func TestAStatusThatIsTooLargeStaysAway(t *testing.T) {
	h := speakingHarness(t)
	h.answers(strings.Repeat("1", maxStatus))
	after, err := h.look("services", "web")
	if !errors.Is(err, errLargeStatus) || after != retryRefused {
		t.Errorf("got %v after %s", err, after)
	}
	h.reads("get web")
	h.expectStatus("")
	if told := strings.Join(h.told(), "\n"); !strings.Contains(told, "is larger than 256 KiB and stays there") {
		t.Errorf("told %q", told)
	}
	h.clock.Step(after)
	h.answers("192.0.2.1")
	h.settle("services", "web")
	h.expectStatus("192.0.2.1")
	if left := h.m.Problems(testHome); len(left) > 0 {
		t.Errorf("there are still problems: %v", left)
	}
}

func TestAKindWithoutASubresourceForItsStatus(t *testing.T) {
	h := speakingHarness(t)
	h.deny = func(call string, obj client.Object) error {
		if call == "status" {
			return apierrors.NewNotFound(resource, obj.GetName())
		}
		return nil
	}
	h.answers("192.0.2.1")
	_, err := h.look("services", "web")
	h.reads("get web", "status web", "patch web")
	if !errors.Is(err, errNoStatus) { // the fake client keeps the status out of that, as if there were a subresource
		t.Errorf("want errNoStatus, got %v", err)
	}
	if h.reflector("services").bare.Load() {
		t.Error("the kind is taken for one without")
	}
}

func TestThePatchOfAStatusIsForExactlyWhatWasSeen(t *testing.T) {
	live := build.Service(testHome, "web")
	live.UID, live.ResourceVersion = "uid-1", "7"
	want := live.DeepCopy()
	want.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	patch, _, err := patchOf(live, want)
	if err != nil {
		t.Fatal(err)
	}
	text, err := patch.Data(want)
	if err != nil {
		t.Fatal(err)
	}
	const wanted = `{"metadata":{"resourceVersion":"7","uid":"uid-1"},` +
		`"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`
	if diff := cmp.Diff(wanted, string(text)); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}
