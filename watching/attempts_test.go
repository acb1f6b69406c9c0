package watching

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

var resource = schema.GroupResource{Resource: "configmaps"}

// errNoConnection is what net/http says when nobody listens.
var errNoConnection = &url.Error{Op: "Get", URL: "https://home.example", Err: syscall.ECONNREFUSED}

// tooLarge is what an API server says that has lost what it knew.
func tooLarge() error {
	err := apierrors.NewTimeoutError("Too large resource version: 9, current: 7", 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge}}
	return err
}

func TestWhichFailuresOfAWatchPass(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want bool
	}{
		"no rights yet":                 {apierrors.NewForbidden(resource, "", errors.New("no")), true},
		"a token that is being renewed": {apierrors.NewUnauthorized("no"), true},
		"no connection":                 {errNoConnection, true},
		"a connection that breaks":      {fmt.Errorf("read the answer: %w", io.ErrUnexpectedEOF), true},
		"a stream that breaks":          {fmt.Errorf("read the answer: %w", http2.StreamError{}), true},
		"no answer in time":             {context.DeadlineExceeded, true},
		"the end":                       {context.Canceled, false},
		"an answer that is no list":     {errors.New("json: cannot unmarshal string into Go value"), false},
		"too many requests":             {apierrors.NewTooManyRequests("slow down", 1), true},
		"a server that starts":          {apierrors.NewServiceUnavailable("not yet"), true},
		"a server error":                {apierrors.NewInternalError(errors.New("etcd")), true},
		"an old resourceVersion":        {apierrors.NewResourceExpired("too old"), false},
		"a future resourceVersion":      {tooLarge(), false},
		"a server that is too slow":     {apierrors.NewTimeoutError("etcd", 1), true},
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

// Not in step, either.
func TestAttemptsComeLessOftenAndThenEveryFewSeconds(t *testing.T) {
	ms := time.Millisecond
	for name, tc := range map[string]struct {
		attempts Attempts
		answer   error
		want     []time.Duration
	}{
		"no connection": {
			Attempts{}, errNoConnection,
			[]time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms},
		},
		"a kind that is to be there": {
			Attempts{}, apierrors.NewNotFound(resource, ""),
			[]time.Duration{200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 5000 * ms, 5000 * ms},
		},
		"a kind that may be missing for good": {
			Attempts{Optional: true}, apierrors.NewNotFound(resource, ""),
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
			if len(clk.pauses) != len(tc.want) {
				t.Fatalf("want %d pauses, got %v", len(tc.want), clk.pauses)
			}
			for i, longest := range tc.want {
				if got := clk.pauses[i]; got < longest/2 || got > longest {
					t.Errorf("pause %d: want from half of %s to that, got %s", i, longest, got)
				}
			}
		})
	}
}

func TestAnAttemptIsGivenUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	attempts := Attempts{Clock: clocktesting.NewFakeClock(time.Now())}
	err := attempts.Until(ctx, func() error {
		cancel()
		return errNoConnection
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("want context.Canceled, got %v", err)
	}
}

func TestAFailureForGoodIsReturnedAtOnce(t *testing.T) {
	clk := &impatient{Clock: clocktesting.NewFakeClock(time.Now())}
	attempts := Attempts{Clock: clk}
	err := attempts.Until(t.Context(), func() error { return apierrors.NewResourceExpired("too old") })
	if !apierrors.IsResourceExpired(err) || len(clk.pauses) > 0 {
		t.Errorf("want the error at once, got %v after %v", err, clk.pauses)
	}
}
