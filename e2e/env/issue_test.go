package env

import (
	"crypto/x509"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWhatATestAddsToAClusterIsKnownToIt(t *testing.T) {
	c := planned(t, 1)
	path, key, err := c.Issue("system:node:metal", []string{"system:nodes"}, []string{"10.1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	cert := certificate(t, path)
	if diff := cmp.Diff([]string{"system:nodes"}, cert.Subject.Organization); diff != "" ||
		cert.Subject.CommonName != "system:node:metal" {
		t.Errorf("it is %s (-want,+got)\n%s", cert.Subject, diff)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate(t, c.cert(certCA)))
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		options := x509.VerifyOptions{
			DNSName: "10.1.2.3", Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage},
			CurrentTime: c.env.opts.Clock.Now(),
		}
		if _, err := cert.Verify(options); err != nil {
			t.Errorf("as %v: %v", usage, err)
		}
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
	elsewhere := x509.NewCertPool()
	elsewhere.AddCert(certificate(t, planned(t, 2).cert(certCA)))
	if _, err := cert.Verify(x509.VerifyOptions{DNSName: "10.1.2.3", Roots: elsewhere}); err == nil {
		t.Error("another cluster believes it too")
	}
}

func TestAClusterWithoutItsAuthoritySaysSo(t *testing.T) {
	c := planned(t, 1)
	if err := os.Remove(c.key(certCA)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Issue("somebody", nil, nil); err == nil || !strings.Contains(err.Error(), "read authority ca") {
		t.Errorf("error is %v", err)
	}
}
