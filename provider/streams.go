package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/errdefs"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"

	"github.com/twinspace/twinspace/provider/translate"
)

const (
	// StreamIdle is for how long a stream may be silent unless told otherwise: a kubelet's own default.
	StreamIdle = 4 * time.Hour
	// streamCreation is how long a client may take to open the streams of a connection that it asked for.
	streamCreation = 30 * time.Second
)

// Streams carry exec, attach and port-forward between home's API server and the containers at the provider.
//
// They end when either side ends, when nothing moved for the idle time, and when the agent stops. They go to the remote
// pod that belongs to the home pod by its UID, asked of the provider itself, and never anywhere else.
type Streams struct {
	pods    *Pods
	away    *dialer
	idle    time.Duration
	running sync.WaitGroup
}

// NewStreams returns the streams into the pods of a provider, which is reached as config says. An idle time of zero is
// [StreamIdle].
func NewStreams(pods *Pods, config *rest.Config, idle time.Duration) (*Streams, error) {
	if idle == 0 {
		idle = StreamIdle
	}
	away, err := newDialer(config)
	if err != nil {
		return nil, fmt.Errorf("set up streams: %w", err)
	}
	return &Streams{pods: pods, away: away, idle: idle}, nil
}

// configure gives the library's handlers what they call.
func (s *Streams) configure(library *api.PodHandlerConfig) {
	library.RunInContainer, library.AttachToContainer = s.exec, s.attach
	// Ours comes first, because it can say so: the library's closes the connection, which looks like a good end.
	library.StreamIdleTimeout, library.StreamCreationTimeout = 2*s.idle, streamCreation
}

// serveOn adds the routes of streams. Those of exec and attach end in the library.
func (s *Streams) serveOn(routes *http.ServeMux, library http.Handler) {
	forward := http.HandlerFunc(s.portForward)
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		routes.Handle(method+" /exec/{namespace}/{pod}/{container}", s.toPod("exec", library))
		routes.Handle(method+" /attach/{namespace}/{pod}/{container}", s.toPod("attach", library))
		routes.Handle(method+" /portForward/{namespace}/{pod}", s.toPod("portforward", forward))
	}
}

// target is the remote pod that a request is about, and what its query asks for.
type target struct {
	namespace, name string
	query           url.Values
}

type targetKey struct{}

// toPod finds the remote pod before anything is upgraded, so that what is wrong is said in an answer and not in a
// stream, and lets next know when whoever asked has gone.
func (s *Streams) toPod(kind string, next http.Handler) http.Handler {
	next = untilOver(next, s.pods.opts.Clock, s.idle)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.running.Add(1)
		defer s.running.Done()
		away, err := s.pods.living(r.Context(), key{Namespace: r.PathValue("namespace"), Name: r.PathValue("pod")})
		if err != nil {
			refuse(w, statusOf(err), err.Error())
			return
		}
		defer s.pods.opts.Metrics.stream(kind)()
		to := target{namespace: away.Namespace, name: away.Name, query: r.URL.Query()}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), targetKey{}, to)))
	})
}

func targetOf(ctx context.Context) (target, error) {
	to, ok := ctx.Value(targetKey{}).(target)
	if !ok {
		return target{}, errors.New("no remote pod was looked for")
	}
	return to, nil
}

// asks says whether the query of a kubelet request has a switch on.
func (t target) asks(name string) bool { return t.query.Get(name) == "1" }

// url is where the provider serves a subresource of the pod.
func (s *Streams) url(to target, subresource string, options runtime.Object) *url.URL {
	return s.pods.opts.Away.CoreV1().RESTClient().Post().Namespace(to.namespace).Resource("pods").Name(to.name).
		SubResource(subresource).VersionedParams(options, scheme.ParameterCodec).URL()
}

// wait returns when no stream is open any more. Connections that were taken over are not waited for by net/http.
func (s *Streams) wait() { s.running.Wait() }

// living returns the remote pod of a home pod as the provider has it at this moment: a name alone may have passed on to
// another pod since the watch was last heard of.
func (p *Pods) living(ctx context.Context, k key) (*corev1.Pod, error) {
	home, _, _ := p.homePod(k)
	if home == nil {
		return nil, errdefs.NotFoundf("pod %s is not on this node", k)
	}
	nowhere := errdefs.NotFoundf("pod %s does not exist at provider %s", k, p.opts.Destination)
	space, _ := p.twinOf(k.Namespace)
	if space.away == "" {
		return nil, nowhere
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	away, err := p.opts.Away.CoreV1().Pods(space.away).Get(ctx, k.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nowhere
	case err != nil:
		return nil, fmt.Errorf("ask provider %s for pod %s: %w", p.opts.Destination, k, err)
	case translate.HomeUID(away, p.opts.Origin) != string(home.UID):
		return nil, nowhere
	}
	return away, nil
}

// statusOf is the HTTP status by which an error of living is told.
func statusOf(err error) int {
	switch {
	case errdefs.IsNotFound(err):
		return http.StatusNotFound
	case errdefs.IsInvalidInput(err):
		return http.StatusBadRequest
	default:
		return http.StatusBadGateway
	}
}

// refuse says what is wrong as API servers do. Clients of streams take plain text with a colon in it for YAML, and show
// nothing of it.
func refuse(w http.ResponseWriter, code int, message string) {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Message: message, //nolint:gosec // G115: an HTTP status
	}
	switch code {
	case http.StatusNotFound:
		status.Reason = metav1.StatusReasonNotFound
	case http.StatusBadRequest:
		status.Reason = metav1.StatusReasonBadRequest
	}
	w.Header().Set("Content-Type", runtime.ContentTypeJSON)
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(status) // whoever does not listen is not told
}
