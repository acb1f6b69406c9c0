package env

import (
	"context"
	"fmt"
	"os"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"
)

// Names of certificates; those of people and components are their user names.
const (
	certCA           = "ca"
	certFrontProxyCA = "front-proxy-ca"
	certFrontProxy   = "front-proxy-client"
	certServing      = "serving" // of every server on loopback
	certEtcdClient   = "etcd-client"
	certKubelet      = "kube-apiserver-kubelet-client"
	certAdmin        = "admin"
	keyTokens        = "service-account"

	userManager   = "system:kube-controller-manager"
	userScheduler = "system:kube-scheduler"
	userKwok      = "kwok"

	// pluginKubeconfig is what the home scheduler schedules with: our plugin is in it, so it is one of ours.
	pluginKubeconfig = Scheduler + "-link" + suffixKubeconfig
)

// credentials makes everything that identifies the cluster's parts to each other.
func (c *Cluster) credentials() error {
	p := pki{dir: c.path("pki"), now: c.env.opts.Clock.Now()}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("make directory: %w", err)
	}
	ca, err := p.authority(certCA)
	if err != nil {
		return err
	}
	front, err := p.authority(certFrontProxyCA)
	if err != nil {
		return err
	}
	tokens, err := p.key(keyTokens)
	if err != nil {
		return err
	}
	if err := p.publicKey(keyTokens, tokens); err != nil {
		return err
	}
	if err := p.issue(front, leaf{name: certFrontProxy}); err != nil {
		return err
	}
	for _, l := range []leaf{
		{name: certServing, hosts: []string{
			loopback, "localhost", firstService(c.services).String(),
			"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
		}},
		{name: certEtcdClient},
		{name: certKubelet},
		{name: certAdmin, groups: []string{"system:masters"}},
		{name: userManager},
		{name: userScheduler},
		{name: userKwok},
	} {
		if err := p.issue(ca, l); err != nil {
			return err
		}
	}
	return c.kubeconfigs()
}

// kubeconfigs writes one for each certificate that is a user, under the user's name, and the human's.
func (c *Cluster) kubeconfigs() error {
	files := map[string]string{
		certAdmin:     c.Kubeconfig,
		userManager:   c.path(ControllerManager + ".kubeconfig"),
		userScheduler: c.path(Scheduler + ".kubeconfig"),
		userKwok:      c.path(Kwok + ".kubeconfig"),
	}
	for user, file := range files {
		cert, err := os.ReadFile(c.path("pki", user+".crt"))
		if err != nil {
			return fmt.Errorf("write kubeconfig of %s: %w", user, err)
		}
		key, err := os.ReadFile(c.path("pki", user+".key"))
		if err != nil {
			return fmt.Errorf("write kubeconfig of %s: %w", user, err)
		}
		auth := &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
		if err := c.writeKubeconfig(file, c.Server(), user, auth); err != nil {
			return err
		}
		if user != userScheduler || c.index > 0 {
			continue
		}
		if err := c.writeKubeconfig(c.path(pluginKubeconfig), c.ProxiedServer(), user, auth); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) writeKubeconfig(file, server, user string, auth *clientcmdapi.AuthInfo) error {
	ca, err := os.ReadFile(c.path("pki", certCA+".crt"))
	if err != nil {
		return fmt.Errorf("write kubeconfig of %s: %w", user, err)
	}
	cfg := clientcmdapi.NewConfig()
	cfg.Clusters[c.Name] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	cfg.AuthInfos[user] = auth
	cfg.Contexts[c.Name] = &clientcmdapi.Context{Cluster: c.Name, AuthInfo: user}
	cfg.CurrentContext = c.Name
	raw, err := clientcmd.Write(*cfg)
	if err != nil {
		return fmt.Errorf("write kubeconfig of %s: %w", user, err)
	}
	return writeFile(file, raw)
}

// tokenSeconds is how long a component of ours may run on one token: longer than people leave a playground alone.
const tokenSeconds = 7 * 24 * 3600

// token asks for a token of a ServiceAccount.
func (c *Cluster) token(ctx context.Context, namespace, account string) (string, error) {
	request := &authenticationv1.TokenRequest{
		Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: ptr.To[int64](tokenSeconds)},
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}}
	if err := c.client.SubResource("token").Create(ctx, sa, request); err != nil {
		return "", fmt.Errorf("get token of %s/%s: %w", namespace, account, err)
	}
	return request.Status.Token, nil
}

// ConfigFor returns the configuration of a client that acts as the ServiceAccount.
func (c *Cluster) ConfigFor(ctx context.Context, namespace, account string) (*rest.Config, error) {
	token, err := c.token(ctx, namespace, account)
	if err != nil {
		return nil, err
	}
	cfg := rest.AnonymousClientConfig(c.config)
	cfg.BearerToken = token
	return cfg, nil
}

// WriteKubeconfigFor writes a kubeconfig that acts as the ServiceAccount.
func (c *Cluster) WriteKubeconfigFor(ctx context.Context, namespace, account, file string) error {
	token, err := c.token(ctx, namespace, account)
	if err != nil {
		return err
	}
	return c.writeKubeconfig(file, c.Server(), account, &clientcmdapi.AuthInfo{Token: token})
}

// writeOurKubeconfig writes the kubeconfig of a component of ours, which reaches home through its link.
func (c *Cluster) writeOurKubeconfig(ctx context.Context, namespace, account, component string) error {
	token, err := c.token(ctx, namespace, account)
	if err != nil {
		return err
	}
	file := c.path(component + suffixKubeconfig)
	return c.writeKubeconfig(file, c.ProxiedServer(), account, &clientcmdapi.AuthInfo{Token: token})
}
