package provider

import (
	"crypto/tls"
	"sync/atomic"
	"testing"

	certutil "k8s.io/client-go/util/cert"
)

func TestAnIssuedCertificateIsServedFromThenOn(t *testing.T) {
	chain, key, err := certutil.GenerateSelfSignedCertKey("issued.example", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	var issued atomic.Pointer[tls.Certificate]
	var asked atomic.Value
	address := serveTLS(t, &Server{
		Pods: NewPods(PodsOptions{}), Auth: (&static{}).auth(),
		Issued: func(hello *tls.ClientHelloInfo) *tls.Certificate {
			asked.Store(hello.ServerName)
			return issued.Load()
		},
	})
	serves := func(host string) bool {
		conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: "vn-1"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].VerifyHostname(host) == nil
	}
	if !serves("127.0.0.1") {
		t.Error("before, it is not a self-signed one for the address")
	}
	issued.Store(&pair)
	if !serves("issued.example") {
		t.Error("the issued certificate is not served")
	}
	if asked.Load() != "vn-1" {
		t.Errorf("asked for %v, want the name that the client says", asked.Load())
	}
}
