package provider

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/utils/exec"
)

// TestCommandsRunInContainersFarAway goes from a client through two real API servers to a kubelet's own server.
func TestCommandsRunInContainersFarAway(t *testing.T) {
	w := newWorld(t)
	for way := range ways() {
		t.Run(way, func(t *testing.T) {
			r := w.rig(t, "exec-"+strings.ToLower(strings.ReplaceAll(way, " ", "-")), rigOptions{})
			t.Run("what it says is kept apart", func(t *testing.T) {
				var out, errs bytes.Buffer
				streams := remotecommand.StreamOptions{Stdout: &out, Stderr: &errs}
				err := r.exec(t.Context(), way, streams, "say", "hi", "ho")
				if err != nil || out.String() != "hi" || errs.String() != "ho" {
					t.Errorf("%v, %q, %q", err, &out, &errs)
				}
				want := []string{"exec " + r.twin + "/web app say hi ho tty=false"}
				if diff := cmp.Diff(want, r.kubelet.asked()); diff != "" {
					t.Errorf("-want,+got:\n%s", diff)
				}
			})
			t.Run("how it ends is told", func(t *testing.T) {
				err := r.exec(t.Context(), way, remotecommand.StreamOptions{Stdout: io.Discard}, "exit", "7")
				var exit utilexec.ExitError
				if !errors.As(err, &exit) || exit.ExitStatus() != 7 {
					t.Errorf("%v", err)
				}
			})
			t.Run("what the kubelet says is told", func(t *testing.T) {
				err := r.exec(t.Context(), way, remotecommand.StreamOptions{Stdout: io.Discard}, "nonsense")
				if err == nil || !strings.Contains(err.Error(), `executable file "nonsense" not found in $PATH`) {
					t.Errorf("%v", err)
				}
			})
			if !strings.Contains(way, "passed on") { // those cannot say that their input has ended
				t.Run("a megabyte goes in and comes out", func(t *testing.T) { r.echo(t, way) })
			}
			t.Run("the terminal has its size", func(t *testing.T) {
				var out bytes.Buffer
				err := r.exec(t.Context(), way, remotecommand.StreamOptions{
					Stdin: strings.NewReader(""), Stdout: &out, Tty: true, TerminalSizeQueue: &resized{80, 132},
				}, "sizes")
				if err != nil || out.String() != "80x24\n132x24\n" {
					t.Errorf("%v, %q", err, &out)
				}
			})
			t.Run("it ends when whoever asked has gone", func(t *testing.T) { r.leave(t, way) })
		})
	}
}

// echo sends a file to cat, as kubectl cp does to tar.
func (r *rig) echo(t *testing.T, way string) {
	t.Helper()
	sent := make([]byte, 1<<20)
	_, _ = rand.Read(sent)
	var got bytes.Buffer
	o := remotecommand.StreamOptions{Stdin: bytes.NewReader(sent), Stdout: &got}
	if err := r.exec(t.Context(), way, o, "cat"); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sent, got.Bytes()) {
		t.Errorf("%d bytes sent, and %d others came back", len(sent), got.Len())
	}
}

// leave goes away from a command that says nothing.
func (r *rig) leave(t *testing.T, way string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	input, _ := io.Pipe() // nothing comes
	left := make(chan struct{})
	go func() {
		defer close(left)
		_ = r.exec(ctx, way, remotecommand.StreamOptions{Stdin: input, Stdout: io.Discard}, "wait")
	}()
	r.eventually("the command runs", r.kubelet.idle)
	cancel()
	<-left
	r.eventually("the command ends", r.kubelet.busy)
	r.eventually("the agent has forgotten it", r.openStreams)
}

// resized is a terminal that has one width after the other.
type resized []uint16

// Next returns the next one, then nothing more.
func (r *resized) Next() *remotecommand.TerminalSize {
	if len(*r) == 0 {
		return nil
	}
	width := (*r)[0]
	*r = (*r)[1:]
	return &remotecommand.TerminalSize{Width: width, Height: 24}
}

// TestAttachedContainersHearAndAreHeard is kubectl attach, and kubectl run and debug with -it.
func TestAttachedContainersHearAndAreHeard(t *testing.T) {
	w := newWorld(t)
	r := w.rig(t, "attach", rigOptions{})
	for name, tc := range map[string]struct {
		in   string
		tty  bool
		want string
	}{
		"to listen":               {"", false, "attached\n"},
		"to talk":                 {"hello\n", false, "attached\nhello\n"},
		"to talk from a terminal": {"hello\n", true, "attached\nhello\n"},
	} {
		t.Run(name, func(t *testing.T) {
			options := &corev1.PodAttachOptions{Container: "app", Stdin: tc.in != "", Stdout: true, TTY: tc.tty}
			executor, err := ways()["WebSocket"](r.planes[0].Config(), r.url("web", "attach", options))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			streams := remotecommand.StreamOptions{Stdout: &out, Tty: tc.tty}
			if tc.in != "" {
				streams.Stdin = strings.NewReader(tc.in)
			}
			if err := executor.StreamWithContext(t.Context(), streams); err != nil || out.String() != tc.want {
				t.Errorf("%v, %q", err, &out)
			}
			want := []string{fmt.Sprintf("attach %s/web app tty=%t", r.twin, tc.tty)}
			if diff := cmp.Diff(want, r.kubelet.asked()); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

// TestManyCommandsAtOnceDoNotMeet: each has its own connection, and none is left.
func TestManyCommandsAtOnceDoNotMeet(t *testing.T) {
	w := newWorld(t)
	f := startFront(t, w.planes[1])
	r := w.rig(t, "many", rigOptions{front: f})
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			var out bytes.Buffer
			said := fmt.Sprintf("number %d", i)
			err := r.exec(t.Context(), "WebSocket", remotecommand.StreamOptions{Stdout: &out}, "say", said)
			if err != nil || out.String() != said {
				t.Errorf("%v, %q instead of %q", err, &out, said)
			}
		})
	}
	all.Wait()
	r.eventually("no connection is left", func() error { return f.connected(2) })
	r.eventually("the agent has forgotten them", r.openStreams)
}

func TestTerminalSizes(t *testing.T) {
	for name, tc := range map[string]struct {
		sent []api.TermSize
		want []remotecommand.TerminalSize
	}{
		"one after the other": {
			[]api.TermSize{{Width: 80, Height: 24}, {Width: 132, Height: 24}, {}, {}},
			[]remotecommand.TerminalSize{{Width: 80, Height: 24}, {Width: 132, Height: 24}},
		},
		"a terminal that has no size at first": {
			[]api.TermSize{{}, {Width: 80, Height: 24}, {}, {}}, []remotecommand.TerminalSize{{Width: 80, Height: 24}},
		},
		"none, and the library repeats itself": {[]api.TermSize{{}, {}, {}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			sent := make(chan api.TermSize, len(tc.sent))
			for _, size := range tc.sent {
				sent <- size
			}
			queue := &sizes{ctx: t.Context(), from: sent}
			var got []remotecommand.TerminalSize
			for size := queue.Next(); size != nil; size = queue.Next() {
				got = append(got, *size)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
	t.Run("nobody waits for one when the stream has ended", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if size := (&sizes{ctx: ctx, from: make(chan api.TermSize)}).Next(); size != nil {
			t.Errorf("%v", size)
		}
	})
}
