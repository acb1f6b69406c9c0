package serving

import (
	"context"
	"crypto"
	"crypto/tls"
	"fmt"
	"slices"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
)

const (
	// lifetime is what is asked for; an authority may give less.
	lifetime = 30 * 24 * time.Hour
	// renewAt is after which part of its life a certificate is renewed; Jitter moves it by up to renewSpread later.
	renewAt, renewSpread = 0.7, 0.1
	// deniedPause is until what was denied or failed is asked for again.
	deniedPause = 10 * time.Minute
	// tellAfter is when somebody is told that a request is neither approved nor denied, or not signed.
	tellAfter = time.Minute
	// callTimeout bounds every call of the API server.
	callTimeout = 10 * time.Second
	// backoffBase and backoffMax bound the delay after an error.
	backoffBase, backoffMax = 100 * time.Millisecond, 30 * time.Second
)

// Certificates keeps a serving certificate for each Node of one provider. Keys are kept in memory only: an agent that
// starts asks anew.
type Certificates struct {
	// Client reads Nodes from a cache.
	client.Client
	// Home acts as the agent; it creates requests and reads them.
	Home kubernetes.Interface
	// Provider is the id of the provider.
	Provider string
	Recorder events.EventRecorder
	Metrics  *Metrics
	Clock    clock.PassiveClock
	// Jitter returns a number between 0 and 1, by which certificates of one age are renewed apart.
	Jitter func() float64

	mu    sync.RWMutex
	nodes map[string]*held
}

// held is what is there for one Node.
type held struct {
	// serving is the certificate; nil before the first. It proves what id says, until expires.
	serving *tls.Certificate
	id      identity
	renew   time.Time
	// asked is the request under way; nil if none is.
	asked *asked
	// notBefore is when the next request may be made.
	notBefore time.Time
}

// asked is a request under way.
type asked struct {
	name string
	key  crypto.Signer
	id   identity
	at   time.Time
	told bool
}

// SetupWithManager runs the reconciler in a manager, on its leader, which alone serves.
func (c *Certificates) SetupWithManager(mgr manager.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("serving-certificates").
		For(&corev1.Node{}).
		WithOptions(controller.Options{
			RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](
				backoffBase, backoffMax),
		}).
		Complete(c)
}

// Issued returns the certificate for a handshake: that of the Node that the client asks for by name, or, since clients
// that have only an address name nobody and all Nodes share it, any. It returns nil as long as there is none.
func (c *Certificates) Issued(hello *tls.ClientHelloInfo) *tls.Certificate {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if h := c.nodes[hello.ServerName]; h != nil && h.serving != nil {
		return h.serving
	}
	var first string
	for name, h := range c.nodes {
		if h.serving != nil && (first == "" || name < first) {
			first = name
		}
	}
	if first == "" {
		return nil
	}
	return c.nodes[first].serving
}

// Reconcile sees to the certificate of one Node. It alone changes what is held, so it reads it without the lock.
func (c *Certificates) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	var node corev1.Node
	err := c.Get(ctx, req.NamespacedName, &node)
	if client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("read Node %s: %w", req.Name, err)
	}
	want := identityOf(&node)
	switch {
	case err != nil || node.Labels[v1beta1.LabelRemoteClusterID] != c.Provider:
		c.forget(req.Name)
		return reconcile.Result{}, nil
	case len(want.ips) == 0: // it is being made; its status comes
		return reconcile.Result{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	after, err := c.hold(ctx, &node, want)
	return reconcile.Result{RequeueAfter: after}, err
}

// hold brings what is held for a Node one step on, and returns when to look again.
func (c *Certificates) hold(ctx context.Context, node *corev1.Node, want identity) (time.Duration, error) {
	h := c.of(node.Name)
	if h.asked != nil && !h.asked.id.equal(want) {
		h.asked = nil // the Node has moved: nobody needs the answer any more
	}
	if h.asked != nil {
		if err := c.look(ctx, node, h); err != nil {
			return 0, err
		}
	}
	now := c.Clock.Now()
	due := h.due(want)
	if h.asked == nil && !now.Before(due) {
		if err := c.ask(ctx, h, want); err != nil {
			return 0, err
		}
	}
	if h.asked != nil {
		return patience(now.Sub(h.asked.at)), nil
	}
	return max(due.Sub(now), time.Second), nil
}

// due returns when a certificate is to be asked for.
func (h *held) due(want identity) time.Time {
	if h.serving != nil && h.id.equal(want) && h.renew.After(h.notBefore) {
		return h.renew
	}
	return h.notBefore
}

// patience is until a request of some age is looked at again. Most are signed in a moment; one that waits for a human
// may wait for days.
func patience(age time.Duration) time.Duration {
	switch {
	case age < 5*time.Second:
		return 200 * time.Millisecond
	case age < tellAfter:
		return 2 * time.Second
	default:
		return 30 * time.Second
	}
}

// of returns what is held for a Node.
func (c *Certificates) of(node string) *held {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.nodes == nil {
		c.nodes = map[string]*held{}
	}
	if c.nodes[node] == nil {
		c.nodes[node] = &held{}
	}
	return c.nodes[node]
}

func (c *Certificates) forget(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.nodes, node)
	c.Metrics.forget(node)
}

// ask makes a key and asks for its certificate.
func (c *Certificates) ask(ctx context.Context, h *held, want identity) error {
	key, request, err := want.request()
	if err != nil {
		return err
	}
	csr, err := c.Home.CertificatesV1().CertificateSigningRequests().Create(ctx,
		&certificatesv1.CertificateSigningRequest{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "serving-" + want.node + "-"},
			Spec: certificatesv1.CertificateSigningRequestSpec{
				Request: request, SignerName: certificatesv1.KubeletServingSignerName, Usages: usages(),
				ExpirationSeconds: ptr.To(int32(lifetime / time.Second)),
			},
		}, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("ask for the serving certificate of %s: %w", want.node, err)
	}
	h.asked = &asked{name: csr.Name, key: key, id: want, at: c.Clock.Now()}
	return nil
}

// look sees what has become of the request under way.
func (c *Certificates) look(ctx context.Context, node *corev1.Node, h *held) error {
	csr, err := c.Home.CertificatesV1().CertificateSigningRequests().Get(ctx, h.asked.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) { // somebody has tidied up
		c.Metrics.came("lost")
		h.asked = nil
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the request for the serving certificate of %s: %w", node.Name, err)
	}
	if len(csr.Status.Certificate) > 0 {
		return c.take(ctx, node, h, csr.Status.Certificate)
	}
	if i := slices.IndexFunc(csr.Status.Conditions, refused); i >= 0 {
		c.giveUp(ctx, node, h, csr.Status.Conditions[i])
		return nil
	}
	if !h.asked.told && c.Clock.Since(h.asked.at) >= tellAfter {
		h.asked.told = true
		c.Recorder.Eventf(node, nil, corev1.EventTypeWarning, "ServingCertificatePending", "Serve",
			"CertificateSigningRequest %s is %s; until then the kubelet endpoint has its last certificate, or a "+
				"self-signed one", csr.Name, missing(csr))
	}
	return nil
}

// missing says what a request waits for.
func missing(csr *certificatesv1.CertificateSigningRequest) string {
	for _, condition := range csr.Status.Conditions {
		if condition.Type == certificatesv1.CertificateApproved {
			return "approved but not signed: does this cluster sign " + certificatesv1.KubeletServingSignerName + "?"
		}
	}
	return "not approved: does our controller-manager run? (kubectl certificate approve does it by hand)"
}

func refused(c certificatesv1.CertificateSigningRequestCondition) bool {
	return c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed
}

// giveUp tells why there is no certificate, and tries again later.
func (c *Certificates) giveUp(
	ctx context.Context, node *corev1.Node, h *held, why certificatesv1.CertificateSigningRequestCondition,
) {
	result, came := "failed", "could not be signed"
	if why.Type == certificatesv1.CertificateDenied {
		result, came = "denied", "was denied"
	}
	c.Metrics.came(result)
	log.FromContext(ctx).Info("No serving certificate", "request", h.asked.name, "result", result, "why", why.Message)
	c.Recorder.Eventf(node, nil, corev1.EventTypeWarning, "ServingCertificateRefused", "Serve",
		"CertificateSigningRequest %s %s: %s", h.asked.name, came, why.Message)
	h.asked, h.notBefore = nil, c.Clock.Now().Add(deniedPause)
}

// take puts a certificate into use. Connections that are there go on with the one before.
func (c *Certificates) take(ctx context.Context, node *corev1.Node, h *held, chain []byte) error {
	now := c.Clock.Now()
	pair, err := pairOf(chain, h.asked, now)
	if err != nil { // another will be no better at once
		c.Metrics.came("failed")
		log.FromContext(ctx).Error(err, "Cannot use a serving certificate", "request", h.asked.name)
		h.asked, h.notBefore = nil, now.Add(deniedPause)
		return nil
	}
	c.Metrics.came("issued")
	c.Metrics.expires(node.Name, pair.Leaf.NotAfter)
	// What counts is the time that is left: an authority may date its certificates back.
	left := pair.Leaf.NotAfter.Sub(now)
	after := time.Duration(float64(left) * (renewAt + renewSpread*c.Jitter()))
	log.FromContext(ctx).Info("Have a serving certificate", "expires", pair.Leaf.NotAfter, "renewIn", after)
	c.mu.Lock()
	defer c.mu.Unlock()
	h.serving, h.id, h.renew, h.asked = pair, h.asked.id, now.Add(after), nil
	return nil
}
