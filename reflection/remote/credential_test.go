package remote

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// kubeconfig returns a good kubeconfig with a change.
func kubeconfig(t *testing.T, change func(*api.Cluster, *api.AuthInfo)) []byte {
	t.Helper()
	certificate, _ := certificate(t, time.Now().Add(time.Hour))
	cfg := api.NewConfig()
	cluster := &api.Cluster{Server: "https://provider.example:6443", CertificateAuthorityData: certificate}
	user := &api.AuthInfo{Token: "canary-token"}
	change(cluster, user)
	cfg.Clusters["c"], cfg.AuthInfos["u"] = cluster, user
	cfg.Contexts["x"] = &api.Context{Cluster: "c", AuthInfo: "u", Namespace: "liqo-tenant-home"}
	cfg.CurrentContext = "x"
	out, err := clientcmd.Write(*cfg)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestParseRefuses(t *testing.T) {
	certificate, key := certificate(t, time.Now().Add(time.Hour))
	for name, tc := range map[string]struct {
		change     func(*api.Cluster, *api.AuthInfo)
		wantReason string
		want       string
	}{
		"a server that is not verified": {
			func(c *api.Cluster, _ *api.AuthInfo) {
				c.InsecureSkipTLSVerify, c.CertificateAuthorityData = true, nil
			},
			ReasonInsecureKubeconfig, "insecure-skip-tls-verify is not allowed",
		},
		"a CA in a file": {
			func(c *api.Cluster, _ *api.AuthInfo) { c.CertificateAuthority = "/etc/ca.crt" },
			ReasonInsecureKubeconfig, "certificate-authority paths are not allowed",
		},
		"a proxy": {
			func(c *api.Cluster, _ *api.AuthInfo) { c.ProxyURL = "http://evil.example" },
			ReasonInsecureKubeconfig, "proxy-url is not allowed",
		},
		"a plugin to execute": {
			func(_ *api.Cluster, u *api.AuthInfo) {
				u.Exec = &api.ExecConfig{Command: "aws", APIVersion: "client.authentication.k8s.io/v1"}
				u.Exec.InteractiveMode = api.NeverExecInteractiveMode
			},
			ReasonInsecureKubeconfig, "exec plugins are not allowed",
		},
		"an auth provider": {
			func(_ *api.Cluster, u *api.AuthInfo) { u.AuthProvider = &api.AuthProviderConfig{Name: "gcp"} },
			ReasonInsecureKubeconfig, "auth-provider plugins are not allowed",
		},
		"a token in a file": {
			func(_ *api.Cluster, u *api.AuthInfo) { u.TokenFile = "/var/run/token" },
			ReasonInsecureKubeconfig, "tokenFile is not allowed",
		},
		"a client certificate in a file": {
			func(_ *api.Cluster, u *api.AuthInfo) { u.ClientCertificate = "/c.crt" },
			ReasonInsecureKubeconfig, "client-certificate file paths are not allowed",
		},
		"a client key in a file": {
			func(_ *api.Cluster, u *api.AuthInfo) { u.ClientKey = "/c.key" },
			ReasonInsecureKubeconfig, "client-key file paths are not allowed",
		},
		"basic authentication": {
			func(_ *api.Cluster, u *api.AuthInfo) { u.Username, u.Password = "admin", "canary" },
			ReasonInsecureKubeconfig, "basic authentication is not allowed",
		},
		"impersonation of a user": {
			func(_ *api.Cluster, u *api.AuthInfo) { u.Impersonate = "root" },
			ReasonInsecureKubeconfig, "impersonation (act-as) is not allowed",
		},
		"impersonation of a group": {
			func(_ *api.Cluster, u *api.AuthInfo) {
				u.Impersonate, u.ImpersonateGroups = "a", []string{"system:masters"}
			},
			ReasonInsecureKubeconfig, "impersonation (act-as) is not allowed",
		},
		"http": {
			func(c *api.Cluster, _ *api.AuthInfo) { c.Server = "http://provider.example" },
			ReasonInsecureKubeconfig, "must begin with https://",
		},
		"a password in the address": {
			func(c *api.Cluster, _ *api.AuthInfo) { c.Server = "https://a:canary@provider.example" },
			ReasonInsecureKubeconfig, "must not hold a user",
		},
		"no server": {
			func(c *api.Cluster, _ *api.AuthInfo) { c.Server = "" },
			ReasonInvalidKubeconfig, "no server address",
		},
		"a server without scheme": {
			func(c *api.Cluster, _ *api.AuthInfo) { c.Server = "provider.example" },
			ReasonInvalidKubeconfig, "not a URL like https://host:port",
		},
		"no CA": {
			func(c *api.Cluster, _ *api.AuthInfo) { c.CertificateAuthorityData = nil },
			ReasonInsecureKubeconfig, "certificate-authority-data is missing",
		},
		"a CA that is no certificate": {
			func(c *api.Cluster, _ *api.AuthInfo) { c.CertificateAuthorityData = []byte("hello") },
			ReasonInvalidKubeconfig, "holds no PEM certificate",
		},
		"no credential at all": {
			func(_ *api.Cluster, u *api.AuthInfo) { u.Token = "" },
			ReasonInvalidKubeconfig, "neither a token nor a client certificate",
		},
		"a token with a newline": {
			func(_ *api.Cluster, u *api.AuthInfo) { u.Token = "canary\n" },
			ReasonInvalidKubeconfig, "the token contains white space",
		},
		"a certificate without key": {
			func(_ *api.Cluster, u *api.AuthInfo) { u.ClientCertificateData = certificate },
			ReasonInvalidKubeconfig, "must be given together",
		},
		"a key that is not the certificate's": {
			func(_ *api.Cluster, u *api.AuthInfo) {
				u.ClientCertificateData, u.ClientKeyData = certificate, key[:40]
			},
			ReasonInvalidKubeconfig, "not a pair of PEM certificate and key",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(kubeconfig(t, tc.change))
			var refused *KubeconfigError
			if !errors.As(err, &refused) {
				t.Fatalf("want a KubeconfigError, got %v", err)
			}
			if refused.Reason != tc.wantReason {
				t.Errorf("want reason %s, got %s", tc.wantReason, refused.Reason)
			}
			if !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("want a sentence with %q and no secret, got %q", tc.want, err)
			}
		})
	}
}

func TestParseRefusesWhatIsNoKubeconfig(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"broken YAML":     {"a: [canary", "this is not a kubeconfig"},
		"another kind":    {"apiVersion: v1\nkind: Secret\n", "this is not a kubeconfig"},
		"empty":           {"", "no current-context"},
		"unknown context": {"apiVersion: v1\nkind: Config\ncurrent-context: zz\n", `no context "zz"`},
		"context of nothing": {
			"apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n",
			`no cluster "c"`,
		},
		"context of nobody": {
			"apiVersion: v1\nkind: Config\ncurrent-context: a\n" +
				"contexts: [{name: a, context: {cluster: c, user: u}}]\n" +
				"clusters: [{name: c, cluster: {server: https://x}}]\n",
			`no user "u"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(tc.text))
			var refused *KubeconfigError
			if !errors.As(err, &refused) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("want a KubeconfigError with %q, got %v", tc.want, err)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("the error quotes the input: %v", err)
			}
		})
	}
}

func TestCredentialSurvivesRendering(t *testing.T) {
	certificate, key := certificate(t, time.Now().Add(time.Hour))
	for name, change := range map[string]func(*api.Cluster, *api.AuthInfo){
		"with a token":       func(*api.Cluster, *api.AuthInfo) {},
		"with a server name": func(c *api.Cluster, _ *api.AuthInfo) { c.TLSServerName = "kubernetes" },
		"with a certificate": func(_ *api.Cluster, u *api.AuthInfo) {
			u.Token, u.ClientCertificateData, u.ClientKeyData = "", certificate, key
		},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := Parse(kubeconfig(t, change))
			if err != nil {
				t.Fatal(err)
			}
			if want.Namespace != "liqo-tenant-home" {
				t.Errorf("namespace lost: %q", want.Namespace)
			}
			text, err := want.Kubeconfig()
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestCredentialIsNeverPrinted(t *testing.T) {
	c := Credential{Server: "https://p", Token: "canary", ClientKey: []byte("canary")}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if got := fmt.Sprintf(verb, c); got != "credential for https://p" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if got := c.MarshalLog(); got != "credential for https://p" {
		t.Errorf("logs print %q", got)
	}
}
