package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/e2e/env"
)

// real executes a command line against real clusters.
func real(ctx context.Context, args ...string) (code int, out, errOut string) {
	var stdout, stderr bytes.Buffer
	a := &app{In: strings.NewReader(""), Out: &stdout, Err: &stderr, Connect: connect, Clock: clock.RealClock{}}
	code = a.run(ctx, append([]string{"liqoctl"}, args...))
	return code, stdout.String(), stderr.String()
}

// TestLife runs every command once against real API servers. What controller-manager and agent would do is not done, so
// waits end in a timeout that says so.
func TestLife(t *testing.T) {
	planes := env.Planes(t, 2)
	home, away := planes[0], planes[1]
	if err := home.Apply(t.Context(), "base"); err != nil {
		t.Fatal(err)
	}
	for _, ns := range []string{"shop", "kube-shop"} {
		err := home.Client().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		args    []string
		code    int
		want    string // in the output
		wantErr string // on the other output
	}{
		{args: []string{"info"}, want: "has no id yet"},
		{
			args: []string{
				"peer", "--remote-kubeconfig", home.Kubeconfig, "--cluster-id", "consumer",
				"--remote-cluster-id", "self",
			}, code: exitFailed, wantErr: "both kubeconfigs lead to the same",
		},
		{
			args: []string{
				"peer", "--remote-kubeconfig", away.Kubeconfig, "--cluster-id", "consumer",
				"--remote-cluster-id", "provider-1", "--remote-server", "http://127.0.0.1:1",
			}, code: exitFailed, wantErr: "must begin with https://",
		},
		{args: []string{"info"}, want: "Borrows from: none"},
		{
			args: []string{
				"peer", "--remote-kubeconfig", away.Kubeconfig, "--cluster-id", "consumer",
				"--remote-cluster-id", "provider-1", "--node-name", "vn", "--label", "region=eu",
			}, wantErr: "done: this cluster (consumer) borrows from provider-1 through virtual node vn",
		},
		{args: []string{"info"}, want: "Cluster consumer (kube-system UID "},
		{args: []string{"info", "peer"}, want: "labels:   region=eu"},
		{args: []string{"info", "peer", "provider-1", "-o", "yaml"}, want: "server: " + away.Server()},
		{
			args: []string{"offload", "namespace", "shop", "--timeout", "1s"}, code: exitFailed,
			wantErr: "namespace shop is not ready after 1s: waiting for the controller-manager to see the change",
		},
		{
			args:    []string{"offload", "namespace", "shop", "--timeout", "1s", "--pod-offloading-strategy", "Local"},
			code:    exitFailed,
			wantErr: "warning: podOffloadingStrategy is now Local: pods that already run elsewhere stay there",
		},
		{
			args:    []string{"offload", "namespace", "shop", "--namespace-mapping-strategy", "EnforceSameName"},
			code:    exitFailed,
			wantErr: "Forbidden: namespaceMappingStrategy is immutable",
		},
		{
			args: []string{
				"offload", "namespace", "kube-shop", "--namespace-mapping-strategy", "SelectedName",
				"--remote-namespace-name", "shop",
			}, code: exitFailed, wantErr: "system namespaces may not be offloaded",
		},
		{
			args:    []string{"unoffload", "namespace", "shop", "--skip-confirm"},
			wantErr: "namespace shop is at home only",
		},
		{
			args:    []string{"unpeer", "provider-2", "--remote-kubeconfig", home.Kubeconfig, "--skip-confirm"},
			code:    exitFailed,
			wantErr: `there is no peering with "provider-2"`,
		},
		{
			args:    []string{"unpeer", "provider-1", "--remote-kubeconfig", home.Kubeconfig, "--skip-confirm"},
			code:    exitFailed,
			wantErr: "leads to another cluster",
		},
		{
			args:    []string{"unpeer", "provider-1", "--remote-kubeconfig", away.Kubeconfig, "--skip-confirm"},
			wantErr: "done: this cluster (consumer) does not borrow from provider-1 any more",
		},
		{args: []string{"info", "peer"}, want: "This cluster borrows from none."},
		{args: []string{"version"}, want: "Kubernetes: v1."},
	} {
		t.Run(strings.Join(step.args[:min(len(step.args), 3)], " "), func(t *testing.T) {
			args := append([]string{"--kubeconfig", home.Kubeconfig}, step.args...)
			code, out, errOut := real(t.Context(), args...)
			if code != step.code || !strings.Contains(out, step.want) || !strings.Contains(errOut, step.wantErr) {
				t.Errorf("exit code %d\n%s\n%s", code, out, errOut)
			}
		})
	}
	t.Run("the log of requests holds no secret", func(t *testing.T) { verbose(t, home) })
	t.Run("explain with the rights of a viewer", func(t *testing.T) { explainAsViewer(t, home) })
	t.Run("what is printed is what is applied", func(t *testing.T) { printedIsApplied(t, home) })
	t.Run("kubeconfigs", func(t *testing.T) { kubeconfigs(t, home) })
}

// verbose shows what is asked, but nothing of what makes the asking possible.
func verbose(t *testing.T, c *env.Cluster) {
	const canary = "canary-token-7d1f"
	config, err := clientcmd.LoadFromFile(c.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	*config.AuthInfos[config.Contexts[config.CurrentContext].AuthInfo] = api.AuthInfo{Token: canary}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	_, out, errOut := real(t.Context(), "--kubeconfig", file, "--verbose", "info")
	if !strings.Contains(errOut, "/api") {
		t.Errorf("no request is shown: %s", errOut)
	}
	if strings.Contains(out+errOut, canary) {
		t.Error("the token is shown")
	}
}

// kubeconfigs: each way to get one wrong is told from the others, in one line.
func kubeconfigs(t *testing.T, c *env.Cluster) {
	other, _, err := cert.GenerateSelfSignedCertKey("other.example", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
	type (
		change = func(*api.Cluster, *api.AuthInfo)
		fault  struct {
			change change
			text   string
			flags  []string
			want   string
		}
	)
	cluster := func(f func(*api.Cluster)) change { return func(c *api.Cluster, _ *api.AuthInfo) { f(c) } }
	user := func(u api.AuthInfo) change { return func(_ *api.Cluster, has *api.AuthInfo) { *has = u } }
	server := func(address string) change { return cluster(func(c *api.Cluster) { c.Server = address }) }
	tests := map[string]fault{
		"a missing file": {
			flags: []string{"--kubeconfig", "/nonexistent"}, want: "stat /nonexistent: no such file or directory",
		},
		"no YAML":       {text: "{", want: "read kubeconfig"},
		"no kubeconfig": {text: "kind: Pod", want: "read kubeconfig"},
		"an empty file": {text: " ", want: "no kubeconfig found"},
		"an unknown context": {
			change: cluster(func(*api.Cluster) {}), flags: []string{"--context", "zz"},
			want: `context "zz" does not exist`,
		},
		"a missing CA file": {change: cluster(func(c *api.Cluster) {
			c.CertificateAuthorityData, c.CertificateAuthority = nil, "/nonexistent.crt"
		}), want: "unable to read certificate-authority /nonexistent.crt"},
		"another CA": {
			change: cluster(func(c *api.Cluster) { c.CertificateAuthorityData = other }),
			want:   "certificate-authority-data of this kubeconfig is not the cluster's",
		},
		"CA and insecure": {
			change: cluster(func(c *api.Cluster) { c.InsecureSkipTLSVerify = true }), want: "insecure",
		},
		"connection refused": {change: server("https://127.0.0.1:1"), want: "nothing listens there"},
		"no such host": {
			change: server("https://no-such-host.invalid"), want: "check the server address in the kubeconfig",
		},
		"plain text": {change: server("http://127.0.0.1:1"), want: "must begin with https://"},
		"a wrong token": {
			change: user(api.AuthInfo{Token: "wrong"}),
			want:   "the cluster does not accept the credential of this kubeconfig",
		},
		"a broken certificate": {
			change: user(api.AuthInfo{ClientCertificateData: broken, ClientKeyData: broken}), want: "tls: ",
		},
		"an expired certificate": {change: user(expired(t)), want: "the client certificate expired on 2001-01-01"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "kubeconfig")
			if tt.change != nil {
				config, err := clientcmd.LoadFromFile(c.Kubeconfig)
				if err != nil {
					t.Fatal(err)
				}
				current := config.Contexts[config.CurrentContext]
				tt.change(config.Clusters[current.Cluster], config.AuthInfos[current.AuthInfo])
				if err := clientcmd.WriteToFile(*config, file); err != nil {
					t.Fatal(err)
				}
			} else if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			args := append([]string{"--kubeconfig", file}, tt.flags...)
			code, _, errOut := real(t.Context(), append(args, "offload", "namespace", "shop")...)
			if code != exitFailed || !strings.Contains(errOut, tt.want) || strings.Count(errOut, "\n") != 1 {
				t.Errorf("exit code %d: %s", code, errOut)
			}
		})
	}
}

// expired returns a user whose certificate was good until the end of the millennium.
func expired(t *testing.T) api.AuthInfo {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return api.AuthInfo{
		ClientCertificateData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		ClientKeyData:         pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
	}
}
