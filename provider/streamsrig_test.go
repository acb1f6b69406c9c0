package provider

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
)

// anybody lets every request through: who may call is not what these tests are about.
type anybody struct{}

func (anybody) AuthenticateRequest(*http.Request) (*authenticator.Response, bool, error) {
	return &authenticator.Response{User: &user.DefaultInfo{Name: "caller"}}, true, nil
}

func (anybody) Authorize(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
	return authorizer.DecisionAllow, "", nil
}

// rig is everything between kubectl and a container: home's API server, the agent's endpoint, the provider's API
// server, and a kubelet. The pod "web" runs there.
type rig struct {
	*shop
	kubelet *kubelet
	pods    *Pods
	// address is where the endpoint listens.
	address  string
	registry *prometheus.Registry
	stop     func()
}

// rigOptions are what a rig may have otherwise.
type rigOptions struct {
	// front stands between the agent and the provider; nil is nothing.
	front *front
	// idle is for how long streams may be silent; 0 is the default.
	idle time.Duration
}

func (w *world) rig(t *testing.T, name string, o rigOptions) *rig {
	t.Helper()
	r := &rig{shop: w.shop(t, name), registry: prometheus.NewRegistry()}
	worker := "worker-" + name
	r.kubelet = startKubelet(t, r.away, worker)
	config := r.planes[1].Config()
	if o.front != nil {
		config = o.front.config
	}
	r.pods, _ = r.agent(func(p *PodsOptions) {
		p.Metrics = NewMetrics(r.registry)
		p.Away = clientsetFor(t, config)
	})
	r.pods.TwinReady(r.ns, r.twin)
	streams, err := NewStreams(r.pods, config, o.idle)
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{Pods: r.pods, Auth: Auth{authenticator: anybody{}, authorizer: anybody{}}, Streams: streams}
	r.address, r.stop = serve(t, server)
	nodeAt(t, r.home, r.node(), r.address)
	home := r.create("web")
	r.runOn(worker, r.remote(home))
	r.phase(home, corev1.PodRunning)
	return r
}

// url is where home's API server serves a subresource of a pod.
func (r *rig) url(pod, subresource string, options runtime.Object) *url.URL {
	return r.home.CoreV1().RESTClient().Post().Namespace(r.ns).Resource("pods").Name(pod).SubResource(subresource).
		VersionedParams(options, scheme.ParameterCodec).URL()
}

// ways are those by which clients reach home's API server: kubectl, kubectl before 1.31, other languages' libraries.
func ways() map[string]func(*rest.Config, *url.URL) (remotecommand.Executor, error) {
	return map[string]func(*rest.Config, *url.URL) (remotecommand.Executor, error){
		"WebSocket": func(c *rest.Config, u *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutor(c, http.MethodGet, u.String())
		},
		"SPDY": func(c *rest.Config, u *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewSPDYExecutor(c, http.MethodPost, u)
		},
		"WebSocket that is passed on": func(c *rest.Config, u *url.URL) (remotecommand.Executor, error) {
			return remotecommand.NewWebSocketExecutorForProtocols(c, http.MethodGet, u.String(), "v4.channel.k8s.io")
		},
	}
}

// exec runs a command as kubectl exec does.
func (r *rig) exec(ctx context.Context, way string, o remotecommand.StreamOptions, command ...string) error {
	at := r.url("web", "exec", &corev1.PodExecOptions{
		Container: "app", Command: command, Stdin: o.Stdin != nil, Stdout: o.Stdout != nil, Stderr: o.Stderr != nil,
		TTY: o.Tty,
	})
	executor, err := ways()[way](r.planes[0].Config(), at)
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, o)
}

// forwarder is a connection for port-forwards, as kubectl has one.
type forwarder struct {
	httpstream.Connection
	requests int
}

// forwarding connects as kubectl port-forward does: through home's API server, within a WebSocket or by SPDY.
func (r *rig) forwarding(way string) (*forwarder, error) {
	at, config := r.url("web", "portforward", &corev1.PodPortForwardOptions{}), r.planes[0].Config()
	var dialer httpstream.Dialer
	var err error
	if way == "WebSocket" {
		dialer, err = portforward.NewSPDYOverWebsocketDialer(at, config)
	} else {
		dialer, err = spdyDialer(at, config)
	}
	if err != nil {
		return nil, err
	}
	conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	return &forwarder{Connection: conn}, nil
}

func spdyDialer(at *url.URL, config *rest.Config) (httpstream.Dialer, error) {
	transport, upgrader, err := spdy.RoundTripperFor(config)
	if err != nil {
		return nil, err
	}
	return spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, at), nil
}

// direct connects to the agent's endpoint without an API server in between, which pings connections.
func (r *rig) direct() (*forwarder, error) {
	at := &url.URL{Scheme: "https", Host: r.address, Path: "/portForward/" + r.ns + "/web"}
	dialer, err := spdyDialer(at, &rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	if err != nil {
		return nil, err
	}
	conn, _, err := dialer.Dial(portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	return &forwarder{Connection: conn}, nil
}

// to opens a connection to a port.
func (f *forwarder) to(port int) (data, errs httpstream.Stream, err error) {
	f.requests++
	headers := http.Header{}
	headers.Set(corev1.PortHeader, strconv.Itoa(port))
	headers.Set(corev1.PortForwardRequestIDHeader, strconv.Itoa(f.requests))
	headers.Set(corev1.StreamType, corev1.StreamTypeError)
	if errs, err = f.CreateStream(headers); err != nil {
		return nil, nil, err
	}
	if err := errs.Close(); err != nil { // nothing is written to it
		return nil, nil, err
	}
	headers.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err = f.CreateStream(headers)
	return data, errs, err
}

// quote reads what the port says that says something.
func (f *forwarder) quote() error {
	data, errs, err := f.to(portQuote)
	if err != nil {
		return err
	}
	defer f.RemoveStreams(data, errs)
	said, err := io.ReadAll(data)
	if err != nil {
		return err
	}
	trouble, err := io.ReadAll(errs)
	if err != nil {
		return err
	}
	if string(said) != "nothing is far away" || len(trouble) > 0 {
		return fmt.Errorf("it says %q, and %q", said, trouble)
	}
	return nil
}

// openStreams is an error as long as the agent counts streams.
func (r *rig) openStreams() error {
	families, err := r.registry.Gather()
	if err != nil {
		return err
	}
	for _, family := range families {
		if family.GetName() != "twinspace_streams" {
			continue
		}
		for _, m := range family.GetMetric() {
			if m.GetGauge().GetValue() != 0 {
				return fmt.Errorf("open: %s", m)
			}
		}
	}
	return nil
}
