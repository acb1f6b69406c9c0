package remote

import (
	"io"
	"net/http"
	"sync"
)

// pages holds a list that comes in parts to what one answer may be: client-go collects the parts for as long as the
// provider says that there are more.
type pages struct {
	mu   sync.Mutex
	left map[string]int64 // by request
}

// cap limits what is read of an answer to the request.
func (p *pages) cap(req *http.Request, body io.ReadCloser) io.ReadCloser {
	capped := &cappedBody{ReadCloser: body, left: maxAnswer, of: req.Method + " " + req.URL.Path}
	query := req.URL.Query()
	continued := query.Get("continue") != ""
	query.Del("continue")
	list := req.URL.Path + "?" + query.Encode() + " " + req.Header.Get("Accept")
	p.mu.Lock()
	defer p.mu.Unlock()
	if !continued {
		delete(p.left, list)
		return capped
	}
	if left, known := p.left[list]; known {
		capped.left = left
	}
	return &page{cappedBody: capped, closed: func(left int64) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.left == nil {
			p.left = map[string]int64{}
		}
		p.left[list] = max(0, left)
	}}
}

// page is a part of a list after the first.
type page struct {
	*cappedBody
	closed func(left int64)
}

// Close notes how much more there may be.
func (p *page) Close() error {
	p.closed(p.left)
	return p.cappedBody.Close()
}
