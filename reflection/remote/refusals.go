package remote

import (
	"bufio"
	"io"
	"net/http"
	"regexp"
)

// missingRight are the words of an API server that has asked its authorizers in vain, whatever these are, about
// something in a namespace (forbiddenMessage in k8s.io/apiserver/pkg/endpoints/handlers/responsewriters). JSON escapes
// the quotes, protobuf does not. Admission, quotas among it, refuses with other words.
var missingRight = regexp.MustCompile(` cannot [a-z]+ resource .{1,512} in the namespace \\?"([a-z0-9-]{1,63})\\?"`)

// longestRefusal is in how much of an answer these words are looked for.
const longestRefusal = 4 << 10

// OnRefusal makes f be called with a namespace of the provider after a request in it was refused for want of a right,
// and before who asked hears of it. f must not block, and several goroutines may call it at a time.
func (c *Cluster) OnRefusal(f func(namespace string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = append(c.refused, f)
}

// overhear tells of a refusal for want of a right. It returns the body of the answer, of which nothing is missing.
func (c *Cluster) overhear(status int, body io.ReadCloser) io.ReadCloser {
	if status != http.StatusForbidden {
		return body
	}
	c.mu.Lock()
	listeners := c.refused
	c.mu.Unlock()
	peeked := bufio.NewReaderSize(body, longestRefusal)
	words, _ := peeked.Peek(longestRefusal) // an error comes again when the answer is read
	if found := missingRight.FindSubmatch(words); found != nil {
		for _, f := range listeners {
			f(string(found[1]))
		}
	}
	return struct {
		io.Reader
		io.Closer
	}{peeked, body}
}
