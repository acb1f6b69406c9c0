package serving

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"
)

// pairOf returns what was issued for a request, ready to be served, if it is what was asked for.
func pairOf(chain []byte, a *asked, now time.Time) (*tls.Certificate, error) {
	pair := &tls.Certificate{PrivateKey: a.key}
	for rest := chain; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			pair.Certificate = append(pair.Certificate, block.Bytes)
		}
	}
	if len(pair.Certificate) == 0 {
		return nil, errors.New("the authority has issued no certificate")
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	if now.After(leaf.NotAfter) {
		return nil, errors.New("the certificate has expired")
	}
	pair.Leaf = leaf
	return pair, a.answeredBy(leaf)
}

// answeredBy returns an error if a certificate is not what was asked for.
func (a *asked) answeredBy(leaf *x509.Certificate) error {
	ours, err := x509.MarshalPKIXPublicKey(a.key.Public())
	if err != nil {
		return fmt.Errorf("read our own key: %w", err)
	}
	if !bytes.Equal(leaf.RawSubjectPublicKeyInfo, ours) {
		return errors.New("the certificate is for another key")
	}
	hosts := slices.Clone(a.id.dns)
	for _, ip := range a.id.ips {
		hosts = append(hosts, ip.String())
	}
	for _, host := range hosts {
		if err := leaf.VerifyHostname(host); err != nil {
			return fmt.Errorf("the certificate is not what was asked for: %w", err)
		}
	}
	return nil
}
