package watching

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

func TestARefusalThatLastsIsSaidOnceAndSoIsItsEnd(t *testing.T) {
	forbidden := apierrors.NewForbidden(resource, "", errors.New("no"))
	unauthorized := apierrors.NewUnauthorized("no")
	silence := error(errNoConnection)
	repeat := func(err error, times int) []error { return slices.Repeat([]error{err}, times) }
	const said, over = "Cannot watch", "Not refused any more"

	// An attempt is made every five seconds.
	for name, tc := range map[string]struct {
		answers     []error
		want        []string
		wantCounted int
		wantDenied  bool
		mayMiss     bool
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
			answers: append(repeat(forbidden, 7), apierrors.NewNotFound(resource, "")), mayMiss: true,
			want: []string{said, over}, wantCounted: 1,
		},
		"a kind that is missing, and that somebody tells of": {
			answers: repeat(apierrors.NewNotFound(resource, ""), 9), mayMiss: true,
		},
		"a kind that is missing, and that is to be there": {
			answers: append(repeat(apierrors.NewNotFound(resource, ""), 7), nil),
			want:    []string{said, over}, wantCounted: 1,
		},
		"no answer, which the node has": {answers: repeat(silence, 20)},
		"a server that is not well, in several words": {
			answers: []error{
				apierrors.NewTooManyRequests("slow down", 1), apierrors.NewServiceUnavailable("not yet"),
				apierrors.NewInternalError(errors.New("etcd")), apierrors.NewTimeoutError("etcd", 1),
				apierrors.NewServiceUnavailable("not yet"), apierrors.NewServiceUnavailable("not yet"),
				apierrors.NewServiceUnavailable("not yet"),
			}, want: []string{said}, wantCounted: 1,
		},
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
			a := &Attempts{
				Cluster: "provider-1", Namespace: "shop-home", Resource: "configmaps", Clock: clk,
				Count: func() { counted++ }, Denied: func(words string) { denied = words },
			}
			if tc.mayMiss {
				a.Optional = true
			}
			for _, err := range tc.answers {
				a.hear(log.IntoContext(t.Context(), logger), err)
				clk.Step(5 * time.Second)
			}
			var got []string
			for _, line := range lines {
				for _, word := range []string{`"level"=0`, `"namespace"="shop-home"`, `"configmaps"`, `"provider-1"`} {
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

func TestAKindThatIsMissingIsToldUntilItIsThere(t *testing.T) {
	var told []bool
	a := &Attempts{
		Clock:    clocktesting.NewFakeClock(time.Unix(1_900_000_000, 0)),
		Optional: true, Missing: func(is bool) { told = append(told, is) },
	}
	for _, err := range []error{
		apierrors.NewNotFound(resource, ""), errNoConnection, apierrors.NewNotFound(resource, ""), nil,
	} {
		a.hear(t.Context(), err)
	}
	if diff := cmp.Diff([]bool{true, true, false}, told); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}
