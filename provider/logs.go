package provider

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// serveLogs streams the log of the remote pod's container.
//
// Of refusals, home's API server passes on the words of 400 and 500 only. So what is missing at the provider of a pod
// that home has is a 400, which is also how a kubelet tells that a container has not started.
func (p *Pods) serveLogs(w http.ResponseWriter, r *http.Request) {
	opts, err := parseLogOptions(r.URL.Query())
	if err != nil {
		refuseLogs(w, http.StatusBadRequest, "cannot read log options: "+err.Error())
		return
	}
	opts.Container = r.PathValue("container")
	k := key{Namespace: r.PathValue("namespace"), Name: r.PathValue("pod")}
	if home, _, _ := p.homePod(k); home == nil {
		refuseLogs(w, http.StatusNotFound, fmt.Sprintf("pod %s is not on this node", k))
		return
	}
	stream, err := p.logs(r.Context(), k, opts)
	if err != nil {
		code := http.StatusInternalServerError
		if errdefs.IsNotFound(err) || apierrors.IsNotFound(err) || apierrors.IsBadRequest(err) {
			code = http.StatusBadRequest
		}
		refuseLogs(w, code, err.Error())
		return
	}
	defer func() { _ = stream.Close() }()
	w.WriteHeader(http.StatusOK)
	if _, err := io.Copy(flushed{w, http.NewResponseController(w)}, stream); err != nil && r.Context().Err() == nil {
		// Said in the log itself, as kubelets do: a part must not look like the whole.
		_, _ = fmt.Fprintf(w, "read logs at provider %s: %v\n", p.opts.Destination, err)
	}
}

// logs opens the log of the remote pod.
func (p *Pods) logs(ctx context.Context, k key, opts *corev1.PodLogOptions) (io.ReadCloser, error) {
	away, err := p.living(ctx, k)
	if err != nil {
		return nil, err
	}
	stream, err := p.opts.Away.CoreV1().Pods(away.Namespace).GetLogs(away.Name, opts).Stream(ctx)
	if err != nil {
		return nil, fmt.Errorf("read logs at provider %s: %w", p.opts.Destination, err)
	}
	return stream, nil
}

// refuseLogs answers in plain text, which is what API servers make an error of.
func refuseLogs(w http.ResponseWriter, code int, why string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, why) // whoever does not listen is not told
}

// flushed sends every line when it comes: whoever follows a log waits for it.
type flushed struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (f flushed) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = f.control.Flush()
	}
	return n, err
}

// nodesFor returns the Nodes that a request is about: the pod's, or, when it names no pod of ours, all that we serve.
// Without any it is every Node there is, which is what the empty name means.
func (p *Pods) nodesFor(path string) []string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) >= 3 {
		if pod, on, _ := p.homePod(key{Namespace: parts[1], Name: parts[2]}); pod != nil {
			return []string{on.name}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.nodes) == 0 {
		return []string{""}
	}
	var out []string
	for name := range p.nodes {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
