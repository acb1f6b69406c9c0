package provider

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/transport/websocket"
)

func TestPortsFarAwayAreReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, way := range []string{"WebSocket", "SPDY"} {
		t.Run(way, func(t *testing.T) {
			r := w.rig(t, "forward-"+strings.ToLower(way), rigOptions{})
			f, err := r.forwarding(way)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			t.Run("a port that says something and ends", func(t *testing.T) {
				if err := f.quote(); err != nil {
					t.Error(err)
				}
				want := []string{fmt.Sprintf("forward %s/web:%d", r.twin, portQuote)}
				if diff := cmp.Diff(want, r.kubelet.asked()); diff != "" {
					t.Errorf("-want,+got:\n%s", diff)
				}
			})
			t.Run("a port where nobody listens", func(t *testing.T) {
				_, errs, err := f.to(1)
				if err != nil {
					t.Fatal(err)
				}
				if said, err := io.ReadAll(errs); err != nil || !strings.Contains(string(said), "connection refused") {
					t.Errorf("%v, %q", err, said)
				}
			})
			t.Run("several at once, a megabyte each way", func(t *testing.T) {
				var all errgroup.Group
				for range 4 {
					data, _, err := f.to(portEcho)
					if err != nil {
						t.Fatal(err)
					}
					all.Go(func() error { return echoes(data, 1<<20) })
				}
				if err := all.Wait(); err != nil {
					t.Error(err)
				}
			})
			_ = f.Close()
			r.eventually("they end", r.kubelet.busy)
			r.eventually("the agent has forgotten them", r.openStreams)
		})
	}
}

// echoes sends so many bytes to what repeats them, and closes.
func echoes(conn io.ReadWriteCloser, size int) error {
	sent, got := make([]byte, size), make([]byte, size)
	_, _ = rand.Read(sent)
	var both errgroup.Group
	both.Go(func() error {
		_, err := conn.Write(sent)
		return err
	})
	both.Go(func() error {
		_, err := io.ReadFull(conn, got)
		return err
	})
	if err := both.Wait(); err != nil {
		return err
	}
	if !bytes.Equal(sent, got) {
		return errors.New("other bytes came back")
	}
	return conn.Close()
}

// TestPortsAreForwardedToOtherLanguages: their libraries name ports in the request and get a channel for each, in a
// WebSocket that API servers pass on as it is.
func TestPortsAreForwardedToOtherLanguages(t *testing.T) {
	w := newWorld(t)
	r := w.rig(t, "channels", rigOptions{})
	transport, holder, err := websocket.RoundTripperFor(r.planes[0].Config())
	if err != nil {
		t.Fatal(err)
	}
	at := r.url("web", "portforward", &corev1.PodPortForwardOptions{Ports: []int32{portQuote}})
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, at.String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := websocket.Negotiate(transport, holder, request, "v4.channel.k8s.io")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// The first two bytes of each channel repeat the port; then comes what it says.
	want := map[byte]string{0: string([]byte{portQuote, 0}) + "nothing is far away", 1: string([]byte{portQuote, 0})}
	got := map[byte]string{}
	for got[0] != want[0] || got[1] != want[1] {
		if err := conn.SetReadDeadline(time.Now().Add(converges)); err != nil {
			t.Fatal(err)
		}
		_, message, err := conn.ReadMessage()
		if err != nil || len(message) == 0 {
			t.Fatalf("%v after %q", err, got)
		}
		got[message[0]] += string(message[1:])
	}
	_ = conn.Close()
	r.eventually("it ends", r.kubelet.busy)
	r.eventually("the agent has forgotten it", r.openStreams)
}

// TestNothingIsLeftOfAThousandPortForwards counts goroutines, connections and streams.
func TestNothingIsLeftOfAThousandPortForwards(t *testing.T) {
	const all, atOnce = 1000, 20
	w := newWorld(t)
	front := startFront(t, w.planes[1])
	r := w.rig(t, "thousand", rigOptions{front: front})
	forwards := func(n int) {
		t.Helper()
		var clients errgroup.Group
		clients.SetLimit(atOnce)
		for range n {
			clients.Go(func() error {
				f, err := r.direct()
				if err != nil {
					return err
				}
				defer f.Close()
				return f.quote()
			})
		}
		if err := clients.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	nothingOpen := func() {
		t.Helper()
		r.eventually("no stream is left", r.openStreams)
		r.eventually("nothing is left at the kubelet", r.kubelet.busy)
		r.eventually("no connection to the provider is left", func() error { return front.connected(2) })
	}
	forwards(atOnce) // makes what stays
	nothingOpen()
	before := runtime.NumGoroutine()
	forwards(all)
	nothingOpen()
	r.eventually("no goroutine is left", func() error {
		if now := runtime.NumGoroutine(); now > before {
			return fmt.Errorf("%d goroutines, and %d before", now, before)
		}
		return nil
	})
	if got := len(r.kubelet.asked()); got != all+atOnce {
		t.Errorf("%d of %d arrived", got, all+atOnce)
	}
}

func TestAPipeEnds(t *testing.T) {
	for name, end := range map[string]func(home, away net.Conn, cancel func()){
		"when home goes":         func(home, _ net.Conn, _ func()) { _ = home.Close() },
		"when the provider goes": func(_, away net.Conn, _ func()) { _ = away.Close() },
		"when it is told to":     func(_, _ net.Conn, cancel func()) { cancel() },
	} {
		t.Run(name, func(t *testing.T) {
			home, homeEnd := net.Pipe()
			away, awayEnd := net.Pipe()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var running sync.WaitGroup
			running.Go(func() { pipe(ctx, homeEnd, awayEnd) })
			carries(t, home, away)
			carries(t, away, home)
			end(home, away, cancel)
			running.Wait()
			for side, conn := range map[string]net.Conn{"home": home, "away": away} {
				if _, err := conn.Write([]byte("x")); err == nil {
					t.Errorf("%s is still open", side)
				}
			}
		})
	}
}

func carries(t *testing.T, from, to net.Conn) {
	t.Helper()
	var got [5]byte
	var both errgroup.Group
	both.Go(func() error {
		_, err := from.Write([]byte("hello"))
		return err
	})
	both.Go(func() error {
		_, err := io.ReadFull(to, got[:])
		return err
	})
	if err := both.Wait(); err != nil || string(got[:]) != "hello" {
		t.Fatalf("%v, %q", err, got)
	}
}

func TestOnlyProtocolsArePassedOn(t *testing.T) {
	for name, tc := range map[string]struct {
		lines []string
		want  []string
	}{
		"none":     {nil, nil},
		"one":      {[]string{"v4.channel.k8s.io"}, []string{"v4.channel.k8s.io"}},
		"several":  {[]string{"v4.channel.k8s.io, channel.k8s.io"}, []string{"v4.channel.k8s.io", "channel.k8s.io"}},
		"in lines": {[]string{"v4.channel.k8s.io", "channel.k8s.io"}, []string{"v4.channel.k8s.io", "channel.k8s.io"}},
		"a token among them": {
			[]string{"base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.base64.channel.k8s.io"},
			[]string{"v4.base64.channel.k8s.io"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			header := http.Header{}
			for _, line := range tc.lines {
				header.Add("Sec-WebSocket-Protocol", line)
			}
			if diff := cmp.Diff(tc.want, channelProtocols(header)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}
