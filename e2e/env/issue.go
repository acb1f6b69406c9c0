package env

import (
	"crypto"
	"crypto/tls"
	"fmt"
)

// Issue makes a certificate of the cluster's own authority for what a test adds to the cluster, a node say. It serves
// for the hosts and identifies the user of that name. The results are the paths of the certificate and of its key.
func (c *Cluster) Issue(user string, groups, hosts []string) (cert, key string, err error) {
	p := pki{dir: c.path("pki"), now: c.env.opts.Clock.Now()}
	ca, err := p.load(certCA)
	if err != nil {
		return "", "", err
	}
	if err := p.issue(ca, leaf{name: user, groups: groups, hosts: hosts}); err != nil {
		return "", "", err
	}
	return c.cert(user), c.key(user), nil
}

// load reads an authority that was made before.
func (p pki) load(name string) (*authority, error) {
	pair, err := tls.LoadX509KeyPair(p.path(name+".crt"), p.path(name+".key"))
	if err != nil {
		return nil, fmt.Errorf("read authority %s: %w", name, err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read authority %s: a %T signs nothing", name, pair.PrivateKey)
	}
	return &authority{pair.Leaf, key}, nil
}
