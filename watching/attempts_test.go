package watching

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

var resource = schema.GroupResource{Resource: "configmaps"}

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
	ms := time.Millisecond
	for name, tc := range map[string]struct {
		attempts Attempts
		answer   error
		want     []time.Duration
	}{
		"no connection": {
			Attempts{}, errors.New("connection refused"),
			[]time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms},
		},
		"a kind that is to be there": {
			Attempts{}, apierrors.NewNotFound(resource, ""),
			[]time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms},
		},
		"a kind that may be missing for good": {
			Attempts{Missing: func(bool) {}}, apierrors.NewNotFound(resource, ""),
			slices.Repeat([]time.Duration{30 * time.Second}, 7),
		},
	} {
		t.Run(name, func(t *testing.T) {
			clk := &impatient{Clock: clocktesting.NewFakeClock(time.Now())}
			tc.attempts.Clock = clk
			left := 7
			err := tc.attempts.Until(t.Context(), func() error {
				if left--; left >= 0 {
					return tc.answer
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(tc.want, clk.pauses); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestAnAttemptIsGivenUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	attempts := Attempts{Clock: clocktesting.NewFakeClock(time.Now())}
	err := attempts.Until(ctx, func() error {
		cancel()
		return errors.New("connection refused")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
}

func TestAFailureForGoodIsReturnedAtOnce(t *testing.T) {
	clk := &impatient{}
	attempts := Attempts{Clock: clk}
	err := attempts.Until(t.Context(), func() error { return apierrors.NewResourceExpired("too old") })
	if !apierrors.IsResourceExpired(err) || len(clk.pauses) > 0 {
		t.Errorf("want the error at once, got %v after %v", err, clk.pauses)
	}
}
