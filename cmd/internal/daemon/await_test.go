package daemon

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestAStartWaitsForHome(t *testing.T) {
	const (
		none = `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"NotFound","code":404}`
		some = `{"kind":"APIResourceList","resources":[{"name":"virtualnodes","kind":"VirtualNode"}]}`
		all  = `{"kind":"APIResourceList","resources":[{"name":"virtualnodes","kind":"VirtualNode"},` +
			`{"name":"namespacemaps","kind":"NamespaceMap"},` +
			`{"name":"namespaceoffloadings","kind":"NamespaceOffloading"}]}`
	)
	type answer struct {
		code int
		body string
	}
	refused := func(code int) []answer { return []answer{{code, `{}`}} }
	for name, answers := range map[string][]answer{
		"until it answers":              {{http.StatusOK, all}},
		"also when it does not know us": refused(http.StatusUnauthorized),
		"also when it is not well":      refused(http.StatusServiceUnavailable),
		"until our kinds are installed": {{http.StatusNotFound, none}, {http.StatusOK, some}, {http.StatusOK, all}},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				n := int(asked.Add(1)) - 3
				if n < 0 {
					panic(http.ErrAbortHandler) // the connection ends without an answer
				}
				a := answers[min(n, len(answers)-1)]
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(a.code)
				_, _ = w.Write([]byte(a.body))
			}))
			defer server.Close()
			c := clocktesting.NewFakeClock(time.Now())
			ended := make(chan error, 1)
			go func() { ended <- AwaitHome(t.Context(), &rest.Config{Host: server.URL}, "0", c) }()
			tick := time.NewTicker(time.Millisecond)
			defer tick.Stop()
			for deadline := time.After(time.Minute); ; {
				select {
				case err := <-ended:
					if err != nil || int(asked.Load()) < 2+len(answers) {
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
	err := AwaitHome(ctx, &rest.Config{Host: "http://127.0.0.1:1"}, "0", c)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A kubelet ends a container that does not answer, and starts it again after ever longer pauses.
func TestAStartThatWaitsIsAliveButNotReady(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	c := clocktesting.NewFakeClock(time.Now())
	ended := make(chan error, 1)
	go func() { ended <- AwaitHome(ctx, &rest.Config{Host: "http://127.0.0.1:1"}, address, c) }()
	for deadline := time.After(time.Minute); !c.HasWaiters(); {
		select {
		case <-deadline:
			t.Fatal("it does not wait")
		case <-time.After(time.Millisecond):
		}
	}
	for path, code := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		answer, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		if answer.StatusCode != code {
			t.Errorf("%s: status %d", path, answer.StatusCode)
		}
	}
	cancel()
	<-ended
	after, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the manager cannot listen there now: %v", err)
	}
	_ = after.Close()
}
