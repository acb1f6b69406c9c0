package remote

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Reasons of an [UnhealthyError]; the Node of a provider shows them.
const (
	// ReasonUnreachable: no answer, or not one of a ready API server.
	ReasonUnreachable = "RemoteAPIServerUnreachable"
	// ReasonCredentialsRejected: the API server answers, and does not know us.
	ReasonCredentialsRejected = "RemoteCredentialsRejected"
)

// UnhealthyError says in a stable sentence why a provider cannot be used.
type UnhealthyError struct {
	// Reason is ReasonUnreachable or ReasonCredentialsRejected.
	Reason string
	// Message is the sentence.
	Message string
}

// Error returns the sentence.
func (e *UnhealthyError) Error() string { return e.Message }

// Reason returns the reason of an error that came from [Cluster.Err], or "" for nil.
func Reason(err error) string {
	var u *UnhealthyError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &u):
		return u.Reason
	default:
		return ReasonUnreachable
	}
}

func notAsked() error {
	return &UnhealthyError{ReasonUnreachable, "the provider's API server has not been asked yet"}
}

// health is what is known about a cluster. err is what the world is told; failing is since when probes have failed.
type health struct {
	err     error
	failing time.Time
}

// after returns the health after a probe. A cluster that was healthy stays so until probes have failed for grace.
func (h health) after(err error, now time.Time, grace time.Duration) health {
	if err == nil {
		return health{}
	}
	if h.failing.IsZero() {
		h.failing = now
	}
	if h.err != nil || now.Sub(h.failing) >= grace {
		h.err = err
	}
	return h
}

// Err returns nil when the provider is healthy, else an [*UnhealthyError]. Before the first probe it is not healthy;
// call [Cluster.Probe] once before showing Err to anybody, or a restart looks like an outage.
func (c *Cluster) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.health.err
}

// Notify makes f be called, from the goroutine of [Cluster.Run] or [Cluster.Probe], after each change of
// [Cluster.Err]. There may be several; f must not block and may call any method.
func (c *Cluster) Notify(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.listeners = append(c.listeners, f)
}

// OnRecovery makes f be called, as by [Cluster.Notify], after a probe that was answered though the one before was not:
// also after failures that were over too soon for [Cluster.Err] to tell of them. What failed meanwhile need not wait
// for its next attempt.
func (c *Cluster) OnRecovery(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recovery = append(c.recovery, f)
}

// Run probes the provider until ctx is done: every Options.Interval, and at once after a change of token.
func (c *Cluster) Run(ctx context.Context) error {
	ticker := c.opts.Clock.NewTicker(c.opts.Interval)
	defer ticker.Stop()
	defer c.streams.CloseIdleConnections()
	defer c.transport.CloseIdleConnections()
	for {
		_ = c.Probe(ctx) // what it finds is in Err
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C():
		case <-c.poke:
		}
	}
}

// Probe asks the provider now and returns [Cluster.Err]. An answer that did not come because ctx ended is no answer.
func (c *Cluster) Probe(ctx context.Context) error {
	err := c.ask(ctx)
	if ctx.Err() != nil {
		return c.Err()
	}
	c.mu.Lock()
	before := c.health
	c.health = before.after(err, c.opts.Clock.Now(), c.opts.Grace)
	after := c.health.err
	var told []func()
	if sentence(before.err) != sentence(after) {
		told = append(told, c.listeners...)
	}
	if err == nil && !before.failing.IsZero() {
		told = append(told, c.recovery...)
	}
	c.mu.Unlock()
	for _, f := range told {
		f()
	}
	return after
}

func sentence(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// ask gets /readyz, which every authenticated identity may read, and which says whether etcd answers too.
func (c *Cluster) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.Interval)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.config.Host, "/")+"/readyz", nil)
	if err != nil {
		return fmt.Errorf("make probe: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		c.transport.CloseIdleConnections() // the next probe shall not wait on the same dead connection
		return &UnhealthyError{ReasonUnreachable, "the provider's API server cannot be reached: " + cause(err)}
	}
	defer resp.Body.Close() //nolint:errcheck // nothing to do about it
	// Read a little, so that the connection can be reused, but not whatever a provider likes to send.
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	switch code := resp.StatusCode; code {
	case http.StatusOK, http.StatusForbidden: // 403: it knows us; a hardened cluster hides /readyz
		return nil
	case http.StatusUnauthorized:
		return &UnhealthyError{ReasonCredentialsRejected, c.rejection()}
	default:
		return &UnhealthyError{ReasonUnreachable, fmt.Sprintf(
			"the provider's API server is not ready: it answers %d %s", code, http.StatusText(code))}
	}
}

// cause says what went wrong without ports and addresses that change from one attempt to the next.
func cause(err error) string {
	var dns *net.DNSError
	var authority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var op *net.OpError
	switch {
	case errors.As(err, &dns):
		return "no such host " + dns.Name
	case errors.As(err, &authority):
		return "its certificate is signed by an authority that the kubeconfig does not name"
	case errors.As(err, &hostname):
		return "its certificate is for another host"
	case isTimeout(err):
		return "no answer in time"
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	default:
		return innermost(err)
	}
}

// innermost is the text inside the error of the HTTP client, which begins with the address. A provider may have a say
// in it, so it is cut.
func innermost(err error) string {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	text := err.Error()
	return text[:min(len(text), 256)]
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// rejection says why we are not known, as far as it can be read from the credential itself: the server says the same
// 401 for what is wrong and for what has expired.
func (c *Cluster) rejection() string {
	now := c.opts.Clock.Now()
	if at, ok := certificateExpiry(c.credential.ClientCertificate); ok && at.Before(now) {
		return "the provider rejects our client certificate: it expired at " + at.UTC().Format(time.RFC3339)
	}
	if at, ok := tokenExpiry(c.Token()); ok && at.Before(now) {
		return "the provider rejects our token: it expired at " + at.UTC().Format(time.RFC3339)
	}
	return "the provider rejects our credentials: the identity was removed, or the credential is of another cluster"
}
