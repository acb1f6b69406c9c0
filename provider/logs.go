package provider

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

type logOptionsKey struct{}

// withLogOptions keeps the options of a log request as they were asked for: the library's own type cannot tell
// "tail nothing" from "everything", and does not know the newer ones.
func withLogOptions(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/containerLogs/") {
			opts, err := parseLogOptions(r.URL.Query())
			if err != nil {
				http.Error(w, "cannot read log options: "+err.Error(), http.StatusBadRequest)
				return
			}
			r = r.WithContext(context.WithValue(r.Context(), logOptionsKey{}, opts))
		}
		next.ServeHTTP(w, r)
	})
}

// logs streams the log of the remote pod's container.
func (p *Pods) logs(
	ctx context.Context, namespace, name, container string, _ api.ContainerLogOpts,
) (io.ReadCloser, error) {
	away, err := p.living(ctx, key{Namespace: namespace, Name: name})
	if err != nil {
		return nil, err
	}
	opts := &corev1.PodLogOptions{}
	if given, ok := ctx.Value(logOptionsKey{}).(*corev1.PodLogOptions); ok {
		opts = given.DeepCopy()
	}
	opts.Container = container
	opts.InsecureSkipTLSVerifyBackend = false
	stream, err := p.opts.Away.CoreV1().Pods(away.Namespace).GetLogs(away.Name, opts).Stream(ctx)
	switch {
	case apierrors.IsNotFound(err):
		return nil, errdefs.AsNotFound(err)
	case apierrors.IsBadRequest(err):
		return nil, errdefs.AsInvalidInput(err)
	case err != nil:
		return nil, fmt.Errorf("read logs at the provider: %w", err)
	}
	return stream, nil
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
