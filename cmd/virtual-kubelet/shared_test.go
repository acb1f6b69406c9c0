package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/peering"
	"github.com/twinspace/twinspace/reflection/remote"
)

// fleet is a home cluster, its providers, and one agent for all of them.
type fleet struct {
	*peered
	providers []*env.Cluster
	metrics   string // address
	log       string // file
}

// newFleet starts the shared agent before anything is peered.
func newFleet(t *testing.T, providers int) *fleet {
	t.Helper()
	planes := env.Planes(t, 1+providers)
	f := &fleet{providers: planes[1:], peered: &peered{
		T: t, home: planes[0], scope: v1beta1.WatchNamespaces, none: map[*env.Cluster]map[string]int{},
	}}
	f.must(f.home.Apply(t.Context(), "base"))
	f.none[f.home] = f.settled(f.home)
	f.start()
	return f
}

// ports returns the first of so many that follow each other, all free a moment ago.
func (f *fleet) ports(n int) int {
	f.Helper()
	for first := 23000; first < 32000; first += n {
		if free(first, n) {
			return first
		}
	}
	f.Fatal("no ports are free")
	return 0
}

func free(first, n int) bool {
	for port := first; port < first+n; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			return false
		}
		_ = l.Close()
	}
	return true
}

func (f *fleet) start() {
	f.Helper()
	kubeconfig := filepath.Join(f.TempDir(), "kubeconfig")
	f.must(f.home.WriteKubeconfigFor(f.Context(), v1beta1.SystemNamespace, v1beta1.AgentServiceAccount, kubeconfig))
	ids := make([]string, 0, len(f.providers))
	for _, p := range f.providers {
		ids = append(ids, p.Name)
	}
	first := f.ports(len(ids) + 1)
	f.metrics = fmt.Sprintf("127.0.0.1:%d", first+len(ids))
	log, err := os.Create(filepath.Join(f.TempDir(), "log"))
	f.must(err)
	f.log = log.Name()
	agent := exec.Command(os.Args[0], "--kubeconfig="+kubeconfig, "--cluster-id="+f.home.Name, //nolint:gosec // us
		"--remote-cluster-id="+strings.Join(ids, ","), "--node-ip=127.0.0.1", fmt.Sprintf("--kubelet-port=%d", first),
		"--leader-elect=false", "--metrics-bind-address="+f.metrics, "--health-probe-bind-address=0")
	agent.Env = append(os.Environ(), asAgent+"=1")
	agent.Stdout, agent.Stderr = log, log
	f.must(agent.Start())
	f.Cleanup(func() {
		_ = agent.Process.Signal(os.Interrupt) // it may have ended
		_ = agent.Wait()
		if text, err := os.ReadFile(f.log); err == nil && f.Failed() {
			f.Logf("the agent said:\n%s", text[max(0, len(text)-12000):])
		}
	})
}

func (f *fleet) peer(provider *env.Cluster, scope v1beta1.WatchScope) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	away := provider.Config()
	f.must((&peering.Peering{
		Home: f.home.Client(), Away: provider.Client(), HomeID: f.home.Name, AwayID: provider.Name,
		Endpoint: remote.Credential{Server: provider.Server(), CA: away.CAData},
		AsPeer: func(token string) (client.Client, error) {
			config := rest.AnonymousClientConfig(away)
			config.BearerToken = token
			return client.New(config, client.Options{Scheme: provider.Client().Scheme()})
		},
		NodeName: provider.Name, WatchScope: scope, Agent: peering.AgentShared, TokenTTL: time.Hour,
		Report: func(string) {},
	}).Peer(ctx))
	m := build.Map(provider.Name).Obj()
	if err := f.home.Client().Create(ctx, m); !apierrors.IsAlreadyExists(err) {
		f.must(err)
	}
}

// offload does for a namespace what the controller-manager does.
func (f *fleet) offload(name string, to ...*env.Cluster) {
	f.Helper()
	ctx := f.Context()
	f.must(client.IgnoreAlreadyExists(f.home.Client().Create(ctx, build.Namespace(name).Obj())))
	for _, p := range to {
		f.must(f.home.Client().Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "agent-" + p.Name},
			RoleRef: rbacv1.RoleRef{
				APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: v1beta1.OffloadedNamespaceRole,
			},
			Subjects: []rbacv1.Subject{{
				Kind: rbacv1.ServiceAccountKind, Name: v1beta1.AgentServiceAccount,
				Namespace: v1beta1.TenantNamespace(p.Name),
			}},
		}))
		m := build.Map(p.Name).Obj()
		patch := fmt.Sprintf(`{"spec":{"desiredMapping":{%q:%q}}}`, name, name+"-"+f.home.Name)
		f.must(f.home.Client().Patch(ctx, m, client.RawPatch("application/merge-patch+json", []byte(patch))))
	}
}

func (f *fleet) configMap(namespace, name string) {
	f.Helper()
	f.must(f.home.Client().Create(f.Context(), &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
	}))
}

func (f *fleet) reflected(namespace, name string, to ...*env.Cluster) {
	f.Helper()
	f.eventually("copies of "+namespace+"/"+name, func(ctx context.Context) string {
		for _, p := range to {
			at := client.ObjectKey{Namespace: namespace + "-" + f.home.Name, Name: name}
			if err := p.Client().Get(ctx, at, &corev1.ConfigMap{}); err != nil {
				return p.Name + ": " + err.Error()
			}
		}
		return ""
	})
}

// ready waits for the virtual nodes of providers.
func (f *fleet) ready(providers ...*env.Cluster) {
	f.Helper()
	f.eventually("virtual nodes that are ready", func(ctx context.Context) string {
		for _, p := range providers {
			if status, err := f.readiness(ctx, p); err != nil || status != corev1.ConditionTrue {
				return fmt.Sprintf("%s: %s %v", p.Name, status, err)
			}
		}
		return ""
	})
}

func (f *fleet) readiness(ctx context.Context, p *env.Cluster) (corev1.ConditionStatus, error) {
	var node corev1.Node
	if err := f.home.Client().Get(ctx, client.ObjectKey{Name: p.Name}, &node); err != nil {
		return "", err
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status, nil
		}
	}
	return "", errors.New("the Node does not say")
}

func (f *fleet) said(words string) {
	f.Helper()
	f.eventually("a log that says "+words, func(context.Context) string {
		text, err := os.ReadFile(f.log)
		f.must(err)
		if !strings.Contains(string(text), words) {
			return "it does not"
		}
		return ""
	})
}

func (f *fleet) exposes(line string) {
	f.Helper()
	f.eventually("metrics with "+line, func(ctx context.Context) string {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+f.metrics+"/metrics", http.NoBody)
		f.must(err)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		f.must(err)
		if !strings.Contains(string(text), line) {
			return "there is none"
		}
		return ""
	})
}

// TestOneAgentForSeveralProviders is the life of a shared agent, with the rights that it has in an installation.
func TestOneAgentForSeveralProviders(t *testing.T) {
	f := newFleet(t, 2)
	milan, turin := f.providers[0], f.providers[1]

	f.said("Cannot serve the provider") // nothing is peered
	f.peer(milan, v1beta1.WatchNamespaces)
	f.ready(milan) // while the other is still waited for
	f.exposes(fmt.Sprintf("twinspace_agent_peering_served{destination=%q} 1", milan.Name))
	f.exposes(fmt.Sprintf("twinspace_agent_peering_served{destination=%q} 0", turin.Name))
	f.peer(turin, v1beta1.WatchNamespaces)
	f.ready(milan, turin)

	f.offload("shop", milan, turin)
	f.offload("blog", turin)
	f.configMap("shop", "settings")
	f.configMap("blog", "settings")
	f.reflected("shop", "settings", milan, turin)
	f.reflected("blog", "settings", turin)
	f.exposes(fmt.Sprintf(`twinspace_twins_calls_total{destination=%q,operation="create",result="ok"} 1`, milan.Name))
	f.exposes(fmt.Sprintf(`liqo_reflection_objects{destination=%q,resource="configmaps"} 2`, turin.Name))
	f.watchedOnce()

	f.Run("another credential for one leaves the other alone", func(*testing.T) { f.losesItsCredential(milan, turin) })
	f.Run("what may be watched changes", func(*testing.T) {
		f.peer(turin, v1beta1.WatchCluster)
		f.said("the watch scope of the peering is cluster now")
		f.configMap("blog", "later")
		f.reflected("blog", "later", turin)
		f.ready(milan, turin)
	})
}

// watchedOnce counts at home, of two peerings with a namespace that both have and one that only one has: what both look
// at is watched once.
func (f *fleet) watchedOnce() {
	f.Helper()
	want := map[string]int{
		"nodes": 1, "namespaces": 1, "namespaceoffloadings": 1,
		"namespacemaps": 2, "virtualnodes": 2, "persistentvolumes": 2, "pods": 2,
		"services": 2, "endpointslices": 2, "configmaps": 2, "ingresses": 2, "persistentvolumeclaims": 2, "secrets": 2,
	}
	if diff := cmp.Diff(want, f.settled(f.home)); diff != "" {
		f.Errorf("watches at home (-want,+got):\n%s", diff)
	}
}

// losesItsCredential takes the credential of one provider away and gives it back.
func (f *fleet) losesItsCredential(one, other *env.Cluster) {
	f.Helper()
	ctx := f.Context()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: v1beta1.TenantNamespace(one.Name), Name: v1beta1.AgentServiceAccount,
	}}
	f.must(f.home.Client().Delete(ctx, account))
	f.configMap("shop", "meanwhile")
	f.reflected("shop", "meanwhile", other)
	f.ready(other)
	f.peer(one, v1beta1.WatchNamespaces)
	f.reflected("shop", "meanwhile", one)
	f.ready(one, other)
}

func TestThePeeringsOfAProcess(t *testing.T) {
	opts := defaults()
	opts.remoteClusterIDs, opts.kubeletPort = []string{"milan", "turin"}, 10250
	got := map[string]int{}
	for _, one := range opts.peerings() {
		got[one.remoteClusterID] = one.kubeletPort
	}
	if diff := cmp.Diff(map[string]int{"milan": 10250, "turin": 10251}, got); diff != "" {
		t.Errorf("ports (-want,+got):\n%s", diff)
	}
}
