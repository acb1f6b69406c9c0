package serving

import (
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// requesterOf returns the id of the provider whose agent made a request; false when no agent did. The API server
// writes who asks into a request, and nobody can change it.
func requesterOf(csr *certificatesv1.CertificateSigningRequest) (provider string, ok bool) {
	rest, ok := strings.CutPrefix(csr.Spec.Username, "system:serviceaccount:"+v1beta1.TenantNamespacePrefix)
	if !ok {
		return "", false
	}
	provider, ok = strings.CutSuffix(rest, ":"+v1beta1.AgentServiceAccount)
	return provider, ok && provider != "" && !strings.Contains(provider, ":")
}

// decided says whether nothing is left to decide about a request.
func decided(csr *certificatesv1.CertificateSigningRequest) bool {
	return len(csr.Status.Certificate) > 0 ||
		slices.ContainsFunc(csr.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
			return c.Status != corev1.ConditionFalse && (c.Type == certificatesv1.CertificateApproved ||
				c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed)
		})
}

// parse returns what a request asks to prove. Its error is a sentence on what can never be right about it, whatever the
// state of the cluster.
func parse(spec *certificatesv1.CertificateSigningRequestSpec) (identity, error) {
	if err := checkUsages(spec.Usages); err != nil {
		return identity{}, err
	}
	block, rest := pem.Decode(spec.Request)
	if block == nil || block.Type != requestBlock || len(block.Headers) > 0 || strings.TrimSpace(string(rest)) != "" {
		return identity{}, fmt.Errorf("the request must be one PEM block of type %s, and nothing else", requestBlock)
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return identity{}, fmt.Errorf("the request cannot be read: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return identity{}, fmt.Errorf("the request is not signed by its own key: %w", err)
	}
	node, err := subject(request)
	if err != nil {
		return identity{}, err
	}
	return names(request, node)
}

func checkUsages(got []certificatesv1.KeyUsage) error {
	for _, usage := range got {
		if !slices.Contains(usages(), usage) && usage != certificatesv1.UsageKeyEncipherment {
			return fmt.Errorf("usage %q is not for serving", usage)
		}
	}
	for _, usage := range usages() {
		if !slices.Contains(got, usage) {
			return fmt.Errorf("usage %q is missing", usage)
		}
	}
	return nil
}

// subject returns the Node that the subject names; it may name nothing else.
func subject(request *x509.CertificateRequest) (node string, err error) {
	s := request.Subject
	if !slices.Equal(s.Organization, []string{organization}) {
		return "", fmt.Errorf("the organization must be exactly %s, not %q", organization, s.Organization)
	}
	node, ok := strings.CutPrefix(s.CommonName, commonName)
	if !ok || node == "" {
		return "", fmt.Errorf("the common name must be %sNODE, not %q", commonName, s.CommonName)
	}
	if len(s.Names) != 2 { // the two above
		return "", fmt.Errorf("the subject must have a common name and an organization only, not %s", s)
	}
	return node, nil
}

// names returns the DNS names and addresses that a request asks for. Nothing but these may be asked for.
func names(request *x509.CertificateRequest, node string) (identity, error) {
	if err := checkExtensions(request); err != nil {
		return identity{}, err
	}
	id := identity{node: node, dns: request.DNSNames}
	for _, raw := range request.IPAddresses {
		ip, ok := netip.AddrFromSlice(raw)
		if !ok {
			return identity{}, fmt.Errorf("%q is no address", raw)
		}
		id.ips = append(id.ips, ip.Unmap())
	}
	if len(id.dns)+len(id.ips) == 0 {
		return identity{}, errors.New("the request names no address")
	}
	return id.sorted(), nil
}

// Tags of the names in a subjectAltName that a Node may have.
const (
	tagDNS = 2
	tagIP  = 7
)

// checkExtensions looks at the extensions themselves: a parser passes over what it does not know.
func checkExtensions(request *x509.CertificateRequest) error {
	subjectAltName := asn1.ObjectIdentifier{2, 5, 29, 17}
	for i, extension := range request.Extensions {
		if !extension.Id.Equal(subjectAltName) || i > 0 {
			return fmt.Errorf("extension %s may not be requested", extension.Id)
		}
		var list asn1.RawValue
		if rest, err := asn1.Unmarshal(extension.Value, &list); err != nil || len(rest) > 0 {
			return errors.New("the subjectAltName cannot be read")
		}
		for rest := list.Bytes; len(rest) > 0; {
			var name asn1.RawValue
			var err error
			if rest, err = asn1.Unmarshal(rest, &name); err != nil {
				return fmt.Errorf("the subjectAltName cannot be read: %w", err)
			}
			if name.Class != asn1.ClassContextSpecific || name.Tag != tagDNS && name.Tag != tagIP {
				return errors.New("a node has DNS names and addresses only")
			}
		}
	}
	return nil
}
