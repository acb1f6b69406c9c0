package vksuite

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// kubeletPort is the port at which the suite asks for metrics.
const kubeletPort = "10250"

// stand makes what the suite asks for metrics: a pod named like the node, on port 10250. It expects the agent to run in
// that pod, and to answer a caller without credentials, which ours does not (SEC-01). So behind the pod's address
// stands what a user would put there: a relay that has the right to read metrics, and no other, and presents it to the
// agent.
func stand(t *testing.T, home *env.Cluster, ip netip.Addr) {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(ip.String(), kubeletPort))
	if err != nil {
		t.Skipf("NOT RUN: the suite asks for metrics on port %s, which is taken: %v", kubeletPort, err)
	}
	server := httptest.NewUnstartedServer(fromHere(ip, relay(t, home)))
	_ = server.Listener.Close()
	server.Listener = listener
	server.StartTLS()
	t.Cleanup(server.Close)

	// Nobody runs or schedules it: its status says all that is asked of it.
	pod := build.Pod(provider).Namespace(namespace).Spec(func(s *corev1.PodSpec) { s.SchedulerName = "nobody" }).Obj()
	create(t, home.Client(), pod)
	pod.Status.PodIP, pod.Status.PodIPs = ip.String(), []corev1.PodIP{{IP: ip.String()}}
	if err := home.Client().Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
}

// fromHere lets nobody from another machine in.
func fromHere(ip netip.Addr, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || from.Addr().Unmap() != ip {
			http.Error(w, "only for this machine", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// relay passes requests on to the agent as a ServiceAccount that may read metrics.
func relay(t *testing.T, home *env.Cluster) http.Handler {
	t.Helper()
	const name = "metrics-reader"
	create(t, home.Client(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{""}, Resources: []string{"nodes/stats", "nodes/metrics"}, Verbs: []string{"get"},
		}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		},
	)
	reader, err := home.ConfigFor(t.Context(), namespace, name)
	if err != nil {
		t.Fatal(err)
	}
	agent := kubelet(t, home)
	// Whom the agent's certificate is from is tested elsewhere.
	insecure := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(insecure.CloseIdleConnections)
	answers := func(path string) error {
		url := agent.JoinPath(path).String()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+reader.BearerToken)
		response, err := insecure.RoundTrip(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", path, response.Status)
		}
		return nil
	}
	// The suite asks once: the rights of the reader must have arrived, and those of the agent at the provider.
	eventually(t, "the agent answers the relay", func(context.Context) error { return answers("/stats/summary") })
	return &httputil.ReverseProxy{Transport: insecure, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(agent)
		r.Out.Header.Set("Authorization", "Bearer "+reader.BearerToken)
	}}
}

// kubelet returns where the virtual node says that its kubelet API is.
func kubelet(t *testing.T, home *env.Cluster) *url.URL {
	t.Helper()
	var node corev1.Node
	if err := home.Client().Get(t.Context(), client.ObjectKey{Name: provider}, &node); err != nil {
		t.Fatal(err)
	}
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			port := fmt.Sprint(node.Status.DaemonEndpoints.KubeletEndpoint.Port)
			return &url.URL{Scheme: "https", Host: net.JoinHostPort(a.Address, port)}
		}
	}
	t.Fatalf("node %s has no address: %+v", provider, node.Status.Addresses)
	return nil
}
