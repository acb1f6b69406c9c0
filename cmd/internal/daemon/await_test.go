package daemon

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestAStartWaitsForHome(t *testing.T) {
	for name, code := range map[string]int{
		"until it answers": http.StatusOK, "also when it does not know us": http.StatusUnauthorized,
		"also when it is not well": http.StatusServiceUnavailable,
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if asked.Add(1) <= 2 {
					panic(http.ErrAbortHandler) // the connection ends without an answer
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(code)
				_, _ = w.Write([]byte("{}"))
			}))
			defer server.Close()
			c := clocktesting.NewFakeClock(time.Now())
			ended := make(chan error, 1)
			go func() { ended <- AwaitHome(t.Context(), &rest.Config{Host: server.URL}, c) }()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for deadline := time.After(time.Minute); ; {
				select {
				case err := <-ended:
					if err != nil || asked.Load() < 3 {
						t.Errorf("after %d attempts: %v", asked.Load(), err)
					}
					return
				case <-deadline:
					t.Fatal("it does not return")
				case <-tick.C:
					if c.HasWaiters() {
						c.Step(askAgain)
					}
				}
			}
		})
	}
}

func TestAStartThatWaitsCanBeEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := clocktesting.NewFakeClock(time.Now())
	err := AwaitHome(ctx, &rest.Config{Host: "http://127.0.0.1:1"}, c)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
