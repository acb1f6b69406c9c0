package reflection

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/watching"
)

// impatient is a clock whose timers fire at once.
type impatient struct{ clock.Clock }

func (impatient) After(time.Duration) <-chan time.Time {
	fired := make(chan time.Time, 1)
	fired <- time.Time{}
	return fired
}

func TestRefusedListsAndWatchesAreCounted(t *testing.T) {
	h := newHarness(t)
	attempts := 0
	answer := func() error { // twice no, then yes
		h.clock.Step(watching.RefusalPatience)
		if attempts++; attempts%3 == 0 {
			return nil
		}
		return apierrors.NewForbidden(resource, "", errors.New("no"))
	}
	refused := interceptor.NewClient(h.away, interceptor.Funcs{
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
			return answer()
		},
		Watch: func(
			context.Context, client.WithWatch, client.ObjectList, ...client.ListOption,
		) (watch.Interface, error) {
			return watch.NewFake(), answer()
		},
	})
	r := h.m.reflectors[0]
	sources := NewSources(SourceOptions{Client: refused, Clock: impatient{h.clock}})
	src := newSource(sources, r.awaySubject(), sourceKey{namespace: testAway})
	for range 2 { // two Mirrors may listen
		l := awaySide{side{reflector: r, t: h.m.twins[testHome]}}
		src.add(&view{source: src, namespace: testAway, listener: l, asker: sources})
	}
	w := src.watched
	lw := cache.ToListerWatcherWithContext(w.listWatch())
	if _, err := lw.ListWithContext(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{}); err != nil {
		t.Error(err)
	}
	counter := h.m.opts.Metrics.passes.WithLabelValues("provider-1", r.kind.resource, outcomeError)
	if got := testutil.ToFloat64(counter); got != 4 {
		t.Errorf("counted %v errors, want one of each for both", got)
	}
}

func TestAWatchThatIsDeniedIsAProblemUntilItIsNot(t *testing.T) {
	h := newHarness(t)
	told := 0
	for _, r := range h.m.reflectors {
		r.opts.ProblemsChanged = func(string) { told++ }
	}
	p := h.pair("configmaps")
	p.away.listener = awaySide{side{h.reflector("configmaps"), h.m.twins[testHome], p}}
	for range 2 {
		p.away.source.denied("configmaps is forbidden: no")
	}
	want := []v1beta1.ReflectionProblem{{
		Resource: "configmaps", Reason: v1beta1.ProblemRefused,
		Message: "nothing that changes is reflected until whoever administers provider-1 gives the right to list and " +
			"watch them: configmaps is forbidden: no",
	}}
	if diff := cmp.Diff(want, h.m.Problems(testHome)); diff != "" {
		t.Errorf("denied, -want,+got:\n%s", diff)
	}
	p.ready.Store(false)
	if !h.m.Settled(testHome) {
		t.Error("nothing else is known for as long as the right is missing, and what is a problem was said")
	}
	p.away.source.denied("")
	if diff := cmp.Diff([]v1beta1.ReflectionProblem(nil), h.m.Problems(testHome)); diff != "" {
		t.Errorf("allowed, -want,+got:\n%s", diff)
	}
	if told != 2 || h.m.Settled(testHome) {
		t.Errorf("told %d times, want one for each change; settled: %v", told, h.m.Settled(testHome))
	}
}

func TestWhatIsCached(t *testing.T) {
	full := metav1.ObjectMeta{
		Name: "s", Namespace: testAway, UID: "uid-1", ResourceVersion: "7",
		Labels:        map[string]string{v1beta1.LabelOrigin: "home", "app": "web"},
		Annotations:   map[string]string{v1beta1.AnnotationHomeUID: "uid-0", "note": "long"},
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "x"}},
	}
	got := leanCopy(&metav1.PartialObjectMetadata{ObjectMeta: full})
	want := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Name: "s", Namespace: testAway, UID: "uid-1", ResourceVersion: "7",
		Labels:      map[string]string{v1beta1.LabelOrigin: "home"},
		Annotations: map[string]string{v1beta1.AnnotationHomeUID: "uid-0"},
	}}
	if diff := cmp.Diff(want, got.(*metav1.PartialObjectMetadata)); diff != "" {
		t.Errorf("away, -want,+got:\n%s", diff)
	}

	src := configMap("settings")
	src.ManagedFields = full.ManagedFields
	src.Annotations = map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "note": "x", "liqo.io/note": "y"}
	whole := configMap("settings")
	whole.Annotations = map[string]string{"note": "x", "liqo.io/note": "y"}
	if diff := cmp.Diff(client.Object(whole), leanWhole(src.DeepCopy())); diff != "" {
		t.Errorf("whole at home, -want,+got:\n%s", diff)
	}
	meta := &metav1.PartialObjectMetadata{ObjectMeta: *configMap("settings").ObjectMeta.DeepCopy()}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMap"))
	meta.Annotations = map[string]string{"liqo.io/note": "y"}
	if diff := cmp.Diff(client.Object(meta), leanMetadata(src, meta.GroupVersionKind())); diff != "" {
		t.Errorf("metadata of home, -want,+got:\n%s", diff)
	}
}
