package leader

import (
	"errors"
	"net/http"
)

// ErrNotLeading is why a request was not sent.
var ErrNotLeading = errors.New("nothing is changed by a replica that does not lead")

// fence stands as close before the wire as can be: what wakes anywhere above it is stopped.
type fence struct {
	term *term
	next http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (f *fence) RoundTrip(req *http.Request) (*http.Response, error) {
	if changes(req.Method) && !f.term.open() {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, ErrNotLeading
	}
	return f.next.RoundTrip(req)
}

// WrappedRoundTripper lets client-go find the transport inside.
func (f *fence) WrappedRoundTripper() http.RoundTripper { return f.next }

func changes(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	default:
		return true
	}
}
