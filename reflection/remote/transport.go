package remote

import (
	"fmt"
	"net"
	"net/http"
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
	// A kubelet sends no header before a container has printed something, so logs may begin late.
	if b.next == http.RoundTripper(b.cluster.transport) && strings.HasSuffix(req.URL.Path, "/log") {
		return b.cluster.streams.RoundTrip(req)
	}
	return b.next.RoundTrip(req)
}

// WrappedRoundTripper lets client-go find the transport inside.
func (b *bearer) WrappedRoundTripper() http.RoundTripper { return b.next }
