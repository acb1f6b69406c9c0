package reflection

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func TestWhichFailuresOfAWatchPass(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"no rights yet":                 {apierrors.NewForbidden(resource, "", errors.New("no")), true},
		"a token that is being renewed": {apierrors.NewUnauthorized("no"), true},
		"no connection":                 {errors.New("connection refused"), true},
		"too many requests":             {apierrors.NewTooManyRequests("slow down", 1), true},
		"a server that starts":          {apierrors.NewServiceUnavailable("not yet"), true},
		"a server error":                {apierrors.NewInternalError(errors.New("etcd")), true},
		"an old resourceVersion":        {apierrors.NewResourceExpired("too old"), false},
		"a server that cannot stream":   {apierrors.NewInvalid(schema.GroupKind{}, "", nil), false},
		"a kind that the server lacks":  {apierrors.NewNotFound(resource, ""), true},
		"a kind that the client lacks":  {&meta.NoKindMatchError{}, false},
		"a request that makes no sense": {apierrors.NewBadRequest("no"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := passing(tc.err); got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}

// impatient is a clock whose timers fire at once and are noted.
type impatient struct {
	clock.Clock
	pauses []time.Duration
}

func (c *impatient) After(d time.Duration) <-chan time.Time {
	c.pauses = append(c.pauses, d)
	fired := make(chan time.Time, 1)
	fired <- time.Time{}
	return fired
}

func TestAttemptsComeLessOftenAndThenEveryFewSeconds(t *testing.T) {
	clk := &impatient{Clock: clocktesting.NewFakeClock(time.Now())}
	left := 7
	got, err := patiently(t.Context(), clk, func() (string, error) {
		if left--; left >= 0 {
			return "", errors.New("connection refused")
		}
		return "done", nil
	})
	if err != nil || got != "done" {
		t.Errorf("got %q, %v", got, err)
	}
	want := []time.Duration{
		200 * time.Millisecond, 400 * time.Millisecond, 800 * time.Millisecond, 1600 * time.Millisecond,
		3200 * time.Millisecond, 5 * time.Second, 5 * time.Second,
	}
	if diff := cmp.Diff(want, clk.pauses); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestAnAttemptIsGivenUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	clk := clocktesting.NewFakeClock(time.Now())
	_, err := patiently(ctx, clk, func() (string, error) {
		cancel()
		return "", errors.New("connection refused")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
}

func TestAFailureForGoodIsReturnedAtOnce(t *testing.T) {
	clk := &impatient{}
	_, err := patiently(t.Context(), clk, func() (string, error) { return "", apierrors.NewResourceExpired("too old") })
	if !apierrors.IsResourceExpired(err) || len(clk.pauses) > 0 {
		t.Errorf("want the error at once, got %v after %v", err, clk.pauses)
	}
}

func TestARefusalThatLastsIsSaidOnceAndSoIsItsEnd(t *testing.T) {
	forbidden := apierrors.NewForbidden(resource, "", errors.New("no"))
	unauthorized := apierrors.NewUnauthorized("no")
	silence := errors.New("connection refused")
	repeat := func(err error, times int) []error { return slices.Repeat([]error{err}, times) }
	const said, over = "Cannot watch", "Not refused any more"

	// An attempt is made every five seconds.
	for name, tc := range map[string]struct {
		answers     []error
		want        []string
		wantCounted int
		wantDenied  bool
	}{
		"rights that come in time": {answers: append(repeat(forbidden, 6), nil)},
		"rights that do not come": {
			answers: repeat(forbidden, 9), want: []string{said}, wantCounted: 3, wantDenied: true,
		},
		"rights that come late": {
			answers: append(repeat(forbidden, 7), nil, nil), want: []string{said, over}, wantCounted: 1,
		},
		"no rights, after a token that has run out": {
			answers: slices.Concat(repeat(unauthorized, 7), repeat(forbidden, 7)),
			want:    []string{said}, wantCounted: 2, wantDenied: true,
		},
		"a token that has run out, which the node has": {
			answers: repeat(unauthorized, 7), want: []string{said}, wantCounted: 1,
		},
		"a kind that goes with the rights to it": {
			answers: append(repeat(forbidden, 7), apierrors.NewNotFound(resource, "")),
			want:    []string{said, over}, wantCounted: 1,
		},
		"no answer, which the node has": {answers: repeat(silence, 20)},
		"one refusal after the other": {
			answers: slices.Concat(repeat(forbidden, 6), repeat(unauthorized, 6), []error{nil}),
		},
		"no answer between refusals": {
			answers: slices.Concat(repeat(forbidden, 3), repeat(silence, 3), repeat(forbidden, 1), []error{nil}),
			want:    []string{said, over}, wantCounted: 1,
		},
		"an old resourceVersion is no end": {
			answers: slices.Concat(repeat(forbidden, 7), []error{apierrors.NewResourceExpired("too old"), nil}),
			want:    []string{said, over}, wantCounted: 1,
		},
		"a second time": {
			answers: slices.Concat(repeat(forbidden, 7), []error{nil}, repeat(forbidden, 7)),
			want:    []string{said, over, said}, wantCounted: 2, wantDenied: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			logger := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{})
			clk, counted, denied := clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0)), 0, ""
			w := &watched{
				namespace: testAway, clock: clk, missing: func(bool) {},
				refusal: refusal{
					cluster: "provider-1", resource: "configmaps", count: func() { counted++ },
					denied: func(words string) { denied = words },
				},
			}
			for _, err := range tc.answers {
				w.hear(log.IntoContext(t.Context(), logger), err)
				clk.Step(5 * time.Second)
			}
			var got []string
			for _, line := range lines {
				for _, word := range []string{`"level"=0`, `"namespace"="` + testAway, `"configmaps"`, `"provider-1"`} {
					if !strings.Contains(line, word) {
						t.Errorf("%s does not say %s", line, word)
					}
				}
				got = append(got, regexp.MustCompile(said+"|"+over).FindString(line))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("lines -want,+got:\n%s", diff)
			}
			if counted != tc.wantCounted {
				t.Errorf("counted %d, want %d", counted, tc.wantCounted)
			}
			if got := denied == forbidden.Error(); got != tc.wantDenied {
				t.Errorf("denied in the end: %q, want that: %v", denied, tc.wantDenied)
			}
		})
	}
}

func TestRefusedListsAndWatchesAreCounted(t *testing.T) {
	h := newHarness(t)
	attempts := 0
	answer := func() error { // twice no, then yes
		h.clock.Step(refusalPatience)
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
	sources := NewSources(SourceOptions{Client: refused, Clock: &impatient{Clock: h.clock}})
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
