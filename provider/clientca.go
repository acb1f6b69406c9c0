package provider

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Where an API server tells whose client certificates it accepts.
const (
	clientCAName = "extension-apiserver-authentication"
	clientCAKey  = "client-ca-file"
)

// How often the authorities are read, and how soon after a failure. They change once in years, and it is cheaper than a
// watch, which an API server has to keep for every agent.
const (
	clientCAInterval = time.Minute
	clientCARetry    = 2 * time.Second
)

// clientCA has the authorities of home for client certificates. Until they are known no certificate is accepted.
type clientCA struct {
	home  kubernetes.Interface
	clock clock.Clock
	known atomic.Pointer[authorities]
}

type authorities struct {
	bundle string
	pool   *x509.CertPool
}

var _ dynamiccertificates.CAContentProvider = &clientCA{}

// Name is for logs.
func (*clientCA) Name() string { return "kube-system/" + clientCAName }

// AddListener does nothing: whoever asks is told what is true then.
func (*clientCA) AddListener(dynamiccertificates.Listener) {}

// CurrentCABundleContent returns the authorities as PEM.
func (c *clientCA) CurrentCABundleContent() []byte {
	if known := c.known.Load(); known != nil {
		return []byte(known.bundle)
	}
	return nil
}

// VerifyOptions returns how to check a client's certificate; false while that is not known.
func (c *clientCA) VerifyOptions() (x509.VerifyOptions, bool) {
	known := c.known.Load()
	if known == nil {
		return x509.VerifyOptions{}, false
	}
	return x509.VerifyOptions{Roots: known.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, true
}

// run reads the authorities until ctx is done. What is known stays when they cannot be read.
func (c *clientCA) run(ctx context.Context) {
	told := ""
	for {
		pause, words := clientCAInterval, ""
		if err := c.read(ctx); err != nil {
			pause, words = clientCARetry, err.Error()
		}
		if words != told && words != "" && ctx.Err() == nil {
			log.FromContext(ctx).Info("Cannot tell whose client certificates home accepts", "err", words)
		}
		told = words
		select {
		case <-ctx.Done():
			return
		case <-c.clock.After(pause):
		}
	}
}

func (c *clientCA) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	config, err := c.home.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, clientCAName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read ConfigMap %s: %w", c.Name(), err)
	}
	bundle := config.Data[clientCAKey]
	if known := c.known.Load(); known != nil && known.bundle == bundle {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(bundle)) {
		return errors.New("ConfigMap " + c.Name() + " has no certificate in key " + clientCAKey)
	}
	c.known.Store(&authorities{bundle: bundle, pool: pool})
	return nil
}
