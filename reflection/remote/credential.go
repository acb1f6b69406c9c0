package remote

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Credential is what it takes to talk to one cluster, and nothing else. It does not show its secrets when printed.
type Credential struct {
	// Server is the https URL of the API server.
	Server string
	// ServerName is the name that the server's certificate must have; empty means the one in Server.
	ServerName string
	// CA holds the PEM certificates of the authorities that may have signed the server's.
	CA []byte
	// Token is the bearer token, when there is one.
	Token string `json:"-"`
	// ClientCertificate is the PEM client certificate, when there is one.
	ClientCertificate []byte
	// ClientKey is the PEM key of ClientCertificate.
	ClientKey []byte `json:"-"`
	// Namespace is where requests go that name none.
	Namespace string
}

// Parse reads the credential of a kubeconfig's current context. It returns a [*KubeconfigError] when the text is no
// kubeconfig, or asks for anything that is not plain data (SEC-14).
func Parse(kubeconfig []byte) (Credential, error) {
	cfg, err := clientcmd.Load(kubeconfig)
	if err != nil {
		// The error may quote the text, which holds secrets.
		return Credential{}, invalid("this is not a kubeconfig: it cannot be read as YAML of kind Config")
	}
	return FromConfig(cfg)
}

// FromConfig is [Parse] for a kubeconfig that is read already, for example with another context made current.
func FromConfig(cfg *api.Config) (Credential, error) {
	context, cluster, user, err := current(cfg)
	if err != nil {
		return Credential{}, err
	}
	for _, check := range []func() error{
		func() error { return plainCluster(cluster) },
		func() error { return plainUser(user) },
		func() error { return address(cluster.Server) },
		func() error { return authority(cluster.CertificateAuthorityData) },
		func() error { return identity(user) },
	} {
		if err := check(); err != nil {
			return Credential{}, err
		}
	}
	return Credential{
		Server:            cluster.Server,
		ServerName:        cluster.TLSServerName,
		CA:                cluster.CertificateAuthorityData,
		Token:             user.Token,
		ClientCertificate: user.ClientCertificateData,
		ClientKey:         user.ClientKeyData,
		Namespace:         context.Namespace,
	}, nil
}

func current(cfg *api.Config) (*api.Context, *api.Cluster, *api.AuthInfo, error) {
	if cfg.CurrentContext == "" {
		return nil, nil, nil, invalid("the kubeconfig has no current-context")
	}
	context := cfg.Contexts[cfg.CurrentContext]
	if context == nil {
		return nil, nil, nil, invalid(fmt.Sprintf("the kubeconfig has no context %q", cfg.CurrentContext))
	}
	cluster := cfg.Clusters[context.Cluster]
	if cluster == nil {
		return nil, nil, nil, invalid(fmt.Sprintf("the kubeconfig has no cluster %q", context.Cluster))
	}
	user := cfg.AuthInfos[context.AuthInfo]
	if user == nil {
		return nil, nil, nil, invalid(fmt.Sprintf("the kubeconfig has no user %q", context.AuthInfo))
	}
	return context, cluster, user, nil
}

// entry is the name of everything in a rendered kubeconfig.
const entry = "provider"

// Kubeconfig returns the credential as a kubeconfig that [Parse] reads back.
func (c Credential) Kubeconfig() ([]byte, error) {
	cfg := api.NewConfig()
	cfg.Clusters[entry] = &api.Cluster{
		Server: c.Server, TLSServerName: c.ServerName, CertificateAuthorityData: c.CA,
	}
	cfg.AuthInfos[entry] = &api.AuthInfo{
		Token: c.Token, ClientCertificateData: c.ClientCertificate, ClientKeyData: c.ClientKey,
	}
	cfg.Contexts[entry] = &api.Context{Cluster: entry, AuthInfo: entry, Namespace: c.Namespace}
	cfg.CurrentContext = entry
	out, err := clientcmd.Write(*cfg)
	if err != nil {
		return nil, fmt.Errorf("render kubeconfig: %w", err)
	}
	return out, nil
}

// String names the server only.
func (c Credential) String() string { return "credential for " + c.Server }

// GoString is String, so that no verb of fmt shows a secret.
func (c Credential) GoString() string { return c.String() }

// MarshalLog is String for structured logs.
func (c Credential) MarshalLog() any { return c.String() }
