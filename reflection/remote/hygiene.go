package remote

import (
	"crypto/tls"
	"crypto/x509"
	"net/url"
	"strings"

	"k8s.io/client-go/tools/clientcmd/api"
)

// Reasons of a [KubeconfigError].
const (
	// ReasonInsecureKubeconfig: the kubeconfig asks for something that is unsafe to do for others.
	ReasonInsecureKubeconfig = "InsecureKubeconfig"
	// ReasonInvalidKubeconfig: the kubeconfig is broken or incomplete.
	ReasonInvalidKubeconfig = "InvalidKubeconfig"
)

// KubeconfigError says in one sentence why a kubeconfig is refused.
type KubeconfigError struct {
	// Reason is ReasonInsecureKubeconfig or ReasonInvalidKubeconfig.
	Reason string
	// Message is the sentence; it quotes no secret.
	Message string
}

// Error returns the sentence.
func (e *KubeconfigError) Error() string { return e.Message }

func insecure(message string) error { return &KubeconfigError{ReasonInsecureKubeconfig, message} }
func invalid(message string) error  { return &KubeconfigError{ReasonInvalidKubeconfig, message} }

// refusal is something that a kubeconfig may not contain.
type refusal struct {
	present bool
	message string
}

func first(refusals []refusal) error {
	for _, r := range refusals {
		if r.present {
			return insecure(r.message)
		}
	}
	return nil
}

func plainCluster(c *api.Cluster) error {
	return first([]refusal{
		{c.InsecureSkipTLSVerify, "insecure-skip-tls-verify is not allowed; give certificate-authority-data"},
		{c.CertificateAuthority != "", "certificate-authority paths are not allowed; use certificate-authority-data"},
		{c.ProxyURL != "", "proxy-url is not allowed; it would send the credential through a third party"},
	})
}

func plainUser(u *api.AuthInfo) error {
	return first([]refusal{
		{u.Exec != nil, "exec plugins are not allowed; use a token or a client certificate"},
		{u.AuthProvider != nil, "auth-provider plugins are not allowed; use a token or a client certificate"},
		{u.TokenFile != "", "tokenFile is not allowed; use token"},
		{u.ClientCertificate != "", "client-certificate file paths are not allowed; use client-certificate-data"},
		{u.ClientKey != "", "client-key file paths are not allowed; use client-key-data"},
		{u.Username != "" || u.Password != "", "basic authentication is not allowed; use a token"},
		{impersonates(u), "impersonation (act-as) is not allowed; use a credential of the identity itself"},
	})
}

func impersonates(u *api.AuthInfo) bool {
	return u.Impersonate != "" || u.ImpersonateUID != "" ||
		len(u.ImpersonateGroups) > 0 || len(u.ImpersonateUserExtra) > 0
}

func address(server string) error {
	if server == "" {
		return invalid("the kubeconfig has no server address")
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" {
		return invalid("the server address is not a URL like https://host:port")
	}
	if u.Scheme != "https" {
		return insecure("the server address must begin with https://, or the credential would travel in the clear")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return insecure("the server address must not hold a user, a query or a fragment")
	}
	return nil
}

func authority(pem []byte) error {
	if len(pem) == 0 {
		return insecure("certificate-authority-data is missing; it pins whom the credential may be shown to")
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return invalid("certificate-authority-data holds no PEM certificate")
	}
	return nil
}

func identity(u *api.AuthInfo) error {
	certificate, key := len(u.ClientCertificateData) > 0, len(u.ClientKeyData) > 0
	switch {
	case u.Token == "" && !certificate && !key:
		return invalid("the user has neither a token nor a client certificate")
	case strings.ContainsAny(u.Token, " \t\r\n"):
		return invalid("the token contains white space")
	case certificate != key:
		return invalid("client-certificate-data and client-key-data must be given together")
	case !certificate:
		return nil
	}
	if _, err := tls.X509KeyPair(u.ClientCertificateData, u.ClientKeyData); err != nil {
		return invalid("client-certificate-data and client-key-data are not a pair of PEM certificate and key")
	}
	return nil
}
