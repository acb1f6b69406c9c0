package vksuite

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	vke2e "github.com/virtual-kubelet/virtual-kubelet/test/e2e"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

const (
	// namespace is where the suite makes its pods; the twin has this name and the cluster id.
	namespace = "conformance"
	// provider is also the name of the virtual node that is tested.
	provider = "provider-1"
	// patience is for whatever happens by itself, on a busy machine.
	patience = 2 * time.Minute
	often    = 100 * time.Millisecond
)

// defaultTolerations makes the API server add the toleration of virtual nodes to every pod of the namespace. The suite
// binds its pods by spec.nodeName and gives them none, so Kubernetes itself would evict them from any tainted node.
const defaultTolerations = "scheduler.alpha.kubernetes.io/defaultTolerations"

// TestProviderConformance is the suite. What it asks for besides an agent is set up here, as its users would.
func TestProviderConformance(t *testing.T) {
	ip := address(t)
	playground := env.Start(t, env.Options{
		Providers: 1, Nodes: 1, Peer: true, NodeIP: ip.String(),
		APIServer: []string{"--enable-admission-plugins=PodTolerationRestriction"},
	})
	home := playground.Consumer()
	offload(t, home)
	metricsOf(t, playground.Cluster(provider))
	stand(t, home, ip)

	vke2e.NewEndToEndTestSuite(vke2e.EndToEndTestSuiteConfig{
		Kubeconfig: home.Kubeconfig, Namespace: namespace, NodeName: provider, WatchTimeout: patience,
	}).Run(t)
}

// address returns an address of this machine to which API servers relay requests for nodes and pods: not a loopback or
// link-local one.
func address(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		prefix, err := netip.ParsePrefix(a.String())
		if err == nil && prefix.Addr().IsGlobalUnicast() && prefix.Addr().Is4() {
			return prefix.Addr()
		}
	}
	t.Skip("NOT RUN: this machine has no address but loopback, to which API servers relay nothing")
	return netip.Addr{}
}

// offload makes the namespace and waits until pods can be made in it and run at the provider.
func offload(t *testing.T, home *env.Cluster) {
	t.Helper()
	ns := build.Namespace(namespace).Obj()
	ns.Annotations = map[string]string{
		defaultTolerations: fmt.Sprintf(`[{"key":%q,"operator":"Exists"}]`, v1beta1.TaintKey),
	}
	create(t, home.Client(), ns)
	create(t, home.Client(), build.Offloading(namespace).Strategy(v1beta1.Remote).Obj())
	eventually(t, "the namespace is offloaded", func(ctx context.Context) error {
		var off v1beta1.NamespaceOffloading
		err := home.Client().Get(ctx, client.ObjectKey{Namespace: namespace, Name: v1beta1.OffloadingName}, &off)
		if err == nil && off.Status.OffloadingPhase != v1beta1.PhaseReady {
			err = fmt.Errorf("it is %q", off.Status.OffloadingPhase)
		}
		account := client.ObjectKey{Namespace: namespace, Name: "default"}
		return errors.Join(err, home.Client().Get(ctx, account, &corev1.ServiceAccount{}))
	})
}

func create(t *testing.T, c client.Client, objects ...client.Object) {
	t.Helper()
	for _, obj := range objects {
		if err := c.Create(t.Context(), obj); err != nil {
			t.Fatalf("create %T %s: %v", obj, obj.GetName(), err)
		}
	}
}

// eventually waits until check finds nothing wrong.
func eventually(t *testing.T, what string, check func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), often, patience, true, func(ctx context.Context) (bool, error) {
		last = check(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: %v", what, last)
	}
}
