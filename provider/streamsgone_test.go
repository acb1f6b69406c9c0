package provider

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"k8s.io/utils/clock"
	testclock "k8s.io/utils/clock/testing"
)

// TestABusyStreamIsNotSilent: only silence counts, from the last byte on.
func TestABusyStreamIsNotSilent(t *testing.T) {
	clock := testclock.NewFakeClock(time.Now())
	a := &activity{clock: clock}
	a.note()
	done := make(chan bool, 1)
	go func() { done <- a.untilIdle(t.Context(), time.Minute) }()
	waiting := func() {
		for !clock.HasWaiters() {
			runtime.Gosched()
		}
	}
	waiting()
	clock.Step(40 * time.Second)
	a.note()
	clock.Step(40 * time.Second) // a minute after the beginning, 40 s after the last byte
	waiting()
	select {
	case <-done:
		t.Fatal("it ended before it had been silent for a minute")
	default:
	}
	clock.Step(20 * time.Second)
	if !<-done {
		t.Error("it ended, and not because it was silent")
	}
}

func TestNobodyIsSilentWhoHasEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if (&activity{clock: clock.RealClock{}}).untilIdle(ctx, time.Hour) {
		t.Error("an ended stream counts as silent")
	}
}

// TestATakenOverConnectionIsWatched: the handler is told how it ended, and reads what net/http had read already.
func TestATakenOverConnectionIsWatched(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(client net.Conn, server *httptest.Server, clock *testclock.FakeClock)
		want error
	}{
		"the client goes": {
			func(client net.Conn, _ *httptest.Server, _ *testclock.FakeClock) { _ = client.Close() }, errHomeGone,
		},
		"nothing moves": {
			func(_ net.Conn, _ *httptest.Server, c *testclock.FakeClock) { c.Step(time.Minute) }, errSilent,
		},
	} {
		t.Run(name, func(t *testing.T) {
			clock := testclock.NewFakeClock(time.Now())
			heard, ended := make(chan string, 1), make(chan error, 1)
			server := httptest.NewServer(untilOver(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, buffered, err := http.NewResponseController(w).Hijack()
				if err != nil {
					ended <- err
					return
				}
				line, err := buffered.ReadString('\n')
				heard <- line
				if err == nil {
					go func() { _, _ = io.Copy(io.Discard, buffered) }()
					<-r.Context().Done()
				}
				_ = conn.Close()
				ended <- whyEnded(r.Context())
			}), clock, time.Minute))
			defer server.Close()
			client, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := io.WriteString(client, "GET / HTTP/1.1\r\nHost: here\r\n\r\nhello\n"); err != nil {
				t.Fatal(err)
			}
			if line := <-heard; line != "hello\n" {
				t.Errorf("it heard %q", line)
			}
			for !clock.HasWaiters() {
				runtime.Gosched()
			}
			tc.end(client, server, clock)
			if err := <-ended; !errors.Is(err, tc.want) {
				t.Errorf("it ended because %v, want %v", err, tc.want)
			}
		})
	}
}

func TestWhyAStreamEndedWithoutAReason(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := whyEnded(ctx); !errors.Is(err, errStopping) {
		t.Error(err)
	}
}

// TestAConnectionThatCannotBeTakenOverSaysSo is HTTP/2.
func TestAConnectionThatCannotBeTakenOverSaysSo(t *testing.T) {
	w := &watchedWriter{ResponseWriter: httptest.NewRecorder()}
	if _, _, err := w.Hijack(); !errors.Is(err, http.ErrNotSupported) {
		t.Error(err)
	}
}
