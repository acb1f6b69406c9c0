package reflection

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

func widgetKind(version string) Reflected {
	return mirror(Kind[*unstructured.Unstructured]{
		Resource: "widgets.example.com",
		New: func() *unstructured.Unstructured {
			obj := &unstructured.Unstructured{}
			obj.SetGroupVersionKind(schema.GroupVersionKind{Group: "example.com", Version: version, Kind: "Widget"})
			return obj
		},
		Mirror: func(_, _ *unstructured.Unstructured) {},
	})
}

// kinds are what is reflected besides what the options say.
func (h *harness) extra(t *testing.T, kinds ...Reflected) map[string]*reflector {
	t.Helper()
	if err := h.m.Reflect(kinds...); err != nil {
		t.Fatal(err)
	}
	return h.m.extra
}

func TestKindsComeAndGo(t *testing.T) {
	h := newHarness(t)
	before := len(h.m.reflectors)
	first := h.extra(t, widgetKind("v1"))["widgets.example.com"]
	if same := h.extra(t, widgetKind("v1"))["widgets.example.com"]; same != first {
		t.Error("a kind that stays is begun anew")
	}
	if other := h.extra(t, widgetKind("v2"))["widgets.example.com"]; other == first || other.gvk.Version != "v2" {
		t.Error("another version is the same kind")
	}
	if !first.queue.ShuttingDown() || len(h.m.reflectors) != before+1 {
		t.Errorf("the old version is still worked on: %d kinds", len(h.m.reflectors)-before)
	}
	if h.extra(t); len(h.m.reflectors) != before {
		t.Errorf("%d kinds are left", len(h.m.reflectors)-before)
	}
}

func TestPoliciesHoldForKindsThatCome(t *testing.T) {
	h := newHarness(t)
	h.under = Policies{"widgets.example.com": PolicyNone}
	h.restart()
	if got := h.extra(t, widgetKind("v1")); len(got) != 0 {
		t.Errorf("policy None, and yet %v", got)
	}
}

func TestKindsThatCannotCome(t *testing.T) {
	for name, tc := range map[string]struct {
		kind Reflected
		want string
	}{
		"there already": {mirror(ConfigMaps()), "reflect configmaps: the options have it already"},
		"a follower": {
			mirror(Kind[*corev1.Pod]{
				Resource: "pods", New: func() *corev1.Pod { return &corev1.Pod{} }, Follows: "services",
			}),
			"kinds that follow or refer to others must be in the options",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.extra(t, widgetKind("v1"))
			err := h.m.Reflect(tc.kind)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("want %q, got %v", tc.want, err)
			}
			if h.m.extra["widgets.example.com"] == nil {
				t.Error("something changed nevertheless")
			}
		})
	}
}

func TestClientsAreToldHowCustomResourcesAreCalled(t *testing.T) {
	c, err := NewClient(&rest.Config{Host: "https://192.0.2.1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	gvk := widgetKind("v1").create().GetObjectKind().GroupVersionKind()
	if _, err := c.RESTMapper().RESTMapping(gvk.GroupKind(), "v1"); err == nil {
		t.Error("it is known before")
	}
	learn(gvk, "widgets.example.com", c)
	mapping, err := c.RESTMapper().RESTMapping(gvk.GroupKind(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(gvk.GroupVersion().WithResource("widgets"), mapping.Resource); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestWhatMayBeReferredToIsKnownUntilItIsNot(t *testing.T) {
	h := newHarness(t).inCluster()
	r := h.reflector("secrets")
	twin := h.m.twins[testHome]
	if wanted, _ := r.wanted(testHome, twin); wanted {
		t.Error("nothing was said, and yet it is wanted")
	}
	h.pods.pods = []*corev1.Pod{pulling("a").Node("vn-1").Obj()}
	r.demand.note(testHome, "pull")
	wanted, said := r.wanted(testHome, twin)
	if !wanted {
		t.Error("a pod refers to it, and yet it is not wanted")
	}
	h.pods.pods = nil
	r.demand.note(testHome, "pull")
	paused := false
	r.demand.unless(testHome, said, func() { paused = true })
	if paused {
		t.Error("what was said meanwhile was missed")
	}
	if wanted, said = r.wanted(testHome, nil); wanted || len(r.demand.of) != 0 {
		t.Errorf("it is wanted: %v, and %d namespaces are remembered", wanted, len(r.demand.of))
	}
	r.demand.unless(testHome, said, func() { paused = true })
	if !paused {
		t.Error("nothing was said, and yet it is not paused")
	}
	h.pods.unknown = true
	r.demand.note(testHome, "pull")
	if wanted, _ := r.wanted(testHome, nil); !wanted {
		t.Error("it is decided before the pods are known")
	}
}

func TestWatchingLastsForAMinuteAfterTheLastUse(t *testing.T) {
	h := newHarness(t).inCluster()
	r, p := h.reflector("secrets"), h.pair("secrets")
	p.used(h.clock.Now())
	if got := r.tend(testHome); got != restAfter {
		t.Errorf("want another look in %s, got %s", restAfter, got)
	}
	h.clock.Step(restAfter)
	p.state("pull") // somebody works on it
	if r.tend(testHome); h.pair("secrets") == nil {
		t.Error("it is not watched any more, though a copy may come")
	}
	p.forget("pull")
	p.home.source.cancel = func() {}
	p.away.source.cancel = func() {}
	close(p.home.source.ended)
	close(p.away.source.ended)
	if r.tend(testHome); h.pair("secrets") != nil {
		t.Error("it is still watched")
	}
}

func TestAKindThatIsDismissedLeavesNoProblemsAndNobodyWaitingForIt(t *testing.T) {
	h := newHarness(t)
	var (
		mu   sync.Mutex // the watches of both clusters tell
		last = -1       // how many problems there were when somebody was last told
	)
	h.m.opts.ProblemsChanged = func(home string) {
		mu.Lock()
		defer mu.Unlock()
		last = len(h.m.Problems(home))
	}
	hears := func(problems int) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return last == problems
		}
	}
	h.m.ctx = t.Context()
	h.m.opts.Home.client, h.m.opts.Away.client = missingEverything(h.home), missingEverything(h.away)
	h.extra(t, widgetKind("v1"))
	if !becomes(t, hears(2)) {
		t.Error("nobody was told that both clusters lack the kind")
	}
	if h.extra(t); !becomes(t, hears(0)) {
		t.Error("nobody was told that its problems are over")
	}
	over := make(chan struct{})
	go func() {
		h.m.running.Wait()
		close(over)
	}()
	if !ended(over) {
		t.Error("somebody still waits for what is not watched any more")
	}
}

// missingEverything is a cluster that knows none of the kinds.
func missingEverything(c client.WithWatch) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return apierrors.NewNotFound(resource, "")
		},
		Watch: func(
			context.Context, client.WithWatch, client.ObjectList, ...client.ListOption,
		) (watch.Interface, error) {
			return nil, apierrors.NewNotFound(resource, "")
		},
	})
}
