package env

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
)

// gateway is an API server to clients and their client to the API server: it ends TLS, so it sees requests. Whoever
// identifies himself with a token does so to the API server; whose certificate is right, the gateway vouches for, as
// the aggregation layer does. What goes wrong behind the gateway is a reset connection in front of it, never an answer
// of its own.
type gateway struct {
	accept  net.Listener
	server  *http.Server
	proxy   *httputil.ReverseProxy
	clock   clock.Clock
	rules   atomic.Pointer[rules]
	parse   *request.RequestInfoFactory
	clients map[route]*http.Transport
}

// rules are a mode, and what it needs to remember.
type rules struct {
	mode  Mode
	limit flowcontrol.PassiveRateLimiter // nil without a limit
}

// route is which way a request goes to the API server.
type route struct {
	// vouched: its user is in its headers.
	vouched bool
	// upgrade: it becomes a stream in both directions, which HTTP/2 has no means for.
	upgrade bool
}

const (
	headerUser        = "X-Remote-User"
	headerGroup       = "X-Remote-Group"
	headersOfIdentity = "X-Remote-"
)

// newGateway starts a gateway with keys of the cluster.
func newGateway(keys pki, target string, clk clock.Clock) (*gateway, error) {
	g := &gateway{
		clock: clk, clients: map[route]*http.Transport{},
		parse: &request.RequestInfoFactory{
			APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api"),
		},
	}
	g.set(Mode{Kind: Heal})
	roots, err := keys.roots()
	if err != nil {
		return nil, err
	}
	if err := g.connect(keys, roots); err != nil {
		return nil, err
	}
	serving, err := keys.pair(certServing)
	if err != nil {
		return nil, err
	}
	g.proxy = &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { g.rewrite(r, target) },
		Transport:      g,
		FlushInterval:  -1, // watches
		ErrorLog:       log.New(io.Discard, "", 0),
		ModifyResponse: g.answered,
		ErrorHandler:   func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	g.server = &http.Server{
		Handler:           g,
		ReadHeaderTimeout: time.Minute,
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, conn)
		},
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serving},
			ClientCAs: roots, ClientAuth: tls.VerifyClientCertIfGiven,
		},
	}
	if g.accept, err = net.Listen("tcp", net.JoinHostPort(loopback, "0")); err != nil {
		return nil, fmt.Errorf("open gateway: %w", err)
	}
	return g, nil
}

// connKey finds a request's connection in its context.
type connKey struct{}

// connect makes the clients of the API server.
func (g *gateway) connect(keys pki, roots *x509.CertPool) error {
	voucher, err := keys.pair(certFrontProxy)
	if err != nil {
		return err
	}
	for _, way := range []route{{}, {vouched: true}, {upgrade: true}, {vouched: true, upgrade: true}} {
		config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}
		if way.vouched {
			config.Certificates = []tls.Certificate{voucher}
		}
		client := &http.Transport{TLSClientConfig: config, DisableCompression: true, Protocols: new(http.Protocols)}
		client.Protocols.SetHTTP1(true)
		client.Protocols.SetHTTP2(!way.upgrade)
		g.clients[way] = client
	}
	return nil
}

// run answers until close.
func (g *gateway) run() { _ = g.server.ServeTLS(g.accept, "", "") }

func (g *gateway) close() {
	_ = g.server.Close()
	for client := range maps.Values(g.clients) {
		client.CloseIdleConnections()
	}
}

func (g *gateway) set(mode Mode) {
	now := &rules{mode: mode}
	if mode.Kind == Throttle {
		now.limit = flowcontrol.NewTokenBucketPassiveRateLimiterWithClock(float32(mode.Rate), mode.Rate, g.clock)
	}
	g.rules.Store(now)
}

// ServeHTTP passes a request on, or refuses it as an API server does that has too much to do.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if limit := g.rules.Load().limit; limit != nil && !limit.TryAccept() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "Too many requests, please try again later.", http.StatusTooManyRequests)
		return
	}
	defer func() {
		// An answer that broke off; unless nobody wants it any more, for others on the connection do not care.
		if broken := recover(); broken != nil {
			if r.Context().Err() == nil {
				reset(r)
			}
			panic(broken)
		}
	}()
	g.proxy.ServeHTTP(w, r)
}

// RoundTrip asks the API server.
func (g *gateway) RoundTrip(r *http.Request) (*http.Response, error) {
	way := route{vouched: r.Header.Get(headerUser) != "", upgrade: r.Header.Get("Upgrade") != ""}
	return g.clients[way].RoundTrip(r)
}

func (g *gateway) rewrite(r *httputil.ProxyRequest, target string) {
	r.SetURL(&url.URL{Scheme: "https", Host: target})
	r.Out.Host = r.In.Host
	maps.DeleteFunc(r.Out.Header, func(name string, _ []string) bool {
		return strings.HasPrefix(name, headersOfIdentity)
	})
	if r.In.TLS == nil || len(r.In.TLS.PeerCertificates) == 0 {
		return
	}
	subject := r.In.TLS.PeerCertificates[0].Subject
	r.Out.Header.Set(headerUser, subject.CommonName)
	r.Out.Header[headerGroup] = slices.Clone(subject.Organization)
}

// errUnheard ends a request whose answer is withheld.
var errUnheard = errors.New("the answer is withheld")

// answered withholds the answer if the mode says so. What counts is the mode now: the request may have taken long.
func (g *gateway) answered(answer *http.Response) error {
	info, err := g.parse.NewRequestInfo(answer.Request)
	if err == nil && g.rules.Load().mode.withholds(info) {
		return errUnheard
	}
	return nil
}

// withholds throws the dice whether the answer to the request is withheld.
func (m Mode) withholds(info *request.RequestInfo) bool {
	return m.Kind == CommitCut && m.concerns(info) && m.hits()
}

// concerns says whether the request is what the mode waits for.
func (m Mode) concerns(info *request.RequestInfo) bool {
	if !info.IsResourceRequest || !slices.Contains(WriteVerbs(), info.Verb) {
		return false
	}
	resource := info.Resource
	if info.Subresource != "" {
		resource += "/" + info.Subresource
	}
	return (m.Verb == everything || m.Verb == info.Verb) && (m.Resource == everything || m.Resource == resource)
}

// hits throws the dice.
func (m Mode) hits() bool {
	const whole = 100
	return rand.Float64()*whole < m.Percent //nolint:gosec // G404: not a secret
}

// reset ends the connection that a request came by, without a farewell.
func reset(r *http.Request) {
	if conn, ok := r.Context().Value(connKey{}).(*tls.Conn); ok {
		if tcp, ok := conn.NetConn().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = conn.NetConn().Close()
	}
}

// pair reads a certificate and its key.
func (p pki) pair(name string) (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(p.path(name+".crt"), p.path(name+".key"))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read certificate %s: %w", name, err)
	}
	return pair, nil
}

// roots reads the cluster's authority.
func (p pki) roots() (*x509.CertPool, error) {
	raw, err := os.ReadFile(p.path(certCA + ".crt"))
	if err != nil {
		return nil, fmt.Errorf("read authority: %w", err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(raw)
	return roots, nil
}
