package provider

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apimachinery/pkg/util/httpstream/spdy"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// spdyPing is how often a SPDY connection is pinged, so that what stands in between keeps it.
const spdyPing = 5 * time.Second

// exec runs a command in the remote container.
//
//nolint:revive // argument-limit: the library's signature
func (s *Streams) exec(ctx context.Context, _, _, container string, command []string, home api.AttachIO) error {
	to, err := targetOf(ctx)
	if err != nil {
		return err
	}
	return s.command(ctx, s.url(to, "exec", &corev1.PodExecOptions{
		Stdin: to.asks(corev1.ExecStdinParam), Stdout: to.asks(corev1.ExecStdoutParam),
		Stderr: to.asks(corev1.ExecStderrParam), TTY: home.TTY(), Container: container, Command: command,
	}), to, home)
}

// command carries the streams of a command or of a container's own process, until it ends or whoever asked for it goes.
func (s *Streams) command(ctx context.Context, at *url.URL, to target, home api.AttachIO) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	executor, err := s.away.executor(at)
	if err != nil {
		return fmt.Errorf("set up a stream to provider %s: %w", s.pods.opts.Destination, err)
	}
	streams := remotecommand.StreamOptions{Tty: home.TTY()}
	// The library's streams are never nil when home speaks WebSockets, so the query counts.
	if to.asks(corev1.ExecStdinParam) {
		streams.Stdin = home.Stdin()
	}
	if to.asks(corev1.ExecStdoutParam) {
		streams.Stdout = home.Stdout()
	}
	if to.asks(corev1.ExecStderrParam) {
		streams.Stderr = home.Stderr()
	}
	if home.TTY() {
		streams.TerminalSizeQueue = &sizes{ctx: ctx, from: home.Resize()}
	}
	err = executor.StreamWithContext(ctx, streams)
	var exit utilexec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit // as it is: the library looks at its type
	case err == nil || errors.Is(context.Cause(ctx), errHomeGone):
		return nil
	case ctx.Err() != nil:
		return whyEnded(ctx)
	default:
		return fmt.Errorf("provider %s: %w", s.pods.opts.Destination, err)
	}
}

// executor speaks WebSockets, which pass proxies, and SPDY where they are not known.
func (d *dialer) executor(at *url.URL) (remotecommand.Executor, error) {
	modern, err := remotecommand.NewWebSocketExecutor(d.config, http.MethodGet, at.String())
	if err != nil {
		return nil, err
	}
	connection := &spdyConnection{dialer: d}
	old, err := remotecommand.NewSPDYExecutorRejectRedirects(connection, connection, http.MethodPost, at)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(modern, old, needsSPDY)
}

// spdyConnection is client-go's transport and upgrader of one SPDY connection that is dialed as all others are, which
// client-go's own would not do: it waits for an answer for ever.
type spdyConnection struct {
	dialer *dialer
	conn   io.ReadWriteCloser
	err    error
}

// RoundTrip asks for SPDY. What the provider says instead is told by NewConnection, whose errors client-go leaves as
// they are.
func (c *spdyConnection) RoundTrip(r *http.Request) (*http.Response, error) {
	header := r.Header.Clone()
	header.Set(httpstream.HeaderUpgrade, spdy31)
	answer := &http.Response{Header: http.Header{}, Body: http.NoBody, Request: r}
	var got http.Header
	c.conn, got, c.err = c.dialer.upgrade(r.Context(), r.Method, r.URL, header)
	if c.err == nil {
		answer.StatusCode, answer.Header = http.StatusSwitchingProtocols, got
	}
	return answer, nil
}

// NewConnection begins to speak SPDY.
func (c *spdyConnection) NewConnection(*http.Response) (httpstream.Connection, error) {
	if c.err != nil {
		return nil, c.err
	}
	return spdy.NewClientConnectionWithPings(wire{c.conn}, spdyPing)
}

// sizes hands the sizes of home's terminal over, as client-go asks for them.
type sizes struct {
	ctx  context.Context //nolint:containedctx // the queue has no other way to end
	from <-chan api.TermSize
	// last is whether the last one was empty.
	last bool
}

// Next waits for another size; nil is the end. When home stops sending sizes, the library sends empty ones for ever. A
// terminal may have an empty size, too, but not twice.
func (s *sizes) Next() *remotecommand.TerminalSize {
	for {
		select {
		case <-s.ctx.Done():
			return nil
		case size := <-s.from:
			empty := size == api.TermSize{}
			if empty && s.last {
				return nil
			}
			if s.last = empty; !empty {
				return &remotecommand.TerminalSize{Width: size.Width, Height: size.Height}
			}
		}
	}
}
