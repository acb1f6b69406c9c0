package env

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/clock"
)

func TestWordsAreChanged(t *testing.T) {
	names := renames{{"home-00", "home-07"}, {"u-1", "u-9"}}
	for name, tc := range map[string]struct{ text, want string }{
		"nothing":                         {"", ""},
		"what is none":                    {"home-01, u-2", "home-01, u-2"},
		"one alone":                       {"home-00", "home-07"},
		"each of several":                 {"shop-home-00 home-00 u-1", "shop-home-07 home-07 u-9"},
		"one that begins twice":           {"home-home-00", "home-home-07"},
		"one that only begins at the end": {"at home-0", "at home-0"},
		"within others, as in a selector": {"l=home-00%2Cx", "l=home-07%2Cx"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := names.text(tc.text); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if got := names.back().text(tc.want); got != tc.text {
				t.Errorf("and back %q, want %q", got, tc.text)
			}
		})
	}
}

func TestWordsAreChangedAcrossPieces(t *testing.T) {
	names := renames{{"home-00", "home-07"}}
	long := strings.Repeat("x", 40<<10)
	for name, tc := range map[string]struct{ text, want string }{
		"a word":                      {"shop-home-00.", "shop-home-07."},
		"a word that ends the text":   {"shop-home-00", "shop-home-07"},
		"a beginning that ends it":    {"shop-home-0", "shop-home-0"},
		"a beginning, then a word":    {"homehome-00", "homehome-07"},
		"a text longer than a buffer": {long + "home-00" + long, long + "home-07" + long},
		"nothing":                     {"", ""},
	} {
		for pieces, reader := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader,
			"in halves": iotest.HalfReader, "with its end": iotest.DataErrReader,
		} {
			t.Run(name+", "+pieces, func(t *testing.T) {
				body := names.body(io.NopCloser(reader(strings.NewReader(tc.text))))
				got, err := io.ReadAll(body)
				if err != nil || string(got) != tc.want {
					t.Errorf("got %d bytes that differ (%v):\n%s", len(got), err, cmp.Diff(tc.want, string(got)))
				}
			})
		}
	}
}

// However a text is cut, the same becomes of it.
func TestWordsAreChangedHoweverTheTextIsCut(t *testing.T) {
	names := renames{{"home-00", "home-07"}, {"00-11", "00-99"}}
	parts := []string{"home-00", "home-0", "home", "00-11", "00-1", "0", "h", "-", ".", "\x00"}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // G404: always the same
	for range 2000 {
		var text strings.Builder
		for range random.IntN(8) {
			text.WriteString(parts[random.IntN(len(parts))])
		}
		want := names.text(text.String())
		cut := &cutter{rest: text.String(), next: func(most int) int { return 1 + random.IntN(most) }}
		got, err := io.ReadAll(names.body(io.NopCloser(cut)))
		if err != nil || string(got) != want {
			t.Fatalf("%q became %q, want %q, %v", text.String(), got, want, err)
		}
		if len(want) != text.Len() {
			t.Fatalf("%q has another length than %q", want, text.String())
		}
	}
}

// cutter gives a text away in pieces.
type cutter struct {
	rest string
	next func(most int) int
}

func (c *cutter) Read(into []byte) (int, error) {
	if c.rest == "" {
		return 0, io.EOF
	}
	n := copy(into, c.rest[:c.next(len(c.rest))])
	c.rest = c.rest[n:]
	return n, nil
}

func TestAStreamSaysWhatItHasAndHowItEnded(t *testing.T) {
	names := renames{{"home-00", "home-07"}}
	broken := errors.New("broken")
	read, write := io.Pipe()
	body := names.body(read)
	go func() {
		_, _ = io.WriteString(write, `{"a":"home-00"}`+"\n")
		_, _ = io.WriteString(write, "home")
		_ = write.CloseWithError(broken)
	}()
	buffer := make([]byte, 100)
	n, err := body.Read(buffer) // while the sender is not done
	if got := string(buffer[:n]); err != nil || got != `{"a":"home-07"}`+"\n" {
		t.Errorf("first: %q, %v", got, err)
	}
	rest, err := io.ReadAll(body)
	if string(rest) != "home" || !errors.Is(err, broken) {
		t.Errorf("then: %q, %v", rest, err)
	}
	if names.body(nil) != nil || names.body(http.NoBody) != http.NoBody {
		t.Error("what has no body got one")
	}
}

// disguised is a disguise in front of a server that says what it hears.
func disguised(t *testing.T, names renames, server http.HandlerFunc) (client *http.Client, url string) {
	t.Helper()
	keys := pki{dir: t.TempDir(), now: time.Now()}
	ca, caErr := keys.authority(certCA)
	front, frontErr := keys.authority(certFrontProxyCA)
	if err := errors.Join(caErr, frontErr); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(keys.issue(front, leaf{name: certFrontProxy}),
		keys.issue(ca, leaf{name: certServing, hosts: []string{loopback}}))
	if err != nil {
		t.Fatal(err)
	}
	serving, servingErr := keys.pair(certServing)
	roots, rootsErr := keys.roots()
	if err := errors.Join(servingErr, rootsErr); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(server)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{serving}}
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	g, err := newDisguise(keys, s.Listener.Addr().String(), clock.RealClock{}, names)
	if err != nil {
		t.Fatal(err)
	}
	go g.run()
	t.Cleanup(g.close)
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, ForceAttemptHTTP2: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}, "https://" + g.accept.Addr().String()
}

func TestADisguiseChangesWhatIsAskedAndWhatIsAnswered(t *testing.T) {
	heard := make(chan string, 1)
	client, url := disguised(t, renames{{"home-00", "home-07"}}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		heard <- r.URL.String() + " " + string(body) + " " + r.Header.Get("Accept-Encoding")
		_, _ = io.WriteString(w, "of home-07, not of home-00")
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		url+"/ns/shop-home-00?labelSelector=origin%3Dhome-00", strings.NewReader("for home-00"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	got, err := io.ReadAll(answer.Body)
	if want := "of home-00, not of home-00"; err != nil || string(got) != want {
		t.Errorf("answered %q, %v, want %q", got, err, want)
	}
	if got, want := <-heard, "/ns/shop-home-07?labelSelector=origin%3Dhome-07 for home-07 "; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

func TestADisguisePassesOnAWatchAsItComes(t *testing.T) {
	more := make(chan struct{})
	client, url := disguised(t, renames{{"home-00", "home-07"}}, func(w http.ResponseWriter, r *http.Request) {
		for range 2 {
			_, _ = io.WriteString(w, "home-07\n")
			w.(http.Flusher).Flush()
			select {
			case <-more:
			case <-r.Context().Done():
			}
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	event := make([]byte, len("home-00\n"))
	for range 2 {
		if _, err := io.ReadFull(answer.Body, event); err != nil || string(event) != "home-00\n" {
			t.Fatalf("got %q, %v", event, err)
		}
		more <- struct{}{}
	}
}

func TestADisguiseOfAStreamInBothDirectionsIsRefused(t *testing.T) {
	client, url := disguised(t, nil, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		_ = conn.Close()
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	if answer, err := client.Do(r); err == nil {
		_ = answer.Body.Close()
		t.Errorf("answered %s", answer.Status)
	}
}
