package provider

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/twinspace/twinspace/e2e/env"
)

// front stands before a provider's API server: a load balancer, or whatever is in between. It counts connections.
type front struct {
	config *rest.Config
	open   *atomic.Int64
	// answer, if not nil, answers a request for a stream itself, and says so by returning true.
	answer atomic.Pointer[func(http.ResponseWriter, *http.Request) bool]
}

func startFront(t *testing.T, behind *env.Cluster) *front {
	t.Helper()
	f := &front{open: &atomic.Int64{}}
	server := httptest.NewUnstartedServer(f.proxy(t, behind.Config()))
	server.Listener = &countingListener{server.Listener, f.open}
	server.EnableHTTP2 = true // as API servers have it: what is no stream shares one connection
	server.StartTLS()
	t.Cleanup(server.Close)
	trust := rest.TLSClientConfig{CAData: authority(server.Certificate())}
	f.config = &rest.Config{Host: server.URL, TLSClientConfig: trust}
	return f
}

func authority(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// proxy acts as the administrator, whose certificate it has.
func (f *front) proxy(t *testing.T, config *rest.Config) http.Handler {
	t.Helper()
	behind, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	material, err := rest.TLSConfigFor(config)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(behind) },
		Transport:     &http.Transport{TLSClientConfig: material},
		FlushInterval: -1,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer := f.answer.Load(); answer != nil && isStream(r) && (*answer)(w, r) {
			return
		}
		proxy.ServeHTTP(w, r)
	})
}

func isStream(r *http.Request) bool {
	for _, suffix := range []string{"/exec", "/attach", "/portforward"} {
		if strings.HasSuffix(r.URL.Path, suffix) {
			return true
		}
	}
	return false
}

// answers makes the front answer requests for streams.
func (f *front) answers(with func(http.ResponseWriter, *http.Request) bool) { f.answer.Store(&with) }

// connected is an error as long as there are more connections than that.
func (f *front) connected(atMost int64) error {
	if n := f.open.Load(); n > atMost {
		return fmt.Errorf("%d connections to the provider, not %d", n, atMost)
	}
	return nil
}

type countingListener struct {
	net.Listener
	open *atomic.Int64
}

// Accept counts the connection until it is closed.
func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.open.Add(1)
	return &countedConn{Conn: conn, open: l.open}, nil
}

type countedConn struct {
	net.Conn
	open   *atomic.Int64
	closed atomic.Bool
}

// Close counts once.
func (c *countedConn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.open.Add(-1)
	}
	return c.Conn.Close()
}
