package reflection

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/twinspace/twinspace/e2e/build"
)

func TestNewRefuses(t *testing.T) {
	metrics, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	c := NewSources(SourceOptions{Client: fake.NewClientBuilder().WithScheme(testScheme(t)).Build()})
	complete := Options{
		Origin: "home", Destination: "provider-1", Home: c, Away: c, Metrics: metrics,
		Events: record.NewFakeRecorder(1), Kinds: []Reflected{mirror(ConfigMaps())},
	}
	for name, tc := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"nothing that is complete": {func(*Options) {}, ""},
		"an empty origin":          {func(o *Options) { o.Origin = "" }, "needs both cluster ids"},
		"an empty destination":     {func(o *Options) { o.Destination = "" }, "needs both cluster ids"},
		"no events":                {func(o *Options) { o.Events = nil }, "an event recorder and metrics"},
		"kinds that follow what is not reflected": {
			func(o *Options) { o.Kinds = []Reflected{mirror(EndpointSlices(facts()))} },
			"reflect endpointslices: they follow services, which are not reflected",
		},
		"kinds that the clients do not know": {
			func(o *Options) {
				kind := Kind[*unknown]{Resource: "unknowns", New: func() *unknown { return &unknown{} }}
				o.Kinds = []Reflected{mirror(kind)}
			},
			"reflect unknowns: find kind",
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := complete
			tc.change(&opts)
			_, err := New(opts)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("want %q, got %v", tc.want, err)
			}
		})
	}
}

// unknown is a kind that no scheme knows.
type unknown struct{ corev1.ConfigMap }

// queued takes everything out of a queue.
func (h *harness) queued(resource string) []string {
	h.t.Helper()
	queue := h.reflector(resource).queue
	var names []string
	for queue.Len() > 0 {
		it, _ := queue.Get()
		queue.Done(it)
		names = append(names, it.home+"/"+it.name)
	}
	return names
}

func (h *harness) expectQueued(resource string, want ...string) {
	h.t.Helper()
	if diff := cmp.Diff(want, h.queued(resource)); diff != "" {
		h.t.Errorf("%s to look at, -want,+got:\n%s", resource, diff)
	}
}

func TestWhatIsLookedAtWhen(t *testing.T) {
	h := newHarness(t)
	twin := h.m.twins[testHome]
	service, slice := build.Service(testHome, "web"), build.EndpointSlice(testHome, "a", "web", "", "10.0.0.1")
	h.has(service)
	h.has(slice)
	services := h.reflector("services")

	fromHome := func() { homeSide{side{services, twin, h.pair("services")}}.changed(nil, service) }
	fromAway := func() {
		awaySide{side{services, twin, h.pair("services")}}.changed(nil, build.Service(testAway, "web"))
	}
	fromHome()
	h.expectQueued("services", "shop/web")
	h.expectQueued("endpointslices", "shop/a.home") // it follows

	homeSide{side{services, twin, h.pair("services")}}.changed(service, nil)
	h.expectQueued("services", "shop/web")
	h.expectQueued("endpointslices", "shop/a.home")

	fromAway()
	h.expectQueued("services", "shop/web")
	h.expectQueued("endpointslices")

	h.pair("services").ready.Store(false)
	fromHome()
	fromAway()
	h.m.Refresh()
	h.expectQueued("services") // all are looked at when the pair is ready
	h.expectQueued("endpointslices", "shop/a.home")

	h.pair("services").ready.Store(true)
	h.m.Refresh()
	h.expectQueued("services", "shop/web")
}

func TestAPodBringsItsSecretsUp(t *testing.T) {
	h := newHarness(t).inCluster()
	h.pods.onEach(pulling("a").Node("vn-1").Obj())
	h.expectQueued("secrets", "shop/pull") // even if it does not exist: a copy may
	h.has(secret("pull"))
	h.pods.onEach(pulling("a").Node("vn-1").Obj())
	h.pods.onEach(pulling("a").Node("vn-1").Namespace("not-offloaded").Obj())
	h.expectQueued("secrets", "shop/pull", "not-offloaded/") // and whether anything is referred to there
}

func TestATwinThatLeavesIsLeftAlone(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	h.m.TwinLeaving(testHome)
	h.m.TwinLeaving(testHome)
	h.m.TwinGone(testHome)
	if _, err := h.reflector("configmaps").reconcile(t.Context(), item{testHome, "settings"}); err != nil {
		t.Error(err)
	}
	h.expect()
}

func TestATwinUnderAnotherNameIsAnother(t *testing.T) {
	h := newHarness(t)
	before := h.m.twins[testHome]
	h.m.TwinReady(testHome, testAway)
	if h.m.twins[testHome] != before {
		t.Error("the same twin was begun again")
	}
	h.m.TwinReady(testHome, "other")
	if got := h.m.twins[testHome]; got == before || got.away != "other" {
		t.Errorf("the twin is %+v", got)
	}
	if h.m.twin(testHome) != nil {
		t.Error("it is worked on before Start")
	}
}

func TestTheQueueAfterAPass(t *testing.T) {
	for name, tc := range map[string]struct {
		answer      error
		foreign     bool
		wantRetries int
	}{
		"it went well":            {nil, false, 0},
		"it may pass":             {errors.New("connection refused"), false, 1},
		"somebody else must move": {nil, true, 0}, // looked at again after a pause, not by backoff
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			if tc.foreign {
				h = newHarness(t, foreign("settings"))
			}
			h.has(configMap("settings"))
			h.refuse = func(string, client.Object) error { return tc.answer }
			r, it := h.reflector("configmaps"), item{testHome, "settings"}
			r.pass(t.Context(), it)
			if got := r.queue.NumRequeues(it); got != tc.wantRetries {
				t.Errorf("want %d retries, got %d", tc.wantRetries, got)
			}
			waiting := r.queue.Len()
			if h.m.Retry(); r.queue.Len()-waiting != tc.wantRetries {
				t.Errorf("when the provider answers again, %d are tried", r.queue.Len()-waiting)
			}
			failed := testutil.ToFloat64(h.m.opts.Metrics.passes.WithLabelValues("provider-1", "configmaps", "error"))
			if want := tc.answer != nil || tc.foreign; (failed == 1) != want {
				t.Errorf("want an error counted: %v, got %v", want, failed)
			}
		})
	}
}

func TestMetricsTellWritesFromNoops(t *testing.T) {
	h := newHarness(t)
	src := configMap("settings")
	h.has(src)
	h.pair("configmaps").touch("settings", h.clock.Now())
	h.clock.Step(3 * time.Second)
	h.settle("configmaps", "settings")
	h.settle("configmaps", "settings")
	h.lost(src)
	h.settle("configmaps", "settings")
	for outcome, want := range map[string]float64{
		outcomeCreate: 1, outcomeNoop: 1, outcomeDelete: 1, outcomePatch: 0, outcomeError: 0,
	} {
		got := testutil.ToFloat64(h.m.opts.Metrics.passes.WithLabelValues("provider-1", "configmaps", outcome))
		if got != want {
			t.Errorf("%s: want %v, got %v", outcome, want, got)
		}
	}
	if got := testutil.CollectAndCount(h.m.opts.Metrics.latency); got != 1 {
		t.Errorf("want one latency series, got %d", got)
	}
	if _, changed := h.pair("configmaps").took("settings", h.clock.Now()); changed {
		t.Error("one change is measured twice")
	}
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	reg := prometheus.NewRegistry()
	if _, err := NewMetrics(reg); err != nil {
		t.Fatal(err)
	}
	if _, err := NewMetrics(reg); err == nil {
		t.Error("want an error, so that two Mirrors share one")
	}
}
