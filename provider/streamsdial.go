package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/rest"
)

const (
	// maxRefusal is how much is read of what a provider says instead of changing protocols.
	maxRefusal = 1 << 10
	// keepAlive is how often a silent connection is probed, so that one to a dead provider ends by itself.
	keepAlive = 15 * time.Second
	// spdy31 is the name under which Kubernetes speaks SPDY.
	spdy31 = "SPDY/3.1"
)

// dialer opens connections to the provider that change protocols. It follows no redirect, asks no environment for a
// proxy, and waits for an answer no longer than any other call does.
type dialer struct {
	// config is for client-go, which dials WebSockets itself.
	config *rest.Config
	// upgrades speaks HTTP/1.1, because in HTTP/2 protocols are not changed.
	upgrades http.RoundTripper
}

func newDialer(config *rest.Config) (*dialer, error) {
	config = rest.CopyConfig(config)
	if config.Proxy == nil {
		config.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	}
	material, err := rest.TLSConfigFor(config)
	if err != nil {
		return nil, fmt.Errorf("read TLS material: %w", err)
	}
	transport := &http.Transport{
		Proxy:           config.Proxy,
		DialContext:     (&net.Dialer{Timeout: callTimeout, KeepAlive: keepAlive}).DialContext,
		TLSClientConfig: material, TLSHandshakeTimeout: callTimeout, ResponseHeaderTimeout: callTimeout,
		DisableKeepAlives: true, // each connection is for one stream
	}
	// A function, because a transport is what wrappers replace by the one that the other clients share.
	upgrades, err := rest.HTTPWrappersForConfig(config, roundTripper(transport.RoundTrip))
	if err != nil {
		return nil, fmt.Errorf("make transport: %w", err)
	}
	config.Wrap(bounded)
	return &dialer{config: config, upgrades: upgrades}, nil
}

// roundTripper is a function that is an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// bounded limits how long the answer may take. A connection that has changed protocols has no deadline any more.
func bounded(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
		defer cancel()
		return next.RoundTrip(r.WithContext(ctx))
	})
}

// upgrade asks the provider to change protocols. What is spoken then is up to the caller, who closes the connection.
func (d *dialer) upgrade(
	ctx context.Context, method string, at *url.URL, header http.Header,
) (io.ReadWriteCloser, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, at.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	r.Header = header
	r.Header.Set(httpstream.HeaderConnection, httpstream.HeaderUpgrade)
	resp, err := d.upgrades.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
		defer func() { _ = resp.Body.Close() }()
		return nil, nil, refusal(resp)
	}
	if got, want := resp.Header.Get(httpstream.HeaderUpgrade), header.Get(httpstream.HeaderUpgrade); !strings.EqualFold(
		got, want) {
		_ = conn.Close()
		return nil, nil, fmt.Errorf("the provider changed to protocol %q instead of %q", got, want)
	}
	return conn, resp.Header, nil
}

// refusal is what the provider says instead of changing protocols, in its own words.
func refusal(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	if err != nil {
		return fmt.Errorf("the provider answered %s, and then: %w", resp.Status, err)
	}
	var status metav1.Status
	if json.Unmarshal(body, &status) == nil && status.Kind == "Status" && status.Message != "" {
		return &apierrors.StatusError{ErrStatus: status}
	}
	if text := strings.TrimSpace(string(body)); text != "" {
		return fmt.Errorf("the provider answered %s: %s", resp.Status, text)
	}
	return fmt.Errorf("the provider answered %s", resp.Status)
}

// needsSPDY says whether an attempt with WebSockets failed in a way in which one with SPDY may not: older API servers,
// and proxies in between, know only one of them.
func needsSPDY(err error) bool {
	return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
}

// wire makes a connection that changed protocols a net.Conn for libraries that want one. net/http does not show the
// addresses and deadlines of such a connection, and nobody here asks for them.
type wire struct{ io.ReadWriteCloser }

var errNoDeadline = errors.New("an upgraded connection has no deadline")

// LocalAddr is not known.
func (wire) LocalAddr() net.Addr { return &net.TCPAddr{} }

// RemoteAddr is not known.
func (wire) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// SetDeadline is not possible.
func (wire) SetDeadline(time.Time) error { return errNoDeadline }

// SetReadDeadline is not possible.
func (wire) SetReadDeadline(time.Time) error { return errNoDeadline }

// SetWriteDeadline is not possible.
func (wire) SetWriteDeadline(time.Time) error { return errNoDeadline }
