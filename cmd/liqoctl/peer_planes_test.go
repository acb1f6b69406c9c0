package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// printedIsApplied creates a namespace's offloading from what is printed, offloads another with the command, and
// compares the objects.
func printedIsApplied(t *testing.T, home *env.Cluster) {
	c := home.Client()
	for name, flags := range map[string][]string{
		"default": nil,
		"chosen": {
			"--pod-offloading-strategy", "Remote", "--namespace-mapping-strategy", "SelectedName",
			"--remote-namespace-name", "boutique", "-l", "a=b,c=d", "-l", "e=f",
		},
	} {
		for _, format := range []string{"yaml", "json"} {
			t.Run(name+" "+format, func(t *testing.T) {
				from, by := name+"-"+format+"-printed", name+"-"+format+"-applied"
				var off [2]v1beta1.NamespaceOffloading
				for n, ns := range []string{from, by} {
					if err := c.Create(t.Context(), build.Namespace(ns).Obj()); err != nil {
						t.Fatal(err)
					}
					args := append([]string{"--kubeconfig", home.Kubeconfig, "offload", "namespace", ns}, flags...)
					if ns == by {
						real(t.Context(), append(args, "--timeout", "1ms")...) // nobody processes it here
					} else if code, out, errOut := real(t.Context(), append(args, "-o", format)...); code != exitDone {
						t.Fatalf("exit code %d: %s", code, errOut)
					} else if err := yaml.UnmarshalStrict([]byte(out), &off[n]); err != nil {
						t.Fatal(err)
					} else if err := c.Create(t.Context(), &off[n]); err != nil {
						t.Fatal(err)
					}
					key := client.ObjectKey{Namespace: ns, Name: v1beta1.OffloadingName}
					if err := c.Get(t.Context(), key, &off[n]); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(off[0].Spec, off[1].Spec); diff != "" {
					t.Errorf("(-printed,+applied):\n%s", diff)
				}
				if diff := cmp.Diff(off[0].Annotations, off[1].Annotations); diff != "" {
					t.Errorf("(-printed,+applied):\n%s", diff)
				}
			})
		}
	}
}

// TestKubeconfigsOfAProvider: files and plugins that an admin's kubeconfig names stay on the admin's machine.
func TestKubeconfigsOfAProvider(t *testing.T) {
	planes := env.Planes(t, 2)
	home, away := planes[0], planes[1]
	if err := home.Apply(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	token := adminToken(t, away)
	write := func(name string, text []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	credential, err := json.Marshal(map[string]any{
		"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
		"status": map[string]string{"token": token},
	})
	if err != nil {
		t.Fatal(err)
	}
	plugin := &api.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: "cat",
		Args:            []string{write("credential.json", credential)},
		InteractiveMode: api.NeverExecInteractiveMode,
	}
	type provider struct {
		name   string
		change func(*api.Cluster, *api.AuthInfo)
		want   string // "" when peering succeeds
	}
	// Those that are refused come first, while there is no peering to bring up to date.
	for _, test := range []provider{
		{
			name: "insecure",
			change: func(c *api.Cluster, _ *api.AuthInfo) {
				c.CertificateAuthorityData, c.InsecureSkipTLSVerify = nil, true
			},
			want: "error: provider: insecure-skip-tls-verify is not allowed for a provider",
		},
		{
			name:   "a proxy",
			change: func(c *api.Cluster, _ *api.AuthInfo) { c.ProxyURL = "http://127.0.0.1:1" },
			want:   "error: provider: proxy-url is not allowed for a provider",
		},
		{
			name:   "plain text",
			change: func(c *api.Cluster, _ *api.AuthInfo) { c.Server = "http://127.0.0.1:1" },
			want:   "must begin with https://",
		},
		{
			name:   "an expired certificate",
			change: func(_ *api.Cluster, u *api.AuthInfo) { *u = expired(t) },
			want:   "error: provider: read kubeconfig",
		},
		{name: "file paths", change: func(c *api.Cluster, u *api.AuthInfo) {
			c.CertificateAuthority = write("ca.crt", c.CertificateAuthorityData)
			u.ClientCertificate, u.ClientKey = write("c.crt", u.ClientCertificateData), write("c.key", u.ClientKeyData)
			c.CertificateAuthorityData, u.ClientCertificateData, u.ClientKeyData = nil, nil, nil
		}},
		{name: "a token in a file", change: func(_ *api.Cluster, u *api.AuthInfo) {
			*u = api.AuthInfo{TokenFile: write("token", []byte(token))}
		}},
		{name: "an exec plugin", change: func(_ *api.Cluster, u *api.AuthInfo) { *u = api.AuthInfo{Exec: plugin} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			config, err := clientcmd.LoadFromFile(away.Kubeconfig)
			if err != nil {
				t.Fatal(err)
			}
			current := config.Contexts[config.CurrentContext]
			test.change(config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo])
			file := filepath.Join(t.TempDir(), "kubeconfig")
			if err := clientcmd.WriteToFile(*config, file); err != nil {
				t.Fatal(err)
			}
			code, _, errOut := real(t.Context(), "--kubeconfig", home.Kubeconfig, "peer", "--remote-kubeconfig", file,
				"--cluster-id", "consumer", "--remote-cluster-id", "provider-1")
			stored, found := secretOf(t, home)
			if test.want != "" {
				line := strings.Count(errOut, "\n") == 1 && strings.Contains(errOut, test.want)
				if code != exitFailed || !line || found {
					t.Errorf("exit code %d, a Secret: %v: %s", code, found, errOut)
				}
				return
			}
			if code != exitDone || !found {
				t.Fatalf("exit code %d: %s", code, errOut)
			}
			for _, no := range []string{dir, token, "exec", "tokenFile", "client-key"} {
				if strings.Contains(stored, no) {
					t.Errorf("the agent gets %q", no)
				}
			}
			if !strings.Contains(stored, "certificate-authority-data: ") {
				t.Error("the agent does not get the certificate authority")
			}
		})
	}
}

// adminToken returns a token of an administrator.
func adminToken(t *testing.T, c *env.Cluster) string {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: metav1.NamespaceDefault, Name: "admin"}
	for _, o := range []client.Object{
		&corev1.ServiceAccount{ObjectMeta: meta},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "admin"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: meta.Namespace, Name: meta.Name}},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		},
	} {
		if err := c.Client().Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	config, err := c.ConfigFor(t.Context(), meta.Namespace, meta.Name)
	if err != nil {
		t.Fatal(err)
	}
	return config.BearerToken
}

// secretOf returns the kubeconfig that the agent of provider-1 gets.
func secretOf(t *testing.T, home *env.Cluster) (string, bool) {
	t.Helper()
	var secret corev1.Secret
	key := client.ObjectKey{Namespace: v1beta1.TenantNamespace("provider-1"), Name: "kubeconfig-provider-1"}
	err := home.Client().Get(t.Context(), key, &secret)
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	return string(secret.Data[v1beta1.KubeconfigKey]), err == nil
}
