package remote

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// certificate returns a self-signed PEM certificate and its key.
func certificate(t *testing.T, notAfter time.Time) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: notAfter.Add(-time.Hour), NotAfter: notAfter,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw})
}

// provider starts a TLS server and returns the credential to it.
func provider(t *testing.T, handler http.HandlerFunc) Credential {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return Credential{Server: server.URL, CA: ca, Token: "one"}
}

func connect(t *testing.T, credential Credential, opts Options) *Cluster {
	t.Helper()
	c, err := New(credential, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.transport.CloseIdleConnections)
	return c
}

func TestEveryRequestCarriesTheCurrentToken(t *testing.T) {
	var seen []string
	c := connect(t, provider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			t.Errorf("want HTTP/2, got %s", r.Proto)
		}
		seen = append(seen, r.Header.Get("Authorization")+" "+r.UserAgent())
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"gitVersion":"v1.35.4"}`))
	}), Options{UserAgent: "agent/1"})
	// The client is older than the token.
	client, err := kubernetes.NewForConfigAndClient(c.Config(), c.HTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	ask := func() {
		t.Helper()
		if _, err := client.Discovery().ServerVersion(); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	c.SetToken("two")
	ask()
	if c.Token() != "two" || c.Credential().Token != "two" {
		t.Errorf("want token two, got %s and %s", c.Token(), c.Credential().Token)
	}
	if want, got := "Bearer one agent/1,Bearer two agent/1", strings.Join(seen, ","); got != want {
		t.Errorf("want %s, got %s", want, got)
	}
}

func TestATokenNeverFollowsARedirect(t *testing.T) {
	var stolen atomic.Bool
	thief := provider(t, func(http.ResponseWriter, *http.Request) { stolen.Store(true) })
	credential := provider(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.Server+"/steal", http.StatusTemporaryRedirect)
	})
	credential.CA = append(credential.CA, thief.CA...)
	c := connect(t, credential, Options{})
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CoreV1().Pods("x").List(t.Context(), metav1.ListOptions{})
	if err == nil || !strings.Contains(err.Error(), "refuse to follow the provider") {
		t.Errorf("want a refusal, got %v", err)
	}
	if stolen.Load() {
		t.Error("the other server was asked")
	}
}

func TestAnAnswerThatNeverBeginsIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	credential := provider(t, func(http.ResponseWriter, *http.Request) { <-release })
	t.Cleanup(func() { close(release) }) // before the server is closed
	c := connect(t, credential, Options{Timeout: 50 * time.Millisecond})
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().Pods("x").Get(t.Context(), "p", metav1.GetOptions{}); !isTimeout(err) {
		t.Errorf("want a timeout, got %v", err)
	}
}

func TestHowLongAProviderTakesIsMeasured(t *testing.T) {
	credential := provider(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			<-r.Context().Done()
		}
		http.NotFound(w, r)
	})
	c := connect(t, credential, Options{Timeout: 600 * time.Millisecond})
	registry := prometheus.NewRegistry()
	if err := c.Register(registry); err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	pods := client.CoreV1().Pods("x")
	_, _ = pods.Get(t.Context(), "p", metav1.GetOptions{})
	_ = pods.Delete(t.Context(), "p", metav1.DeleteOptions{})
	_, _ = pods.GetLogs("p", &corev1.PodLogOptions{}).DoRaw(t.Context())

	got := map[string]string{}
	families, err := registry.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("gathered %v, %v", families, err)
	}
	for _, m := range families[0].GetMetric() {
		slow := m.GetHistogram().GetSampleSum() >= 0.5
		got[m.GetLabel()[0].GetValue()] = fmt.Sprintf("%d, slow: %t", m.GetHistogram().GetSampleCount(), slow)
	}
	if diff := cmp.Diff(map[string]string{"GET": "1, slow: false", "DELETE": "1, slow: true"}, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if err := c.Register(registry); err == nil {
		t.Error("it was registered twice")
	}
}

func TestALogMayBeginLate(t *testing.T) {
	const timeout = 50 * time.Millisecond
	credential := provider(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(4 * timeout):
			_, _ = w.Write([]byte("at last"))
		case <-r.Context().Done():
		}
	})
	c := connect(t, credential, Options{Timeout: timeout})
	client, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		t.Fatal(err)
	}
	log, err := client.CoreV1().Pods("x").GetLogs("p", &corev1.PodLogOptions{Follow: true}).DoRaw(t.Context())
	if err != nil || string(log) != "at last" {
		t.Errorf("got %q, %v", log, err)
	}
}

func TestRunEndsWithItsContextAndLeavesNothing(t *testing.T) {
	asked := make(chan struct{}, 10)
	credential := provider(t, func(http.ResponseWriter, *http.Request) { asked <- struct{}{} })
	ignore := goleak.IgnoreCurrent()
	c, err := New(credential, Options{Interval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c.transport.IdleConnTimeout = 10 * time.Millisecond // or the last connection outlives the test
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	<-asked
	c.SetToken("two") // asks at once, though the next tick is an hour away
	<-asked
	c.SetToken("two") // no change, nothing to ask
	cancel()
	if err := <-done; err != nil {
		t.Errorf("want nil, got %v", err)
	}
	if len(asked) != 0 {
		t.Error("asked again without need")
	}
	goleak.VerifyNone(t, ignore, goleak.IgnoreAnyFunction("net/http.(*http2serverConn).serve"),
		goleak.IgnoreAnyFunction("net/http.(*http2serverConn).readFrames"))
}
