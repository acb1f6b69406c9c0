package env

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// quiet is how long a black hole must be silent to be believed.
const quiet = 200 * time.Millisecond

// echo starts a server that returns what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	return l.Addr().String()
}

func newLink(t *testing.T) *Link {
	t.Helper()
	l, err := NewLink("127.0.0.1:0", echo(t), clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func set(t *testing.T, l *Link, mode Mode) {
	t.Helper()
	if err := l.Set(mode); err != nil {
		t.Fatal(err)
	}
}

func dial(t *testing.T, l *Link) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", l.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask sends a word and waits for it to come back.
func ask(conn net.Conn, word string, patience time.Duration) error {
	if _, err := conn.Write([]byte(word)); err != nil {
		return err
	}
	return hear(conn, word, patience)
}

func hear(conn net.Conn, word string, patience time.Duration) error {
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	heard := make([]byte, len(word))
	if _, err := io.ReadFull(conn, heard); err != nil {
		return err
	}
	if string(heard) != word {
		return errors.New("heard " + string(heard))
	}
	return nil
}

func TestAHealthyLinkPassesEverything(t *testing.T) {
	conn := dial(t, newLink(t))
	for _, word := range []string{"hello", "world"} {
		if err := ask(conn, word, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	large := make([]byte, 4<<20)
	go func() {
		_, _ = conn.Write(large)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || len(got) != len(large) {
		t.Errorf("got %d of %d bytes, and the end of the stream as %v", len(got), len(large), err)
	}
}

func TestACutLinkResetsAndRefuses(t *testing.T) {
	l := newLink(t)
	old := dial(t, l)
	if err := ask(old, "hello", time.Second); err != nil {
		t.Fatal(err)
	}
	set(t, l, Mode{Kind: Cut})
	if err := hear(old, "x", time.Second); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the existing connection ends with %v, want a reset", err)
	}
	if _, err := net.Dial("tcp", l.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection ends with %v, want a refusal", err)
	}
	set(t, l, Mode{Kind: Cut}) // again is harmless
	set(t, l, Mode{Kind: Heal})
	if err := ask(dial(t, l), "hello", time.Second); err != nil {
		t.Errorf("after healing: %v", err)
	}
}

func TestABlackHoleIsSilentAndThenGoesOn(t *testing.T) {
	l := newLink(t)
	old := dial(t, l)
	if err := ask(old, "before", time.Second); err != nil {
		t.Fatal(err)
	}
	set(t, l, Mode{Kind: Blackhole})
	fresh := dial(t, l) // is accepted
	for name, conn := range map[string]net.Conn{"existing": old, "new": fresh} {
		if err := ask(conn, "during", quiet); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the %s connection hears %v, want silence", name, err)
		}
	}
	set(t, l, Mode{Kind: Heal})
	for name, conn := range map[string]net.Conn{"existing": old, "new": fresh} {
		if err := hear(conn, "during", time.Second); err != nil {
			t.Errorf("the %s connection after healing: %v", name, err)
		}
	}
}

func TestABlackHoleCanBeCut(t *testing.T) {
	l := newLink(t)
	set(t, l, Mode{Kind: Blackhole})
	conn := dial(t, l)
	if err := ask(conn, "hello", quiet); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("heard %v, want silence", err)
	}
	set(t, l, Mode{Kind: Cut})
	if err := hear(conn, "hello", time.Second); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection ends with %v, want a reset", err)
	}
}

func TestASlowLinkAddsItsDelayToEachRoundTrip(t *testing.T) {
	l := newLink(t)
	conn := dial(t, l)
	if err := ask(conn, "fast", time.Second); err != nil {
		t.Fatal(err)
	}
	const delay = 150 * time.Millisecond
	set(t, l, Mode{Kind: Slow, Delay: delay})
	for range 2 {
		start := time.Now()
		if err := ask(conn, "slow", 5*time.Second); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < delay {
			t.Errorf("a round trip took %s, less than %s", took, delay)
		}
	}
	start := time.Now()
	const words = 50
	for range words { // all under way at once: slow is not narrow
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	for range words {
		if err := hear(conn, "x", 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(start); took > words*delay/2 {
		t.Errorf("%d words that were sent together took %s", words, took)
	}
	set(t, l, Mode{Kind: Heal})
	start = time.Now()
	if err := ask(conn, "fast", time.Second); err != nil || time.Since(start) > delay {
		t.Errorf("after healing: %v, %s", err, time.Since(start))
	}
}

func TestALinkToNowhereEndsItsConnections(t *testing.T) {
	l, err := NewLink("127.0.0.1:0", "127.0.0.1:1", clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr())
	if err != nil {
		return // it was reset before it was noticed
	}
	defer func() { _ = conn.Close() }()
	if err := hear(conn, "x", 5*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection ends with %v", err)
	}
}

func TestAClosedLinkLeavesNothing(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	link, err := NewLink("127.0.0.1:0", l.Addr().String(), clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []Mode{{Kind: Heal}, {Kind: Blackhole}, {Kind: Slow, Delay: time.Hour}} {
		set(t, link, mode)
		if err := ask(dial(t, link), "hello", quiet/2); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("in mode %s: %v", mode, err)
		}
	}
	link.Close()
	if err := link.Set(Mode{Kind: Heal}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed link can be opened: %v", err)
	}
}

func TestALinkProcessObeysItsOrdersAndRemembersThem(t *testing.T) {
	dir, server := t.TempDir(), echo(t)
	var free reservations
	port, err := free.reserve(1)
	if err != nil {
		t.Fatal(err)
	}
	free.releaseAll()
	process := LinkProcess{Listen: address(port), Target: server, Dir: dir}
	run := func() (reload chan os.Signal, stop func() error) {
		ctx, cancel := context.WithCancel(t.Context())
		reload, ended := make(chan os.Signal), make(chan error, 1)
		go func() { ended <- process.Run(ctx, reload) }()
		return reload, func() error { cancel(); return <-ended }
	}
	order := func(o linkOrder) {
		t.Helper()
		if err := o.write(filepath.Join(dir, linkWanted)); err != nil {
			t.Fatal(err)
		}
	}
	holds := func(want linkOrder) {
		t.Helper()
		err := wait.PollUntilContextTimeout(t.Context(), 5*time.Millisecond, 5*time.Second, true,
			func(context.Context) (bool, error) {
				got, err := readOrder(filepath.Join(dir, linkActual))
				return got == want, err
			})
		if err != nil {
			t.Fatalf("wait for %v: %v", want, err)
		}
	}

	cut := linkOrder{Mode{Kind: Cut}, 1}
	reload, stop := run()
	order(cut)
	reload <- syscall.SIGHUP
	holds(cut)
	if _, err := net.Dial("tcp", address(port)); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a cut link answers with %v", err)
	}
	if err := stop(); err != nil {
		t.Errorf("the process ends with %v", err)
	}

	again := linkOrder{Mode{Kind: Cut}, 2}
	order(again)
	_, stop = run()
	holds(again)
	if err := stop(); err != nil {
		t.Errorf("the process ends with %v", err)
	}
}
