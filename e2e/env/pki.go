package env

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"path/filepath"
	"time"
)

// pki makes the keys and certificates of one cluster in a folder: NAME.crt and NAME.key.
type pki struct {
	dir string
	now time.Time
}

// authority is a certificate authority.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// leaf is what a certificate is for. Every one serves and identifies: they never leave the machine.
type leaf struct {
	name   string // of the files, and the user
	groups []string
	hosts  []string
}

const (
	certificateLife = 10 * 365 * 24 * time.Hour
	// clockSkew lets a certificate be valid at once on a machine whose clock is being set.
	clockSkew = time.Hour
)

func (p pki) path(file string) string { return filepath.Join(p.dir, file) }

// authority makes a self-signed authority.
func (p pki) authority(name string) (*authority, error) {
	key, err := p.key(name)
	if err != nil {
		return nil, err
	}
	template := p.template(pkix.Name{CommonName: name})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	cert, err := p.sign(name, template, &authority{template, key}, key.Public())
	if err != nil {
		return nil, err
	}
	return &authority{cert, key}, nil
}

// issue makes a certificate that the authority signs.
func (p pki) issue(ca *authority, l leaf) error {
	key, err := p.key(l.name)
	if err != nil {
		return err
	}
	template := p.template(pkix.Name{CommonName: l.name, Organization: l.groups})
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	for _, host := range l.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	_, err = p.sign(l.name, template, ca, key.Public())
	return err
}

// key makes a private key.
func (p pki) key(name string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of %s: %w", name, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make key of %s: %w", name, err)
	}
	return key, p.write(name+".key", "PRIVATE KEY", der)
}

// publicKey writes the public half of a key.
func (p pki) publicKey(name string, key crypto.Signer) error {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("make public key of %s: %w", name, err)
	}
	return p.write(name+".pub", "PUBLIC KEY", der)
}

func (p pki) template(subject pkix.Name) *x509.Certificate {
	return &x509.Certificate{
		Subject:   subject,
		NotBefore: p.now.Add(-clockSkew),
		NotAfter:  p.now.Add(certificateLife),
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

func (p pki) sign(name string, template *x509.Certificate, by *authority, key any) (*x509.Certificate, error) {
	const serialBits = 120
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), serialBits))
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", name, err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, key, by.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of %s: %w", name, err)
	}
	if err := p.write(name+".crt", "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func (p pki) write(file, block string, der []byte) error {
	return writeFile(p.path(file), pem.EncodeToMemory(&pem.Block{Type: block, Bytes: der}))
}
