package serving

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
)

const (
	// commonName comes before a Node's name in the subject of its certificate, organization goes with it.
	commonName   = "system:node:"
	organization = "system:nodes"
	// requestBlock is the type of the PEM block of a request.
	requestBlock = "CERTIFICATE REQUEST"
)

// usages are what a serving certificate with an elliptic key is for.
func usages() []certificatesv1.KeyUsage {
	return []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth}
}

// identity is what a Node's certificate proves. Both lists are sorted.
type identity struct {
	node string
	dns  []string
	ips  []netip.Addr
}

// identityOf returns what the certificate of a Node may prove: the addresses that its status has, and of names its own.
func identityOf(node *corev1.Node) identity {
	id := identity{node: node.Name}
	for _, a := range node.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			id.ips = append(id.ips, ip.Unmap())
		} else if a.Address == node.Name {
			id.dns = append(id.dns, a.Address)
		}
	}
	return id.sorted()
}

func (id identity) sorted() identity {
	slices.Sort(id.dns)
	slices.SortFunc(id.ips, netip.Addr.Compare)
	id.dns, id.ips = slices.Compact(id.dns), slices.Compact(id.ips)
	return id
}

func (id identity) equal(other identity) bool {
	return id.node == other.node && slices.Equal(id.dns, other.dns) && slices.Equal(id.ips, other.ips)
}

// request makes a new key, and the request for its certificate.
func (id identity) request() (crypto.Signer, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make the key of a serving certificate: %w", err)
	}
	template := &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: commonName + id.node, Organization: []string{organization}},
		DNSNames: id.dns,
	}
	for _, ip := range id.ips {
		template.IPAddresses = append(template.IPAddresses, net.IP(ip.AsSlice()))
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make the request for a serving certificate: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: requestBlock, Bytes: der}), nil
}
