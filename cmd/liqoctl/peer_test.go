package main

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// pair is liqoctl before two fake clusters, of which the provider may be out of reach.
type pair struct {
	home, away client.Client
	lost       bool
}

func newPair(home, away []client.Object) *pair {
	p := &pair{}
	p.home = fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(home...).Build()
	p.away = fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(away...).
		WithInterceptorFuncs(interceptor.Funcs{Get: func(
			ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption,
		) error {
			if p.lost {
				return &url.Error{Op: "Get", URL: "https://provider.example", Err: errors.New("no route to host")}
			}
			return c.Get(ctx, key, o, opts...)
		}}).Build()
	return p
}

func (p *pair) run(t *testing.T, args ...string) (code int, errOut string) {
	t.Helper()
	var stderr bytes.Buffer
	a := &app{
		In: strings.NewReader(""), Out: &bytes.Buffer{}, Err: &stderr,
		Connect: func(kubeconfig, _ string, _ func(string)) (*cluster, error) {
			switch kubeconfig {
			case "provider.yaml":
				return &cluster{Client: p.away}, nil
			case "":
				return &cluster{Client: p.home}, nil
			}
			return nil, errors.New("stat " + kubeconfig + ": no such file or directory")
		},
	}
	return a.run(t.Context(), append([]string{"liqoctl"}, args...)), stderr.String()
}

func system(uid string) *corev1.Namespace { return build.Namespace("kube-system").UID(uid).Obj() }

func clusterID(id string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.SystemNamespace, Name: v1beta1.ClusterIDConfigMap},
		Data:       map[string]string{v1beta1.ClusterIDKey: id},
	}
}

func tenantNamespace(id string) *corev1.Namespace {
	return build.Namespace(v1beta1.TenantNamespace(id)).Label(v1beta1.LabelTenantNamespace, "true").Obj()
}

func TestPeerNeedsAnID(t *testing.T) {
	p := newPair([]client.Object{system("uid-a")}, []client.Object{system("uid-b")})
	code, errOut := p.run(t, "peer", "--remote-kubeconfig", "provider.yaml", "--timeout", "300ms")
	if code != exitFailed || !strings.Contains(errOut, "give one with --cluster-id") ||
		!strings.Contains(errOut, "... waiting for the controller-manager to give this cluster an id") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

func TestPeerNamesTheClusterAtFault(t *testing.T) {
	p := newPair([]client.Object{system("uid-a"), clusterID("a")}, []client.Object{system("uid-b")})
	code, errOut := p.run(t, "peer", "--remote-kubeconfig", "other.yaml")
	if code != exitFailed || errOut != "error: provider: stat other.yaml: no such file or directory\n" {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	p.lost = true
	code, errOut = p.run(t, "peer", "--remote-kubeconfig", "provider.yaml")
	if code != exitFailed || !strings.HasPrefix(errOut, "error: provider: ") ||
		!strings.Contains(errOut, "cannot be reached") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

func TestUnpeerWithoutTheProvider(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"it is not dropped silently": {
			[]string{"b", "--remote-kubeconfig", "provider.yaml"}, exitFailed, "the cluster cannot be reached",
		},
		"by force, when it is named": {
			[]string{"b", "--remote-kubeconfig", "provider.yaml", "--force"}, exitDone, "only this side is ended",
		},
		"by force, without a kubeconfig": {[]string{"b", "--force"}, exitDone, "a copied token works until it expires"},
		"by force, but which?": {
			[]string{"--remote-kubeconfig", "provider.yaml", "--force"}, exitFailed, "the cluster cannot be reached",
		},
		"one that is none": {[]string{"x", "--force"}, exitFailed, `there is no peering with "x"`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPair([]client.Object{system("uid-a"), clusterID("a"), tenantNamespace("b")}, nil)
			p.lost = true
			code, errOut := p.run(t, append([]string{"unpeer", "--skip-confirm"}, tt.args...)...)
			if code != tt.code || !strings.Contains(errOut, tt.want) {
				t.Errorf("exit code %d: %s", code, errOut)
			}
			var tenant corev1.Namespace
			err := p.home.Get(t.Context(), client.ObjectKey{Name: "liqo-tenant-b"}, &tenant)
			if gone := err != nil; gone != (tt.code == exitDone) {
				t.Errorf("the tenant namespace is gone: %t", gone)
			}
		})
	}
}

func TestUnpeerFindsTheProvidersID(t *testing.T) {
	for name, away := range map[string][]client.Object{
		"b":     {system("uid-b"), clusterID("b")},
		"uid-b": {system("uid-b")},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair([]client.Object{system("uid-a"), clusterID("a"), tenantNamespace(name)}, away)
			code, errOut := p.run(t, "unpeer", "--skip-confirm", "--remote-kubeconfig", "provider.yaml")
			if code != exitDone || !strings.Contains(errOut, "does not borrow from "+name+" any more") {
				t.Errorf("exit code %d: %s", code, errOut)
			}
		})
	}
	t.Run("a cluster without an id has no peerings", func(t *testing.T) {
		p := newPair([]client.Object{system("uid-a")}, nil)
		code, errOut := p.run(t, "unpeer", "b", "--skip-confirm", "--force")
		if code != exitFailed || !strings.Contains(errOut, "has no id") {
			t.Errorf("exit code %d: %s", code, errOut)
		}
	})
	t.Run("nobody can be asked", func(t *testing.T) {
		p := newPair([]client.Object{system("uid-a"), clusterID("a"), tenantNamespace("b")}, nil)
		code, errOut := p.run(t, "unpeer", "b", "--force")
		if code != exitUsage || !strings.Contains(errOut, "--skip-confirm") {
			t.Errorf("exit code %d: %s", code, errOut)
		}
	})
}
