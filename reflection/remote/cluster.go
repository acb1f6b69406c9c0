package remote

import (
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/flowcontrol"
	"k8s.io/utils/clock"
)

// Options of a [Cluster]. Zero values mean the defaults.
type Options struct {
	// UserAgent is what the provider's audit log calls us.
	UserAgent string
	// QPS and Burst are the budget of requests, one for all clients made from [Cluster.Config]. Default 500 and 1000:
	// fairness is the business of the provider's API server, which answers 429; this is only a fuse.
	QPS   float32
	Burst int
	// Timeout bounds how long a request waits for its answer to begin (10 s), unless it is for a log, which begins when
	// there is something in it. Nothing is cut once it has begun.
	Timeout time.Duration
	// Interval is the time between probes (5 s); a probe that takes as long has failed.
	Interval time.Duration
	// Grace is for how long probes must have failed before the cluster counts as unhealthy (20 s), so that a short
	// cut stays invisible.
	Grace time.Duration
	// Proxy finds the proxy of a request; nil means none.
	Proxy func(*http.Request) (*url.URL, error)
	// Clock is the real one unless a test says otherwise.
	Clock clock.WithTicker
	// Wrap goes around all transports to the provider, if it is not nil.
	Wrap func(http.RoundTripper) http.RoundTripper
}

func (o Options) withDefaults() Options {
	set(&o.QPS, 500)
	set(&o.Burst, 1000)
	set(&o.Timeout, 10*time.Second)
	set(&o.Interval, 5*time.Second)
	set(&o.Grace, 20*time.Second)
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	return o
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Cluster is a connection to one provider. All clients made from its [Cluster.Config] share its connections, its
// budget and its current token. It is safe for concurrent use.
type Cluster struct {
	config     *rest.Config
	http       *http.Client
	transport  *http.Transport
	streams    *http.Transport // the same without a limit on how late an answer begins
	opts       Options
	credential Credential
	poke       chan struct{}
	pages      pages
	requests   *prometheus.HistogramVec

	mu        sync.Mutex
	token     string
	health    health
	listeners []func()
	recovery  []func()
	refused   []func(namespace string)
}

// New returns the connection that the credential describes. It does not talk to the provider: see [Cluster.Probe].
func New(credential Credential, opts Options) (*Cluster, error) {
	opts = opts.withDefaults()
	c := &Cluster{
		opts: opts, credential: credential, token: credential.Token,
		poke: make(chan struct{}, 1), health: health{err: notAsked()}, requests: newRequests(),
	}
	c.config = &rest.Config{
		Host:        credential.Server,
		UserAgent:   opts.UserAgent,
		RateLimiter: flowcontrol.NewTokenBucketRateLimiter(opts.QPS, opts.Burst),
		Proxy:       opts.Proxy,
		// Warnings are for who writes by hand, and a provider could fill our logs with them.
		WarningHandler: rest.NoWarnings{},
		TLSClientConfig: rest.TLSClientConfig{
			ServerName: credential.ServerName, CAData: credential.CA,
			CertData: credential.ClientCertificate, KeyData: credential.ClientKey,
		},
	}
	server, err := url.Parse(credential.Server)
	if err != nil {
		return nil, fmt.Errorf("parse server address: %w", err)
	}
	if c.transport, err = newTransport(c.config, opts); err != nil {
		return nil, err
	}
	c.streams = c.transport.Clone()
	c.streams.ResponseHeaderTimeout = 0
	c.config.Wrap((&bearer{cluster: c, host: server.Host}).wrap)
	if opts.Wrap != nil {
		c.config.Wrap(opts.Wrap)
	}
	if c.http, err = rest.HTTPClientFor(c.config); err != nil {
		return nil, fmt.Errorf("make HTTP client: %w", err)
	}
	return c, nil
}

// Config returns a configuration for clients. Give [Cluster.HTTPClient] to constructors that take one.
func (c *Cluster) Config() *rest.Config { return rest.CopyConfig(c.config) }

// HTTPClient returns the client that everything to this provider may share.
func (c *Cluster) HTTPClient() *http.Client { return c.http }

// Token returns the current token.
func (c *Cluster) Token() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.token
}

// SetToken makes every request from now on carry the token, and asks for a probe at once.
func (c *Cluster) SetToken(token string) {
	c.mu.Lock()
	changed := c.token != token
	c.token = token
	c.mu.Unlock()
	if !changed {
		return
	}
	select {
	case c.poke <- struct{}{}:
	default:
	}
}

// Credential returns the credential with the current token.
func (c *Cluster) Credential() Credential {
	out := c.credential
	out.Token = c.Token()
	return out
}
