package serving

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

// template is a request as an agent makes it, for a Node "milan".
func template() *x509.CertificateRequest {
	return &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "system:node:milan", Organization: []string{"system:nodes"}},
		DNSNames: []string{"milan"}, IPAddresses: []net.IP{net.ParseIP("10.1.0.7")},
	}
}

// specOf makes a request for a serving certificate from a template.
func specOf(t *testing.T, template *x509.CertificateRequest) certificatesv1.CertificateSigningRequestSpec {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return certificatesv1.CertificateSigningRequestSpec{
		SignerName: certificatesv1.KubeletServingSignerName, Usages: usages(),
		Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
	}
}

func TestWhatAnAgentAsksCanBeRead(t *testing.T) {
	want := identity{node: "milan", dns: []string{"milan"}, ips: addresses("10.1.0.7", "fd00::7")}
	_, request, err := want.request()
	if err != nil {
		t.Fatal(err)
	}
	for name, list := range map[string][]certificatesv1.KeyUsage{
		"as we ask": usages(), "as kubelets with RSA keys ask": append(usages(), certificatesv1.UsageKeyEncipherment),
	} {
		got, err := parse(&certificatesv1.CertificateSigningRequestSpec{Request: request, Usages: list})
		if err != nil || !got.equal(want) {
			t.Errorf("%s: want %v, got %v, %v", name, want, got, err)
		}
	}
}

// hostile are requests that are wrong whatever the cluster looks like. The last column is what is said about it.
func hostile() map[string]struct {
	template func(*x509.CertificateRequest)
	spec     func(*certificatesv1.CertificateSigningRequestSpec)
	says     string
} {
	extension := func(id asn1.ObjectIdentifier, value []byte) func(*x509.CertificateRequest) {
		return func(r *x509.CertificateRequest) {
			r.ExtraExtensions = []pkix.Extension{{Id: id, Value: value}}
		}
	}
	otherName := []byte{0x30, 0x0d, 0xa0, 0x0b, 0x06, 0x03, 0x2a, 0x03, 0x04, 0xa0, 0x04, 0x0c, 0x02, 'h', 'i'}
	type bad = struct {
		template func(*x509.CertificateRequest)
		spec     func(*certificatesv1.CertificateSigningRequestSpec)
		says     string
	}
	return map[string]bad{
		"no node": {template: func(r *x509.CertificateRequest) { r.Subject.CommonName = "milan" },
			says: "the common name must be system:node:NODE"},
		"a node without a name": {template: func(r *x509.CertificateRequest) { r.Subject.CommonName = "system:node:" },
			says: "the common name must be system:node:NODE"},
		"the API server": {template: func(r *x509.CertificateRequest) { r.Subject.CommonName = "kube-apiserver" },
			says: "the common name must be system:node:NODE"},
		"masters": {template: func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"system:masters"} },
			says: "the organization must be exactly system:nodes"},
		"masters, too": {template: func(r *x509.CertificateRequest) {
			r.Subject.Organization = []string{"system:nodes", "system:masters"}
		}, says: "the organization must be exactly system:nodes"},
		"no organization": {template: func(r *x509.CertificateRequest) { r.Subject.Organization = nil },
			says: "the organization must be exactly system:nodes"},
		"something else in the subject": {template: func(r *x509.CertificateRequest) {
			r.Subject.OrganizationalUnit = []string{"x"}
		}, says: "the subject must have a common name and an organization only"},
		"two common names": {template: func(r *x509.CertificateRequest) {
			cn := asn1.ObjectIdentifier{2, 5, 4, 3}
			r.Subject.ExtraNames = []pkix.AttributeTypeAndValue{
				{Type: cn, Value: "system:node:worker-1"}, {Type: cn, Value: "system:node:milan"},
			}
		}, says: "the subject must have"},
		"no address": {template: func(r *x509.CertificateRequest) { r.DNSNames, r.IPAddresses = nil, nil },
			says: "the request names no address"},
		"a mailbox": {template: func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@b.example"} },
			says: "a node has DNS names and addresses only"},
		"a URI": {template: func(r *x509.CertificateRequest) {
			r.URIs = []*url.URL{{Scheme: "spiffe", Host: "cluster.local", Path: "/admin"}}
		}, says: "a node has DNS names and addresses only"},
		"a name that parsers pass over": {template: func(r *x509.CertificateRequest) {
			r.DNSNames, r.IPAddresses = nil, nil
			extension(asn1.ObjectIdentifier{2, 5, 29, 17}, otherName)(r)
		}, says: "a node has DNS names and addresses only"},
		"an authority": {template: extension(asn1.ObjectIdentifier{2, 5, 29, 19}, []byte{0x30, 0x03, 0x01, 0x01, 0xff}),
			says: "extension 2.5.29.19 may not be requested"},
		"another use of the key": {template: extension(asn1.ObjectIdentifier{2, 5, 29, 37}, []byte{0x30, 0x00}),
			says: "extension 2.5.29.37 may not be requested"},
		"a client": {spec: func(s *certificatesv1.CertificateSigningRequestSpec) {
			s.Usages = append(s.Usages, certificatesv1.UsageClientAuth)
		}, says: `usage "client auth" is not for serving`},
		"anything": {spec: func(s *certificatesv1.CertificateSigningRequestSpec) {
			s.Usages = append(s.Usages, certificatesv1.UsageAny)
		}, says: `usage "any" is not for serving`},
		"a signer of certificates": {spec: func(s *certificatesv1.CertificateSigningRequestSpec) {
			s.Usages = append(s.Usages, certificatesv1.UsageCertSign)
		}, says: `usage "cert sign" is not for serving`},
		"no server": {spec: func(s *certificatesv1.CertificateSigningRequestSpec) { s.Usages = s.Usages[:1] },
			says: `usage "server auth" is missing`},
		"a tail": {spec: func(s *certificatesv1.CertificateSigningRequestSpec) {
			s.Request = append(s.Request, s.Request...)
		}, says: "the request must be one PEM block"},
		"not a request": {spec: func(s *certificatesv1.CertificateSigningRequestSpec) { s.Request = []byte("please") },
			says: "the request must be one PEM block"},
		"another block": {spec: func(s *certificatesv1.CertificateSigningRequestSpec) {
			s.Request = []byte(strings.ReplaceAll(string(s.Request), "CERTIFICATE REQUEST", "CERTIFICATE"))
		}, says: "the request must be one PEM block"},
		"rubbish in the block": {spec: func(s *certificatesv1.CertificateSigningRequestSpec) {
			s.Request = pem.EncodeToMemory(&pem.Block{Type: requestBlock, Bytes: []byte("rubbish")})
		}, says: "the request cannot be read"},
		"somebody else's key": {spec: func(s *certificatesv1.CertificateSigningRequestSpec) {
			block, _ := pem.Decode(s.Request)
			block.Bytes[len(block.Bytes)-1] ^= 1
			s.Request = pem.EncodeToMemory(block)
		}, says: "the request is not signed by its own key"},
	}
}

func TestHostileRequestsAreRefused(t *testing.T) {
	for name, tc := range hostile() {
		t.Run(name, func(t *testing.T) {
			r := template()
			if tc.template != nil {
				tc.template(r)
			}
			spec := specOf(t, r)
			if tc.spec != nil {
				tc.spec(&spec)
			}
			id, err := parse(&spec)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("want %q, got %v, %v", tc.says, err, id)
			}
		})
	}
}

func TestRequesterOf(t *testing.T) {
	for user, want := range map[string]string{
		"system:serviceaccount:liqo-tenant-milan:virtual-kubelet":  "milan",
		"system:serviceaccount:liqo-tenant-:virtual-kubelet":       "",
		"system:serviceaccount:liqo-tenant-milan:default":          "",
		"system:serviceaccount:shop:virtual-kubelet":               "",
		"system:serviceaccount:liqo-tenant-a:b:virtual-kubelet":    "",
		"system:serviceaccount:liqo-tenant-milan:virtual-kubelet2": "",
		"xsystem:serviceaccount:liqo-tenant-milan:virtual-kubelet": "",
		"system:node:milan": "",
		"admin":             "",
		"":                  "",
		"system:serviceaccount:liqo-tenant-milan:x:virtual-kubelet": "",
	} {
		csr := &certificatesv1.CertificateSigningRequest{}
		csr.Spec.Username = user
		provider, ok := requesterOf(csr)
		if !ok {
			provider = ""
		}
		if diff := cmp.Diff(want, provider); diff != "" {
			t.Errorf("%s: -want,+got:\n%s", user, diff)
		}
	}
}

func TestDecided(t *testing.T) {
	with := func(
		kind certificatesv1.RequestConditionType, is corev1.ConditionStatus,
	) *certificatesv1.CertificateSigningRequest {
		return &certificatesv1.CertificateSigningRequest{Status: certificatesv1.CertificateSigningRequestStatus{
			Conditions: []certificatesv1.CertificateSigningRequestCondition{{Type: kind, Status: is}},
		}}
	}
	signed := &certificatesv1.CertificateSigningRequest{}
	signed.Status.Certificate = []byte("x")
	for name, tc := range map[string]struct {
		csr  *certificatesv1.CertificateSigningRequest
		want bool
	}{
		"new":      {&certificatesv1.CertificateSigningRequest{}, false},
		"approved": {with(certificatesv1.CertificateApproved, corev1.ConditionTrue), true},
		"denied":   {with(certificatesv1.CertificateDenied, corev1.ConditionTrue), true},
		"failed":   {with(certificatesv1.CertificateFailed, corev1.ConditionTrue), true},
		"annotated by somebody": {
			with("Reviewed", corev1.ConditionTrue), false,
		},
		"signed": {signed, true},
	} {
		if got := decided(tc.csr); got != tc.want {
			t.Errorf("%s: %t, want %t", name, got, tc.want)
		}
	}
}
