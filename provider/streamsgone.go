package provider

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/utils/clock"
)

// Why a stream ends, besides that it has come to its end.
var (
	errHomeGone = errors.New("whoever asked has gone")
	errSilent   = errors.New("it was silent for too long")
	errStopping = errors.New("the agent of the virtual node stops")
)

// whyEnded is why the context of a stream is done.
func whyEnded(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return errStopping
}

// untilOver ends the context of a request with its connection, or when that has been silent for too long, also when
// next has taken the connection over: from then on net/http does not look at it, and a silent container would be waited
// for until it speaks.
func untilOver(next http.Handler, c clock.Clock, idle time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		watched := &watchedWriter{
			ResponseWriter: w, activity: &activity{clock: c}, idle: idle, ctx: ctx, end: cancel, stop: r.Context(),
		}
		next.ServeHTTP(watched, r.WithContext(ctx))
	})
}

// watchedWriter hands out a connection that tells of its end.
type watchedWriter struct {
	http.ResponseWriter
	activity *activity
	idle     time.Duration
	// ctx ends with the stream, and stop when the agent does.
	ctx, stop context.Context //nolint:containedctx // net/http has one per request, too
	end       context.CancelCauseFunc
}

// Unwrap is for http.ResponseController.
func (w *watchedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack implements http.Hijacker.
func (w *watchedWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	// Last words are said to whoever listens, but nobody is waited for who does not.
	for _, done := range []context.Context{w.stop, w.ctx} {
		context.AfterFunc(done, func() { _ = conn.SetWriteDeadline(time.Now().Add(shutdownGrace)) })
	}
	w.activity.note()
	go func() {
		if w.activity.untilIdle(w.ctx, w.idle) {
			w.end(errSilent)
		}
	}()
	gone := func() { w.end(errHomeGone) }
	watched := &watchedConn{Conn: conn, from: buffered.Reader, activity: w.activity, gone: gone}
	return watched, bufio.NewReadWriter(bufio.NewReader(watched), bufio.NewWriter(watched)), nil
}

// watchedConn reads what net/http has already read, then the rest, and tells when there is no more.
type watchedConn struct {
	net.Conn
	from     *bufio.Reader
	activity *activity
	gone     func()
}

// Read tells of the end before it returns it. It asks the connection itself: the reader of net/http would end the
// request's context at the end, and that would look as if the agent stopped.
func (c *watchedConn) Read(p []byte) (int, error) {
	var from io.Reader = c.Conn
	if c.from.Buffered() > 0 {
		from = c.from
	}
	n, err := from.Read(p)
	if err != nil {
		c.gone()
	}
	c.activity.note()
	return n, err
}

// Write is a sign of life, too.
func (c *watchedConn) Write(p []byte) (int, error) {
	c.activity.note()
	return c.Conn.Write(p)
}

// Close tells of the end.
func (c *watchedConn) Close() error {
	c.gone()
	return c.Conn.Close()
}

// activity remembers when something last happened.
type activity struct {
	clock clock.Clock
	last  atomic.Int64
}

func (a *activity) note() { a.last.Store(a.clock.Now().UnixNano()) }

// untilIdle returns true when nothing has happened for so long, and false when ctx is done.
func (a *activity) untilIdle(ctx context.Context, idle time.Duration) bool {
	timer := a.clock.NewTimer(idle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C():
			quiet := a.clock.Since(time.Unix(0, a.last.Load()))
			if quiet >= idle {
				return true
			}
			timer.Reset(idle - quiet)
		}
	}
}
