package provider

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

// shutdownGrace is how long requests may take to end when the agent stops.
const shutdownGrace = 5 * time.Second

// Server is the kubelet endpoint of the Nodes: what `kubectl logs` ends up at. Nothing is answered before the caller is
// known and allowed, and nothing is served without TLS.
type Server struct {
	// Pods tells which remote pod stands behind a home pod.
	Pods *Pods
	// Auth knows callers and what they may do.
	Auth Auth
	// Streams carry exec, attach and port-forward; without them these are not served.
	Streams *Streams
	// IP and Port are where it listens.
	IP   string
	Port int32
	// Stats tells what pods use; nil serves nothing of it.
	Stats *Stats
	// CertFile and KeyFile are the serving certificate, read again when they change.
	CertFile, KeyFile string
	// Issued returns the serving certificate for a handshake where there are no files, or nil as long as there is none.
	// Then a self-signed one is served, as kubelets do.
	Issued func(*tls.ClientHelloInfo) *tls.Certificate
	// Listening, if not nil, is called with the address once connections are accepted.
	Listening func(net.Addr)
}

// Handler returns everything that is served, behind authentication and authorization.
func (s *Server) Handler() http.Handler {
	config := api.PodHandlerConfig{GetPods: s.Pods.executed, GetPodsFromKubernetes: s.Pods.bound}
	if s.Streams != nil {
		s.Streams.configure(&config)
	}
	library := api.PodHandler(config, true) // which adds /runningpods, and nothing else
	routes := http.NewServeMux()
	routes.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.Pods.serveLogs)
	routes.Handle("/", library)
	if s.Streams != nil {
		s.Streams.serveOn(routes, library)
	}
	// Around the finished routes, not among them: a route cannot be forgotten.
	return s.Auth.require(s.Stats.before(routes), s.Pods.nodesFor)
}

// Start serves until ctx is done, and returns when no request is under way any more.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	config, watcher, err := s.tls()
	if err != nil {
		return err
	}
	if watcher != nil {
		running.Go(func() { _ = watcher.Start(ctx) }) // it ends with ctx, and logs what it cannot read
	}
	running.Go(func() { s.Auth.run(ctx) })
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", net.JoinHostPort(s.IP, strconv.Itoa(int(s.Port))))
	if err != nil {
		cancel()
		return fmt.Errorf("listen for the kubelet API: %w", err)
	}
	server := &http.Server{
		Handler: s.Handler(), TLSConfig: config, ReadHeaderTimeout: callTimeout, IdleTimeout: 2 * time.Minute,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	running.Go(func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.Background(), shutdownGrace)
		defer cancel()
		if server.Shutdown(stop) != nil {
			_ = server.Close() // whoever still reads a log has had the time
		}
		if s.Streams != nil {
			s.Streams.wait() // they have ended with ctx
		}
	})
	if s.Listening != nil {
		s.Listening(listener.Addr())
	}
	if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		cancel()
		return fmt.Errorf("serve the kubelet API: %w", err)
	}
	return nil
}

func (s *Server) tls() (*tls.Config, *certwatcher.CertWatcher, error) {
	config := &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Asked for, and checked by the authenticator, which also takes tokens.
		ClientAuth: tls.RequestClientCert,
	}
	if s.CertFile != "" {
		watcher, err := certwatcher.New(s.CertFile, s.KeyFile)
		if err != nil {
			return nil, nil, fmt.Errorf("read serving certificate: %w", err)
		}
		config.GetCertificate = watcher.GetCertificate
		return config, watcher, nil
	}
	cert, key, err := certutil.GenerateSelfSignedCertKey(s.IP, nil, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make serving certificate: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make serving certificate: %w", err)
	}
	config.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if s.Issued != nil {
			if issued := s.Issued(hello); issued != nil {
				return issued, nil
			}
		}
		return &pair, nil
	}
	return config, nil, nil
}
