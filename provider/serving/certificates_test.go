package serving

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clientgotesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlfake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// desk is an agent at a home where the test approves and signs by hand.
type desk struct {
	*testing.T
	*Certificates
	csrs     *fake.Clientset
	clock    *testclock.FakeClock
	recorder *events.FakeRecorder
	ca       *x509.Certificate
	caKey    crypto.Signer
}

func newDesk(t *testing.T, nodes ...client.Object) *desk {
	t.Helper()
	now := time.Now().Truncate(time.Second) // which is how fine certificates are dated
	d := &desk{T: t, clock: testclock.NewFakeClock(now), recorder: events.NewFakeRecorder(10)}
	d.csrs = fake.NewClientset()
	made := 0
	d.csrs.PrependReactor("create", "certificatesigningrequests",
		func(action clientgotesting.Action) (bool, runtime.Object, error) {
			csr := action.(clientgotesting.CreateAction).GetObject().(*certificatesv1.CertificateSigningRequest)
			csr.Name = fmt.Sprintf("%s%d", csr.GenerateName, made)
			made++
			return false, nil, nil
		})
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	counts, err := NewMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	d.Certificates = &Certificates{
		Client:   ctrlfake.NewClientBuilder().WithScheme(scheme).WithObjects(nodes...).Build(),
		Home:     d.csrs,
		Provider: "milan-id", Recorder: d.recorder, Metrics: counts, Clock: d.clock,
		Jitter: func() float64 { return 0.5 },
	}
	if d.caKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	d.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: d.clock.Now().Add(-time.Hour), NotAfter: d.clock.Now().Add(1e5 * time.Hour),
	}
	return d
}

// reconcile looks at a Node and returns when it wants to look again.
func (d *desk) reconcile(node string) time.Duration {
	d.Helper()
	result, err := d.Reconcile(d.Context(), reconcile.Request{NamespacedName: client.ObjectKey{Name: node}})
	if err != nil {
		d.Fatal(err)
	}
	return result.RequeueAfter
}

// requests returns the names of all requests, sorted.
func (d *desk) requests() []string {
	d.Helper()
	list, err := d.csrs.CertificatesV1().CertificateSigningRequests().List(d.Context(), metav1.ListOptions{})
	if err != nil {
		d.Fatal(err)
	}
	var out []string
	for _, csr := range list.Items {
		out = append(out, csr.Name)
	}
	slices.Sort(out)
	return out
}

func (d *desk) asked(want ...string) {
	d.Helper()
	if diff := cmp.Diff(want, d.requests()); diff != "" {
		d.Fatalf("requests (-want,+got):\n%s", diff)
	}
}

// sign issues what a request asks for, for so long; other makes it another key's.
func (d *desk) sign(name string, life time.Duration, other crypto.PublicKey) {
	d.Helper()
	d.change(name, func(csr *certificatesv1.CertificateSigningRequest) {
		block, _ := pem.Decode(csr.Spec.Request)
		request, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			d.Fatal(err)
		}
		key := request.PublicKey
		if other != nil {
			key = other
		}
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: request.Subject, DNSNames: request.DNSNames,
			IPAddresses: request.IPAddresses,
			// As kube-controller-manager does, it dates back.
			NotBefore: d.clock.Now().Add(-5 * time.Minute), NotAfter: d.clock.Now().Add(life),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		}, d.ca, key, d.caKey)
		if err != nil {
			d.Fatal(err)
		}
		csr.Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	})
}

func (d *desk) change(name string, change func(*certificatesv1.CertificateSigningRequest)) {
	d.Helper()
	csrs := d.csrs.CertificatesV1().CertificateSigningRequests()
	csr, err := csrs.Get(d.Context(), name, metav1.GetOptions{})
	if err != nil {
		d.Fatal(err)
	}
	change(csr)
	if _, err := csrs.UpdateStatus(d.Context(), csr, metav1.UpdateOptions{}); err != nil {
		d.Fatal(err)
	}
}

func (d *desk) condition(name string, kind certificatesv1.RequestConditionType) {
	d.Helper()
	d.change(name, func(csr *certificatesv1.CertificateSigningRequest) {
		csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: kind, Status: corev1.ConditionTrue, Message: "because",
		})
	})
}

// serves says which Node's certificate a client sees that names a host.
func (d *desk) serves(host string) string {
	pair := d.Issued(&tls.ClientHelloInfo{ServerName: host})
	if pair == nil {
		return ""
	}
	return strings.TrimPrefix(pair.Leaf.Subject.CommonName, "system:node:")
}

func (d *desk) event(want string) {
	d.Helper()
	select {
	case got := <-d.recorder.Events:
		if want == "" || !strings.Contains(got, want) {
			d.Errorf("event %q, want %q", got, want)
		}
	default:
		if want != "" {
			d.Errorf("no event, want %q", want)
		}
	}
}

func TestACertificateIsAskedForOnceAndRenewedBeforeItExpires(t *testing.T) {
	d := newDesk(t, virtual("milan", "milan-id", "10.1.0.7"))
	if after := d.reconcile("milan"); after <= 0 || after > time.Second {
		t.Errorf("looks again after %s", after)
	}
	d.reconcile("milan")
	d.asked("serving-milan-0")
	if got := d.serves(""); got != "" {
		t.Errorf("serves %s before anything is issued", got)
	}
	d.sign("serving-milan-0", 100*time.Hour, nil)
	if after := d.reconcile("milan"); after != 75*time.Hour {
		t.Errorf("renews after %s, want three quarters of the life that is left", after)
	}
	if got := d.serves(""); got != "milan" {
		t.Errorf("serves %q", got)
	}
	if got := testutil.ToFloat64(d.Metrics.expiry); got != float64(d.clock.Now().Add(100*time.Hour).Unix()) {
		t.Errorf("metric says it expires at %f", got)
	}

	first := d.Issued(&tls.ClientHelloInfo{})
	d.clock.Step(74 * time.Hour)
	d.reconcile("milan")
	d.asked("serving-milan-0")
	d.clock.Step(time.Hour)
	d.reconcile("milan")
	d.reconcile("milan")
	d.asked("serving-milan-0", "serving-milan-1")
	if d.Issued(&tls.ClientHelloInfo{}) != first {
		t.Error("the old certificate is not served while the new one is waited for")
	}
	d.sign("serving-milan-1", 100*time.Hour, nil)
	d.reconcile("milan")
	if now := d.Issued(&tls.ClientHelloInfo{}); now == first || now == nil {
		t.Error("the new certificate is not served")
	} else if now.PrivateKey.(*ecdsa.PrivateKey).Equal(first.PrivateKey) {
		t.Error("the old key is used again")
	}
	d.event("")
}

func TestEveryNodeHasItsOwn(t *testing.T) {
	d := newDesk(t, virtual("milan", "milan-id", "10.1.0.7"), virtual("milan-gpu", "milan-id", "10.1.0.7"),
		virtual("rome", "rome-id", "10.1.0.9"), virtual("new", "milan-id"))
	for _, node := range []string{"milan-gpu", "milan", "rome", "new", "gone"} {
		d.reconcile(node)
	}
	d.asked("serving-milan-1", "serving-milan-gpu-0")
	d.sign("serving-milan-gpu-0", time.Hour, nil)
	d.reconcile("milan-gpu")
	if got := d.serves("milan"); got != "milan-gpu" {
		t.Errorf("without its own, any: it is for the same address; got %q", got)
	}
	d.sign("serving-milan-1", time.Hour, nil)
	d.reconcile("milan")
	for host, want := range map[string]string{
		"milan": "milan", "milan-gpu": "milan-gpu", "": "milan", "elsewhere": "milan",
	} {
		if got := d.serves(host); got != want {
			t.Errorf("to a client that says %q it serves %q, want %q", host, got, want)
		}
	}

	if err := d.Delete(t.Context(), virtual("milan", "milan-id")); err != nil {
		t.Fatal(err)
	}
	d.reconcile("milan")
	if got := d.serves("milan"); got != "milan-gpu" {
		t.Errorf("serves %q for a Node that is gone", got)
	}
	if n := testutil.CollectAndCount(d.Metrics.expiry); n != 1 {
		t.Errorf("%d certificates in the metric", n)
	}
}

func TestANodeThatMovesAsksAnew(t *testing.T) {
	d := newDesk(t, virtual("milan", "milan-id", "10.1.0.7"))
	d.reconcile("milan")
	d.move("10.1.0.8") // while it waits
	d.reconcile("milan")
	d.asked("serving-milan-0", "serving-milan-1")
	d.sign("serving-milan-1", 100*time.Hour, nil)
	d.reconcile("milan")
	d.move("10.1.0.9") // when it has one
	d.reconcile("milan")
	d.asked("serving-milan-0", "serving-milan-1", "serving-milan-2")
	d.sign("serving-milan-2", 100*time.Hour, nil)
	d.reconcile("milan")
	if err := d.Issued(&tls.ClientHelloInfo{}).Leaf.VerifyHostname("10.1.0.9"); err != nil {
		t.Error(err)
	}
}

func (d *desk) move(to string) {
	d.Helper()
	node := &corev1.Node{}
	if err := d.Get(d.Context(), client.ObjectKey{Name: "milan"}, node); err != nil {
		d.Fatal(err)
	}
	node.Status.Addresses[0].Address = to
	if err := d.Status().Update(d.Context(), node); err != nil {
		d.Fatal(err)
	}
}

func TestWhatComesInsteadOfACertificate(t *testing.T) {
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const first = "serving-milan-0"
	for name, tc := range map[string]struct {
		comes  func(*desk)
		pause  time.Duration // until it is asked again
		event  string
		result string
	}{
		"a denial": {
			func(d *desk) { d.condition(first, certificatesv1.CertificateDenied) }, deniedPause,
			"CertificateSigningRequest serving-milan-0 was denied: because", "denied",
		},
		"a failure": {
			func(d *desk) { d.condition(first, certificatesv1.CertificateFailed) }, deniedPause,
			"CertificateSigningRequest serving-milan-0 could not be signed: because", "failed",
		},
		"somebody tidies up": {
			func(d *desk) {
				if err := d.csrs.CertificatesV1().CertificateSigningRequests().Delete(
					context.Background(), first, metav1.DeleteOptions{}); err != nil {
					d.Fatal(err)
				}
			}, 0, "", "lost",
		},
		"a certificate for another key": {
			func(d *desk) { d.sign(first, time.Hour, stranger.Public()) }, deniedPause, "", "failed",
		},
		"an expired certificate": {func(d *desk) { d.sign(first, -time.Minute, nil) }, deniedPause, "", "failed"},
		"rubbish": {
			func(d *desk) {
				d.change(first, func(csr *certificatesv1.CertificateSigningRequest) {
					csr.Status.Certificate = []byte("rubbish")
				})
			}, deniedPause, "", "failed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, virtual("milan", "milan-id", "10.1.0.7"))
			d.reconcile("milan")
			tc.comes(d)
			d.reconcile("milan")
			d.event(tc.event)
			if d.serves("") != "" {
				t.Error("something is served")
			}
			if got := testutil.ToFloat64(d.Metrics.requests.WithLabelValues(tc.result)); got != 1 {
				t.Errorf("metric counts %f of %s", got, tc.result)
			}
			if tc.pause > 0 {
				d.clock.Step(tc.pause - time.Second)
				d.reconcile("milan")
				d.asked(first)
				d.clock.Step(time.Second)
				d.reconcile("milan")
			}
			if list := d.requests(); !slices.Contains(list, "serving-milan-1") {
				t.Errorf("it is not asked again: %v", list)
			}
		})
	}
}

func TestSomebodyIsToldOfARequestThatWaits(t *testing.T) {
	for name, tc := range map[string]struct {
		approved bool
		want     string
	}{
		"for an approval": {false, "not approved: does our controller-manager run?"},
		"for a signature": {true, "approved but not signed: does this cluster sign kubernetes.io/kubelet-serving?"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, virtual("milan", "milan-id", "10.1.0.7"))
			d.reconcile("milan")
			if tc.approved {
				d.condition("serving-milan-0", certificatesv1.CertificateApproved)
			}
			d.clock.Step(tellAfter - time.Second)
			d.reconcile("milan")
			d.event("")
			d.clock.Step(time.Second)
			d.reconcile("milan")
			d.event(tc.want)
			d.clock.Step(24 * time.Hour)
			if after := d.reconcile("milan"); after < 10*time.Second {
				t.Errorf("looks again after %s", after)
			}
			d.event("") // once
			d.asked("serving-milan-0")
		})
	}
}
