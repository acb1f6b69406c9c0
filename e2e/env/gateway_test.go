package env

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	testingclock "k8s.io/utils/clock/testing"
)

// gate is a gateway in front of a server that behaves, as far as it goes, like an API server.
type gate struct {
	*testing.T
	keys   pki
	link   *Link
	clock  *testingclock.FakeClock
	server *httptest.Server
	done   atomic.Int32 // writes
	slow   chan struct{}
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{T: t, keys: pki{dir: t.TempDir(), now: time.Now()}, slow: make(chan struct{})}
	g.clock = testingclock.NewFakeClock(g.keys.now)
	ca, err := g.keys.authority(certCA)
	g.must(err)
	front, err := g.keys.authority(certFrontProxyCA)
	g.must(err)
	g.must(g.keys.issue(front, leaf{name: certFrontProxy}))
	g.must(g.keys.issue(ca, leaf{name: certServing, hosts: []string{loopback}}))
	g.must(g.keys.issue(ca, leaf{name: "jane", groups: []string{"a", "b"}}))
	g.serve()
	if g.link, err = NewGateway("127.0.0.1:0", g.server.Listener.Addr().String(), g.keys.dir, g.clock); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.link.Close)
	return g
}

func (g *gate) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

func (g *gate) serve() {
	serving, err := g.keys.pair(certServing)
	g.must(err)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /whoami", func(w http.ResponseWriter, r *http.Request) {
		vouched := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			vouched = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		_, _ = fmt.Fprintf(w, "%s %v by %s, token %q, to %s", r.Header.Get(headerUser), r.Header[headerGroup], vouched,
			r.Header.Get("Authorization"), r.Host)
	})
	mux.HandleFunc("/api/v1/", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			g.done.Add(1)
		}
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("GET /watch", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		w.(http.Flusher).Flush()
		select {
		case <-g.slow:
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("GET /broken", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half of")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("POST /exec", func(w http.ResponseWriter, _ *http.Request) {
		conn, stream, err := w.(http.Hijacker).Hijack()
		if err != nil {
			g.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_, _ = io.Copy(conn, stream)
	})
	g.server = httptest.NewUnstartedServer(mux)
	g.server.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serving},
		ClientAuth: tls.RequestClientCert}
	g.server.EnableHTTP2 = true
	g.server.StartTLS()
	g.Cleanup(g.server.Close)
}

// client returns a client of the gateway, with a certificate or without, and all its requests on one connection.
func (g *gate) client(cert string) *http.Client {
	roots, err := g.keys.roots()
	g.must(err)
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
	if cert != "" {
		pair, err := g.keys.pair(cert)
		g.must(err)
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}
	g.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func (g *gate) set(text string) {
	g.Helper()
	mode, err := ParseMode(text)
	g.must(err)
	g.must(g.link.Set(mode))
}

// ask returns the body of the answer.
func (g *gate) ask(client *http.Client, method, path string, header http.Header) (*http.Response, string, error) {
	g.Helper()
	r, err := http.NewRequestWithContext(g.Context(), method, "https://"+g.link.Addr()+path, strings.NewReader("{}"))
	g.must(err)
	for name, values := range header {
		r.Header[name] = values
	}
	answer, err := client.Do(r)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return answer, string(body), err
}

func TestAGatewayPassesOnWhoAsks(t *testing.T) {
	g := newGate(t)
	to := "to " + g.link.Addr()
	for name, tc := range map[string]struct {
		cert   string
		header http.Header
		want   string
	}{
		"a token": {"", http.Header{"Authorization": {"Bearer x"}}, ` [] by nobody, token "Bearer x", ` + to},
		"nobody":  {"", nil, ` [] by nobody, token "", ` + to},
		"a name that is claimed": {"", http.Header{headerUser: {"admin"}, headerGroup: {"system:masters"}},
			` [] by nobody, token "", ` + to},
		"a certificate":                      {"jane", nil, `jane [a b] by front-proxy-client, token "", ` + to},
		"a certificate of another authority": {certFrontProxy, nil, ` [] by nobody, token "", ` + to},
		"a certificate, and another's groups": {"jane", http.Header{headerGroup: {"system:masters"}},
			`jane [a b] by front-proxy-client, token "", ` + to},
	} {
		t.Run(name, func(t *testing.T) {
			answer, got, err := g.ask(g.client(tc.cert), http.MethodGet, "/whoami", tc.header)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || answer.ProtoMajor != 2 {
				t.Errorf("by %s (-want,+got)\n%s", answer.Proto, diff)
			}
		})
	}
}

func TestAGatewayPassesOnWhatComesBitByBit(t *testing.T) {
	g := newGate(t)
	answer, err := g.client("").Get("https://" + g.link.Addr() + "/watch")
	g.must(err)
	defer func() { _ = answer.Body.Close() }()
	if line, err := bufio.NewReader(answer.Body).ReadString('\n'); line != "first\n" {
		t.Errorf("heard %q, %v", line, err)
	}
	close(g.slow)
}

func TestAGatewayPassesOnStreamsInBothDirections(t *testing.T) {
	g := newGate(t)
	roots, err := g.keys.roots()
	g.must(err)
	conn, err := tls.Dial("tcp", g.link.Addr(), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots})
	g.must(err)
	defer func() { _ = conn.Close() }()
	_, err = fmt.Fprintf(conn, "POST /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	g.must(err)
	heard := bufio.NewReader(conn)
	answer, err := http.ReadResponse(heard, nil)
	if err != nil || answer.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer is %v, %v", answer, err)
	}
	for _, word := range []string{"hello\n", "world\n"} {
		_, err := io.WriteString(conn, word)
		g.must(err)
		if line, err := heard.ReadString('\n'); line != word {
			t.Errorf("heard %q, %v", line, err)
		}
	}
}

func TestAThrottledGatewayRefusesWhatIsTooMuch(t *testing.T) {
	g := newGate(t)
	client := g.client("")
	g.set("throttle=3")
	got := map[int]int{}
	count := func() {
		answer, _, err := g.ask(client, http.MethodPost, "/api/v1/pods", nil)
		g.must(err)
		got[answer.StatusCode]++
		if answer.StatusCode == http.StatusTooManyRequests && answer.Header.Get("Retry-After") != "1" {
			t.Errorf("headers are %v", answer.Header)
		}
	}
	for range 5 {
		count()
	}
	g.clock.Step(time.Second)
	for range 5 {
		count()
	}
	g.set("heal")
	for range 5 {
		count()
	}
	if diff := cmp.Diff(map[int]int{200: 3 + 3 + 5, 429: 2 + 2}, got); diff != "" || g.done.Load() != 3+3+5 {
		t.Errorf("%d were done, answers are (-want,+got)\n%s", g.done.Load(), diff)
	}
}

func TestACommittedRequestGoesUnheard(t *testing.T) {
	g := newGate(t)
	client := g.client("")
	unheard := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s ends with %v, want a reset connection", what, err)
		}
	}
	heard := func(method, path string) {
		t.Helper()
		if answer, _, err := g.ask(client, method, path, nil); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %v", method, path, err)
		}
	}
	g.set("commitcut=create pods")
	heard(http.MethodPost, "/api/v1/namespaces/x/services")
	heard(http.MethodPatch, "/api/v1/namespaces/x/pods/a")
	heard(http.MethodGet, "/api/v1/namespaces/x/pods/a")
	before := g.done.Load()
	_, _, err := g.ask(client, http.MethodPost, "/api/v1/namespaces/x/pods", nil)
	unheard("the creation of a pod", err)
	if g.done.Load() != before+1 {
		t.Errorf("it was done %d times", g.done.Load()-before)
	}
	heard(http.MethodPost, "/api/v1/namespaces/x/services") // on a new connection

	g.set("commitcut=* *")
	for _, write := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		_, _, err := g.ask(client, write, "/api/v1/namespaces/x/pods/a/status", nil)
		unheard(write, err)
	}
	heard(http.MethodGet, "/api/v1/namespaces/x/pods/a")
	g.set("commitcut=delete pods:50%")
	lost, kept := 0, 0
	for range 100 {
		if _, _, err := g.ask(client, http.MethodDelete, "/api/v1/namespaces/x/pods/a", nil); err != nil {
			lost++
		} else {
			kept++
		}
	}
	if lost < 20 || kept < 20 {
		t.Errorf("%d of 100 answers were withheld, want about 50", lost)
	}
	g.set("heal")
	heard(http.MethodDelete, "/api/v1/namespaces/x/pods/a")
}

func TestWhatACommitCutConcerns(t *testing.T) {
	all := &Mode{Kind: CommitCut, Verb: "*", Resource: "*"}
	create := &Mode{Kind: CommitCut, Verb: "create", Resource: "pods"}
	status := &Mode{Kind: CommitCut, Verb: "patch", Resource: "pods/status"}
	collections := &Mode{Kind: CommitCut, Verb: "deletecollection", Resource: "*"}
	for name, tc := range map[string]struct {
		request string
		want    []*Mode
	}{
		"a pod is created":            {"POST /api/v1/namespaces/x/pods", []*Mode{all, create}},
		"a pod is applied":            {"PATCH /api/v1/namespaces/x/pods/a", []*Mode{all}},
		"a pod's status is written":   {"PATCH /api/v1/namespaces/x/pods/a/status", []*Mode{all, status}},
		"a pod is bound":              {"POST /api/v1/namespaces/x/pods/a/binding", []*Mode{all}},
		"all pods are deleted":        {"DELETE /api/v1/namespaces/x/pods", []*Mode{all, collections}},
		"a namespace is created":      {"POST /api/v1/namespaces", []*Mode{all}},
		"pods are listed":             {"GET /api/v1/namespaces/x/pods", nil},
		"pods are watched":            {"GET /api/v1/namespaces/x/pods?watch=1", nil},
		"something that is no object": {"POST /healthz", nil},
		"a foreign kind of that name": {"POST /apis/x.io/v1/namespaces/x/pods", []*Mode{all, create}},
	} {
		t.Run(name, func(t *testing.T) {
			method, url, _ := strings.Cut(tc.request, " ")
			parse := request.RequestInfoFactory{
				APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api"),
			}
			info, err := parse.NewRequestInfo(httptest.NewRequest(method, url, nil))
			if err != nil {
				t.Fatal(err)
			}
			var got []*Mode
			for _, mode := range []*Mode{all, create, status, collections} {
				if mode.concerns(info) {
					got = append(got, mode)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

// Who speaks through a gateway must not be able to tell: it never answers in place of the server.
func TestWhatBreaksBehindAGatewayBreaksInFrontOfIt(t *testing.T) {
	g := newGate(t)
	client := g.client("")
	if _, _, err := g.ask(client, http.MethodGet, "/broken", nil); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("an answer that breaks off ends with %v, want a reset connection", err)
	}
	g.server.Close()
	if answer, _, err := g.ask(client, http.MethodGet, "/whoami", nil); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("without a server the answer is %v, %v, want a reset connection", answer, err)
	}
}

func TestARequestThatIsGivenUpDoesNotEndOthers(t *testing.T) {
	g := newGate(t)
	client := g.client("")
	watch := func(ctx context.Context) io.ReadCloser {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+g.link.Addr()+"/watch", nil)
		g.must(err)
		answer, err := client.Do(r)
		g.must(err)
		_, err = io.ReadFull(answer.Body, make([]byte, len("first\n")))
		g.must(err)
		return answer.Body
	}
	kept := watch(t.Context())
	defer func() { _ = kept.Close() }()
	ctx, giveUp := context.WithCancel(t.Context())
	dropped := watch(ctx)
	giveUp()
	_ = dropped.Close()
	// What comes later on the same connection shows that the gateway is done with it.
	if _, _, err := g.ask(client, http.MethodGet, "/whoami", nil); err != nil {
		t.Error(err)
	}
	close(g.slow)
	if rest, err := io.ReadAll(kept); err != nil {
		t.Errorf("the other watch ends with %q, %v", rest, err)
	}
}

func TestAGatewayIsALinkToo(t *testing.T) {
	g := newGate(t)
	client := g.client("")
	g.set("cut")
	if _, _, err := g.ask(client, http.MethodGet, "/whoami", nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a cut gateway answers with %v", err)
	}
	g.set("blackhole")
	client.Timeout = quiet
	var silence net.Error
	if _, _, err := g.ask(client, http.MethodGet, "/whoami", nil); !errors.As(err, &silence) || !silence.Timeout() {
		t.Errorf("a black hole answers with %v", err)
	}
}

func TestALinkThatReadsNothingRefusesModesThatActOnRequests(t *testing.T) {
	l := newLink(t)
	for _, mode := range []Mode{
		{Kind: Throttle, Rate: 1}, {Kind: CommitCut, Percent: 1, Verb: "create", Resource: "pods"},
	} {
		var usage *UsageError
		if err := l.Set(mode); !errors.As(err, &usage) {
			t.Errorf("%s: error is %v", mode, err)
		}
	}
	if err := ask(dial(t, l), "hello", time.Second); err != nil {
		t.Errorf("it does not work any more: %v", err)
	}
}

func TestAClosedGatewayLeavesNothing(t *testing.T) {
	g := newGate(t)
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	link, err := NewGateway("127.0.0.1:0", g.server.Listener.Addr().String(), g.keys.dir, g.clock)
	g.must(err)
	g.link.Close()
	g.link = link
	client := g.client("")
	if _, _, err := g.ask(client, http.MethodGet, "/whoami", nil); err != nil {
		t.Error(err)
	}
	client.CloseIdleConnections()
	link.Close()
	g.server.CloseClientConnections()
}

func TestALinkResetsItsShareOfConnections(t *testing.T) {
	l := newLink(t)
	set(t, l, Mode{Kind: Reset, Percent: 100})
	if err := ask(dial(t, l), "hello", time.Second); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ends with %v, want a reset", err)
	}
	set(t, l, Mode{Kind: Reset, Percent: 20})
	var lost, kept atomic.Int32
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			conn, err := net.Dial("tcp", l.Addr())
			if err == nil {
				defer func() { _ = conn.Close() }()
				err = ask(conn, "hello", 30*time.Second)
			}
			if err == nil {
				kept.Add(1)
			} else {
				lost.Add(1)
			}
		})
	}
	all.Wait()
	// There and back again: 36 % are lost.
	if lost.Load() < 30 || kept.Load() < 80 {
		t.Errorf("%d of 200 were lost, want about 72", lost.Load())
	}
	set(t, l, Mode{Kind: Heal})
	if err := ask(dial(t, l), "hello", time.Second); err != nil {
		t.Errorf("after healing: %v", err)
	}
}

func TestALongAnswerHasOneChanceInATimeOnly(t *testing.T) {
	mode, start := Mode{Kind: Reset, Percent: 100}, time.Now()
	var l luck
	for name, tc := range map[string]struct {
		after time.Duration
		want  bool
	}{
		"the first piece":                 {0, true},
		"the next":                        {time.Millisecond, false},
		"what comes after it for a while": {9 * time.Millisecond, false},
	} {
		l = luck{}
		if tc.after > 0 {
			l.ends(mode, start)
		}
		if got := l.ends(mode, start.Add(tc.after)); got != tc.want {
			t.Errorf("%s: %t, want %t", name, got, tc.want)
		}
	}
	if !l.ends(mode, start.Add(time.Second)) {
		t.Error("what comes later has no chance")
	}
}
