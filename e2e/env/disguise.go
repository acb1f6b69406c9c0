package env

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"strings"

	"k8s.io/utils/clock"
)

// renames are words that stand for others of the same length, so that whoever counts bytes counts the same: HTTP its
// bodies, protobuf its fields.
type renames [][2]string

// back returns the renames the other way round.
func (r renames) back() renames {
	out := make(renames, len(r))
	for i, pair := range r {
		out[i] = [2]string{pair[1], pair[0]}
	}
	return out
}

func (r renames) text(text string) string {
	raw := []byte(text)
	r.replace(raw, true)
	return string(raw)
}

// replace changes the words in place and returns how much of the text is done: unless it is whole, a word may have
// begun at its end.
func (r renames) replace(text []byte, whole bool) int {
	for i := 0; i < len(text); {
		step := 1
		for _, pair := range r {
			rest := text[i:]
			if bytes.HasPrefix(rest, []byte(pair[0])) {
				step = copy(rest, pair[1])
				break
			}
			if !whole && len(rest) < len(pair[0]) && strings.HasPrefix(pair[0], string(rest)) {
				return i
			}
		}
		i += step
	}
	return len(text)
}

// body returns a body with the words changed, as they come.
func (r renames) body(of io.ReadCloser) io.ReadCloser {
	if of == nil || of == http.NoBody {
		return of
	}
	return &renamed{ReadCloser: of, names: r}
}

// renamed is a stream in which words are changed. What ends in the beginning of a word waits for what follows; no
// message of an API server does, JSON or protobuf.
type renamed struct {
	io.ReadCloser
	names renames
	text  []byte // what was read and not yet asked for
	done  int    // of it
	err   error  // after it
}

// Read returns what is decided.
func (r *renamed) Read(into []byte) (int, error) {
	for r.done == 0 && r.err == nil {
		const piece = 32 << 10
		at := len(r.text)
		r.text = append(r.text, make([]byte, piece)...)
		n, err := r.ReadCloser.Read(r.text[at:])
		r.text, r.err = r.text[:at+n], err
		r.done = r.names.replace(r.text, err != nil)
	}
	n := copy(into, r.text[:r.done])
	r.text, r.done = r.text[n:], r.done-n
	if r.done == 0 && r.err != nil {
		return n, r.err
	}
	return n, nil
}

// newDisguise starts a gateway to an API server that changes words on the way there, and back on the way here: in
// paths, in what is asked for and in what is answered. Tokens are not looked into.
func newDisguise(keys pki, target string, clk clock.Clock, names renames) (*gateway, error) {
	g, err := newGateway(keys, target, clk)
	if err != nil {
		return nil, err
	}
	forward := g.proxy.Rewrite
	g.proxy.Rewrite = func(r *httputil.ProxyRequest) {
		forward(r)
		to := r.Out.URL
		to.Path, to.RawPath, to.RawQuery = names.text(to.Path), names.text(to.RawPath), names.text(to.RawQuery)
		r.Out.Body = names.body(r.Out.Body)
		r.Out.Header.Del("Accept-Encoding")
	}
	g.proxy.ModifyResponse = func(answer *http.Response) error {
		if answer.StatusCode == http.StatusSwitchingProtocols {
			return errors.New("streams in both directions have no disguise")
		}
		answer.Body = names.back().body(answer.Body)
		return nil
	}
	return g, nil
}
