package remote

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// An HTTP/2 connection on which nothing arrives for pingAfter is pinged, and closed when no answer comes within
// pingTimeout. client-go's own values add up to 45 s, which is how long a black hole would freeze every watch.
const (
	pingAfter   = 10 * time.Second
	pingTimeout = 10 * time.Second
)

// maxAnswer is how much of an answer is read that is held in memory as a whole. It is some ten thousand pods.
const maxAnswer = 64 << 20

// ErrAnswerTooLong says that a provider has answered with more than anybody shall hold in memory for it.
var ErrAnswerTooLong = errors.New("the provider's answer is too long")

// newTransport makes the one pool of connections to a provider. It is not client-go's, because that one can be tuned
// only through the environment of the process.
func newTransport(config *rest.Config, opts Options) (*http.Transport, error) {
	tls, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("read TLS material: %w", err)
	}
	dialer := &net.Dialer{Timeout: opts.Timeout, KeepAlive: 15 * time.Second}
	return &http.Transport{
		Proxy:                 opts.Proxy,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       tls,
		TLSHandshakeTimeout:   opts.Timeout,
		ResponseHeaderTimeout: opts.Timeout,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConnsPerHost:   25,
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}, nil
}

// bearer gives each request the cluster's current token, and only requests to that cluster: a provider that answers
// with a redirect must not learn where else the token works, nor send us anywhere.
type bearer struct {
	cluster *Cluster
	host    string
	next    http.RoundTripper
}

// wrap puts our transport in place of client-go's. Others, such as those that upgrade to exec streams, are kept and
// given the token.
func (b *bearer) wrap(next http.RoundTripper) http.RoundTripper {
	if _, ok := next.(*http.Transport); ok {
		next = b.cluster.transport
	}
	return &bearer{cluster: b.cluster, host: b.host, next: next}
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Host != b.host || req.URL.Scheme != "https" {
		return nil, fmt.Errorf("refuse to follow the provider to %s://%s", req.URL.Scheme, req.URL.Host)
	}
	if token := b.cluster.Token(); token != "" && req.Header.Get("Authorization") == "" {
		req = utilnet.CloneRequest(req)
		req.Header.Set("Authorization", "Bearer "+token)
	}
	next, log := b.next, isLog(req.URL.Path)
	// A kubelet sends no header before a container has printed something, so logs may begin late.
	if log && next == http.RoundTripper(b.cluster.transport) {
		next = b.cluster.streams
	}
	began := b.cluster.opts.Clock.Now()
	resp, err := next.RoundTrip(req)
	if !log {
		took := b.cluster.opts.Clock.Since(began)
		b.cluster.requests.WithLabelValues(req.Method).Observe(took.Seconds())
	}
	if err == nil && resp.Body != nil && !endless(req, resp, log) {
		resp.Body = b.cluster.overhear(resp.StatusCode, b.cluster.pages.cap(req, resp.Body))
	}
	return resp, err
}

// isLog tells the path of a container's log, .../namespaces/shop/pods/web/log, from that of an object of this name.
func isLog(path string) bool {
	parts := strings.Split(path, "/")
	n := len(parts)
	return n > 5 && parts[n-1] == "log" && parts[n-3] == "pods" && parts[n-5] == "namespaces"
}

// endless says whether an answer is one that is read bit by bit, for as long as it takes. That a request is not granted
// is said in a few words, whatever was asked for.
func endless(req *http.Request, resp *http.Response, log bool) bool {
	watch, _ := strconv.ParseBool(req.URL.Query().Get("watch"))
	return resp.StatusCode == http.StatusSwitchingProtocols || resp.StatusCode == http.StatusOK && (watch || log)
}

// cappedBody is an answer that is read as a whole. It is counted as our client sees it, so behind the compression.
type cappedBody struct {
	io.ReadCloser
	left int64
	of   string
}

// Read fails where the answer is too long, and from then on.
func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, b.tooLong()
	}
	if int64(len(p)) > b.left+1 { // one more, to know whether there is more
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, b.tooLong()
	}
	return n, err
}

func (b *cappedBody) tooLong() error {
	return fmt.Errorf("%w: %s: more than %d MiB", ErrAnswerTooLong, b.of, maxAnswer>>20)
}

// WrappedRoundTripper lets client-go find the transport inside.
func (b *bearer) WrappedRoundTripper() http.RoundTripper { return b.next }
