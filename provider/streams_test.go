package provider

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/twinspace/twinspace/e2e/build"
)

// TestStreamsGoToTheRightPodOrNowhere is SEC-13: a name is not enough.
func TestStreamsGoToTheRightPodOrNowhere(t *testing.T) {
	w := newWorld(t)
	r := w.rig(t, "right", rigOptions{})
	say := func() error {
		return r.exec(t.Context(), "SPDY", remotecommand.StreamOptions{Stdout: io.Discard}, "say", "hi")
	}
	refused := func(what, words string) {
		t.Helper()
		r.kubelet.asked()
		if err := say(); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: exec: %v, want %q", what, err, words)
		}
		if _, err := r.forwarding("SPDY"); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: port-forward: %v, want %q", what, err, words)
		}
		_, err := r.home.CoreV1().Pods(r.ns).GetLogs("web", &corev1.PodLogOptions{}).Stream(t.Context())
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: logs: %v, want %q", what, err, words)
		}
		if diff := cmp.Diff([]string(nil), r.kubelet.asked()); diff != "" {
			t.Errorf("%s: the kubelet was asked (-want,+got):\n%s", what, diff)
		}
	}
	if err := say(); err != nil {
		t.Fatal(err)
	}

	// From here on the loop must not put things right while they are looked at.
	away, err := r.awayPod("web")
	if err != nil {
		t.Fatal(err)
	}
	other := away.DeepCopy()
	other.Annotations = homeUID("another")
	if _, err := r.away.CoreV1().Pods(r.twin).Update(t.Context(), other, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	refused("a pod of ours, of another home pod", "does not exist at provider "+provider)
	r.end(away)
	r.gone(r.awayPod, away)
	foreign := build.Pod("web").Namespace(r.twin).Node("worker-right").Obj()
	must(t, r.away.CoreV1().Pods(r.twin).Create, foreign)
	refused("a pod that is not ours", "does not exist at provider "+provider)

	home := must(t, r.home.CoreV1().Pods(r.ns).Create, build.Pod("elsewhere").Namespace(r.ns).Node("vn-other").Obj())
	nodeAt(t, r.home, "vn-other", r.address)
	executor, err := ways()["SPDY"](r.planes[0].Config(),
		r.url(home.Name, "attach", &corev1.PodAttachOptions{Container: "app", Stdout: true}))
	if err != nil {
		t.Fatal(err)
	}
	err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), "pod "+r.ns+"/elsewhere is not on this node") {
		t.Errorf("a pod of another node: %v", err)
	}
}

// TestProvidersWithoutWebSocketsAreSpokenToBySPDY: an old API server, or a proxy before it.
func TestProvidersWithoutWebSocketsAreSpokenToBySPDY(t *testing.T) {
	w := newWorld(t)
	f := startFront(t, w.planes[1])
	r := w.rig(t, "old", rigOptions{front: f})
	var refused, spdys atomic.Int64
	f.answers(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
			spdys.Add(1)
			return false
		}
		refused.Add(1)
		http.Error(w, "what is a WebSocket?", http.StatusBadRequest)
		return true
	})
	t.Run("exec", func(t *testing.T) {
		var out bytes.Buffer
		o := remotecommand.StreamOptions{Stdin: strings.NewReader("hello"), Stdout: &out}
		if err := r.exec(t.Context(), "WebSocket", o, "cat"); err != nil || out.String() != "hello" {
			t.Errorf("%v, %q", err, &out)
		}
		r.echo(t, "SPDY")
	})
	t.Run("it ends when whoever asked has gone", func(t *testing.T) { r.leave(t, "SPDY") })
	t.Run("port-forward", func(t *testing.T) {
		forward, err := r.forwarding("WebSocket")
		if err != nil {
			t.Fatal(err)
		}
		defer forward.Close()
		if err := forward.quote(); err != nil {
			t.Error(err)
		}
	})
	if refused.Load() != 4 || spdys.Load() != 4 {
		t.Errorf("%d attempts with WebSockets, %d with SPDY", refused.Load(), spdys.Load())
	}
	r.eventually("no connection is left", func() error { return f.connected(2) })
}

// TestAProvidersRefusal: its words are told, its redirects are not followed, and its silence is not waited for.
func TestAProvidersRefusal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := startFront(t, w.planes[1])
	r := w.rig(t, "refusal", rigOptions{front: f})
	var visits atomic.Int64
	trap := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer trap.Close()
	silence := make(chan struct{})
	defer close(silence)
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		words  string
	}{
		{"in words", func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "come back tomorrow", http.StatusServiceUnavailable)
		}, "come back tomorrow"},
		{"as an API server does", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","code":403,`+
				`"message":"the fence is closed","reason":"Forbidden"}`)
		}, "the fence is closed"},
		{"without a word", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }, "418"},
		{"a book", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "in the beginning"+strings.Repeat(" and then", 1<<20))
		}, "in the beginning"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, trap.URL+r.URL.Path, http.StatusTemporaryRedirect)
		}, "307"},
		{"a redirect to itself", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusMovedPermanently)
		}, "301"},
		{"another protocol", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "gopher")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}, "gopher"},
		{"silence", func(http.ResponseWriter, *http.Request) { <-silence }, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.answers(func(w http.ResponseWriter, r *http.Request) bool {
				tc.answer(w, r)
				return true
			})
			begun := time.Now()
			err := r.exec(t.Context(), "SPDY", remotecommand.StreamOptions{Stdout: io.Discard}, "say", "hi")
			if err == nil || !strings.Contains(err.Error(), tc.words) || len(err.Error()) > 3*maxRefusal {
				t.Errorf("exec: %.2000v, want %q", err, tc.words)
			}
			if _, err := r.forwarding("SPDY"); err == nil || !strings.Contains(err.Error(), tc.words) {
				t.Errorf("port-forward: %.2000v, want %q", err, tc.words)
			}
			if took := time.Since(begun); took > 3*callTimeout {
				t.Errorf("it took %s", took)
			}
		})
	}
	if visits.Load() != 0 || r.kubelet.asked() != nil {
		t.Errorf("%d redirects were followed", visits.Load())
	}
	r.eventually("nothing is left", r.openStreams)
}

// TestSilentStreamsEnd: whoever forgot a stream does not keep it for ever.
func TestSilentStreamsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.rig(t, "silent", rigOptions{idle: 2 * time.Second})
	f, err := r.direct()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, _, err := f.to(portEcho)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // as long as something moves it stays
		if err := echo(data, "hello"); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-f.CloseChan():
	case <-time.After(converges):
		t.Fatal("a silent port-forward does not end")
	}
	r.eventually("the kubelet knows", r.kubelet.busy)
	r.eventually("nothing is left", r.openStreams)

	executor, err := r.directExec("wait")
	if err != nil {
		t.Fatal(err)
	}
	input, _ := io.Pipe()
	err = executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdin: input, Stdout: io.Discard})
	if err == nil || !strings.Contains(err.Error(), errSilent.Error()) {
		t.Errorf("a command that was cut off: %v, want that %q", err, errSilent)
	}
	r.eventually("the kubelet knows of the command", r.kubelet.busy)
	r.eventually("nothing is left of the command", r.openStreams)
}

func echo(conn io.ReadWriter, text string) error {
	if _, err := io.WriteString(conn, text); err != nil {
		return err
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if string(got) != text {
		return fmt.Errorf("%q instead of %q", got, text)
	}
	return nil
}

// directExec runs a command through the agent's endpoint, without an API server in between.
func (r *rig) directExec(command string) (remotecommand.Executor, error) {
	config := &rest.Config{Host: "https://" + r.address, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	at := r.url("web", "exec", &corev1.PodExecOptions{})
	at.Host, at.Path = r.address, "/exec/"+r.ns+"/web/app"
	at.RawQuery = "input=1&output=1&command=" + command
	return remotecommand.NewSPDYExecutor(config, http.MethodPost, at)
}

// TestStreamsEndWithTheAgent: none is waited for, none is left, and nothing looks as if it had ended well.
func TestStreamsEndWithTheAgent(t *testing.T) {
	w := newWorld(t)
	r := w.rig(t, "stop", rigOptions{})
	f, err := r.forwarding("SPDY")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, _, err := f.to(portEcho)
	if err != nil {
		t.Fatal(err)
	}
	if err := echo(data, "hello"); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	input, _ := io.Pipe()
	go func() {
		ended <- r.exec(t.Context(), "WebSocket", remotecommand.StreamOptions{Stdin: input, Stdout: io.Discard}, "wait")
	}()
	r.eventually("both run", func() error {
		r.kubelet.mu.Lock()
		defer r.kubelet.mu.Unlock()
		if r.kubelet.open != 2 {
			return fmt.Errorf("%d streams are open", r.kubelet.open)
		}
		return nil
	})
	r.stop() // returns when all have ended
	if err := r.openStreams(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), errStopping.Error()) {
			t.Errorf("a command that was cut off: %v, want that %q", err, errStopping)
		}
	case <-time.After(converges):
		t.Error("the client waits for a command of an agent that has stopped")
	}
	select {
	case <-f.CloseChan():
	case <-time.After(converges):
		t.Error("the client waits for a port-forward of an agent that has stopped")
	}
	r.eventually("the kubelet knows", r.kubelet.busy)
}

// TestRequestsThatAreNoStreams: each is told what is wrong with it, and the provider hears of none.
func TestRequestsThatAreNoStreams(t *testing.T) {
	w := newWorld(t)
	r := w.rig(t, "plain", rigOptions{})
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // its certificate is its own
	}}
	defer client.CloseIdleConnections()
	for name, tc := range map[string]struct {
		method, path string
		header       http.Header
		want         int
		says         string
	}{
		"exec without an upgrade": {
			http.MethodPost, "/exec/%s/web/app?command=say&output=1", nil, http.StatusBadRequest, "unable to upgrade",
		},
		"exec of nothing": {http.MethodPost, "/exec/%s/web/app", nil, http.StatusBadRequest, "at least one of"},
		"exec in another pod": {
			http.MethodPost, "/exec/%s/none/app?output=1", nil, http.StatusNotFound, "not on this node",
		},
		"attach of nothing": {http.MethodGet, "/attach/%s/web/app", nil, http.StatusBadRequest, "at least one of"},
		"port-forward without an upgrade": {
			http.MethodPost, "/portForward/%s/web", nil, http.StatusBadRequest, "changes to SPDY/3.1",
		},
		"port-forward without a protocol": {
			http.MethodPost, "/portForward/%s/web",
			http.Header{"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}},
			http.StatusBadRequest, "X-Stream-Protocol-Version",
		},
		"port-forward with another protocol": {
			http.MethodPost, "/portForward/%s/web",
			http.Header{"Connection": {"Upgrade"}, "Upgrade": {"SPDY/3.1"}, httpstream.HeaderProtocolVersion: {"none"}},
			http.StatusForbidden, "unable to negotiate",
		},
		"a port that is none": {
			http.MethodGet, "/portForward/%s/web?port=seven",
			http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}},
			http.StatusBadRequest, `\"seven\" is not a port`,
		},
		"by another method": {http.MethodPut, "/portForward/%s/web", nil, http.StatusMethodNotAllowed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			request, err := http.NewRequestWithContext(t.Context(), tc.method,
				"https://"+r.address+fmt.Sprintf(tc.path, r.ns), nil)
			if err != nil {
				t.Fatal(err)
			}
			if tc.header != nil {
				request.Header = tc.header
			}
			resp, err := client.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != tc.want || !strings.Contains(string(body), tc.says) {
				t.Errorf("%d %s, want %d %q", resp.StatusCode, body, tc.want, tc.says)
			}
		})
	}
	if diff := cmp.Diff([]string(nil), r.kubelet.asked()); diff != "" {
		t.Errorf("the kubelet was asked (-want,+got):\n%s", diff)
	}
}
