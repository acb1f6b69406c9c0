package serving

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// converges is long enough for anything that happens by itself, on a busy machine.
const converges = time.Minute

// plane is a home with a controller manager that signs, and our policies and roles.
type plane struct {
	*testing.T
	home  *env.Cluster
	admin client.Client
}

func TestOnARealControlPlane(t *testing.T) {
	home := env.Start(t, env.Options{}).Consumer()
	audit, err := home.Audit()
	if err != nil {
		t.Fatal(err)
	}
	p := &plane{T: t, home: home, admin: home.Client()}
	for _, provider := range []string{"milan", "rome"} {
		p.tenant(provider)
	}
	p.node("milan", "milan-id", "127.0.0.1")
	p.node("rome", "rome-id", "10.1.0.8")
	p.worker("worker-1", "10.1.0.1")
	// Somebody else who may ask for certificates, as machines that join a cluster do.
	p.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "stranger"},
		RoleRef: rbacv1.RoleRef{
			APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:node-bootstrapper",
		},
		Subjects: []rbacv1.Subject{{
			Kind: rbacv1.ServiceAccountKind, Namespace: metav1.NamespaceDefault, Name: "default",
		}},
	})
	p.approver()
	for _, tc := range []struct {
		name string
		test func(*plane)
	}{
		{"an agent's certificate is believed by whoever believes the cluster, and renewed in time", testIssued},
		{"an agent asks for certificates of servers only", testSigners},
		{"a request that comes before its Node's address waits for it", testWaits},
		{"nothing else is approved", testHostile},
	} {
		t.Run(tc.name, func(t *testing.T) { tc.test(&plane{T: t, home: home, admin: p.admin}) })
	}
	recorded, err := audit.Events()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range recorded {
		if e.User.Username == "system:serviceaccount:liqo:controller-manager" && e.ResponseStatus != nil &&
			e.ResponseStatus.Code == http.StatusForbidden {
			t.Errorf("the controller-manager may not %s %s", e.Verb, e.RequestURI)
		}
	}
}

func (p *plane) create(objects ...client.Object) {
	p.Helper()
	for _, obj := range objects {
		if err := p.admin.Create(p.Context(), obj); err != nil {
			p.Fatal(err)
		}
	}
}

func (p *plane) eventually(what string, check func(context.Context) error) {
	p.Helper()
	var last error
	err := wait.PollUntilContextTimeout(p.Context(), 50*time.Millisecond, converges, true,
		func(ctx context.Context) (bool, error) {
			last = check(ctx)
			return last == nil, nil
		})
	if err != nil {
		p.Fatalf("%s: %v", what, last)
	}
}

// tenant makes what a peering leaves at home, as far as certificates are concerned.
func (p *plane) tenant(name string) {
	p.Helper()
	ns := v1beta1.TenantNamespace(name + "-id")
	p.create(
		build.Namespace(ns).Obj(),
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: v1beta1.AgentServiceAccount}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "liqo-virtual-kubelet:" + name},
			RoleRef: rbacv1.RoleRef{
				APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "liqo-virtual-kubelet",
			},
			Subjects: []rbacv1.Subject{{
				Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: v1beta1.AgentServiceAccount,
			}},
		},
		build.VirtualNode(name, name+"-id"),
	)
}

// node makes a virtual Node as its agent does.
func (p *plane) node(name, provider string, ips ...string) {
	p.Helper()
	p.withAddresses(virtual(name, provider), virtual(name, provider, ips...).Status.Addresses)
}

func (p *plane) worker(name, ip string) {
	p.Helper()
	p.withAddresses(build.Node(name), []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}})
}

func (p *plane) withAddresses(node *corev1.Node, addresses []corev1.NodeAddress) {
	p.Helper()
	node.Status = corev1.NodeStatus{}
	p.create(node)
	p.address(node.Name, addresses)
}

// address sets the addresses of a Node.
func (p *plane) address(node string, addresses []corev1.NodeAddress) {
	p.Helper()
	p.eventually("addresses of "+node, func(ctx context.Context) error {
		var now corev1.Node
		if err := p.admin.Get(ctx, client.ObjectKey{Name: node}, &now); err != nil {
			return err
		}
		now.Status.Addresses = addresses
		return p.admin.Status().Update(ctx, &now)
	})
}

// agent returns the configuration of an agent, which has the rights that we ship.
func (p *plane) agent(provider string) *rest.Config {
	p.Helper()
	return p.account(v1beta1.TenantNamespace(provider+"-id"), v1beta1.AgentServiceAccount)
}

func (p *plane) account(namespace, name string) *rest.Config {
	p.Helper()
	config, err := p.home.ConfigFor(p.Context(), namespace, name)
	if err != nil {
		p.Fatal(err)
	}
	return config
}

// manager returns one that sees virtual Nodes only, and ends with the test.
func (p *plane) manager(config *rest.Config, byObject map[client.Object]cache.ByObject) (ctrl.Manager, func()) {
	p.Helper()
	byObject[&corev1.Node{}] = cache.ByObject{
		Label: labels.SelectorFromSet(labels.Set{v1beta1.LabelNodeType: v1beta1.NodeTypeVirtual}),
	}
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: p.admin.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{ByObject: byObject},
	})
	if err != nil {
		p.Fatal(err)
	}
	return mgr, func() {
		ctx, cancel := context.WithCancel(p.Context())
		done := make(chan error, 1)
		go func() { done <- mgr.Start(ctx) }()
		p.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				p.Error(err)
			}
		})
	}
}

// approver runs the controller-manager's part with its own rights.
func (p *plane) approver() {
	p.Helper()
	mgr, start := p.manager(p.account(v1beta1.SystemNamespace, "controller-manager"), CacheOptions())
	a := &Approver{Home: mgr.GetClient(), Live: mgr.GetAPIReader(), Clock: clock.RealClock{}}
	if err := a.SetupWithManager(mgr); err != nil {
		p.Fatal(err)
	}
	start()
}

// shifted is a clock that the test can set forward.
type shifted struct{ by atomic.Int64 }

func (c *shifted) Now() time.Time                  { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *shifted) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func testIssued(p *plane) {
	config := p.agent("milan")
	mgr, start := p.manager(config, map[client.Object]cache.ByObject{})
	later := &shifted{}
	c := &Certificates{
		Client: mgr.GetClient(), Home: kubernetes.NewForConfigOrDie(config), Provider: "milan-id",
		Recorder: events.NewFakeRecorder(100), Clock: later, Jitter: func() float64 { return 0 },
	}
	if err := c.SetupWithManager(mgr); err != nil {
		p.Fatal(err)
	}
	start()
	issued := func() *tls.Certificate { return c.Issued(&tls.ClientHelloInfo{}) }
	p.eventually("a certificate", func(context.Context) error {
		if issued() == nil {
			return errors.New("none")
		}
		return nil
	})
	first := issued()
	leaf := first.Leaf
	if leaf.Subject.String() != "CN=system:node:milan,O=system:nodes" || leaf.IsCA ||
		len(leaf.ExtKeyUsage) != 1 || leaf.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth {
		p.Errorf("subject %s, CA %t, usages %v", leaf.Subject, leaf.IsCA, leaf.ExtKeyUsage)
	}
	if life := time.Until(leaf.NotAfter); life > lifetime || life < lifetime-time.Hour {
		p.Errorf("it lives for %s, want what was asked for", life)
	}
	p.handshake(issued)

	later.by.Store(int64(25 * 24 * time.Hour))
	p.touch("milan") // the timer is a real one
	p.eventually("a new certificate", func(context.Context) error {
		if issued() == first {
			return errors.New("it is the old one")
		}
		return nil
	})
	p.handshake(issued)
}

// handshake lets a client that believes the cluster's authority find the Node by its address.
func (p *plane) handshake(issued func() *tls.Certificate) {
	p.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return issued(), nil },
	})
	if err != nil {
		p.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_ = conn.(*tls.Conn).HandshakeContext(p.Context())
		_ = conn.Close()
	}()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.home.Config().CAData)
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	var conn net.Conn
	if conn, err = dialer.DialContext(p.Context(), "tcp", listener.Addr().String()); err != nil {
		p.Errorf("a client that believes the cluster: %v", err)
	} else {
		_ = conn.Close()
	}
	_ = listener.Close()
	<-done
}

func (p *plane) touch(node string) {
	p.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"touched":"yes"}}}`))
	if err := p.admin.Patch(p.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}, patch); err != nil {
		p.Fatal(err)
	}
}

// asks makes a request as somebody.
func (p *plane) asks(as *rest.Config, spec certificatesv1.CertificateSigningRequestSpec, opts metav1.CreateOptions) (
	string, error,
) {
	p.Helper()
	csr, err := kubernetes.NewForConfigOrDie(as).CertificatesV1().CertificateSigningRequests().Create(p.Context(),
		&certificatesv1.CertificateSigningRequest{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}, Spec: spec,
		}, opts)
	if err != nil {
		return "", err
	}
	return csr.Name, nil
}

// signed waits until a request has its certificate.
func (p *plane) signed(name string) {
	p.Helper()
	p.eventually("certificate of "+name, func(ctx context.Context) error {
		var csr certificatesv1.CertificateSigningRequest
		if err := p.admin.Get(ctx, client.ObjectKey{Name: name}, &csr); err != nil {
			return err
		}
		if len(csr.Status.Certificate) == 0 {
			return fmt.Errorf("conditions: %v", csr.Status.Conditions)
		}
		return nil
	})
}

func testSigners(p *plane) {
	agent, dry := p.agent("milan"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}}
	r := template()
	for _, signer := range []string{
		certificatesv1.KubeAPIServerClientSignerName, certificatesv1.KubeAPIServerClientKubeletSignerName,
		"example.com/any",
	} {
		spec := specOf(p.T, r)
		spec.SignerName = signer
		spec.Usages = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
		p.eventually("the policy", func(context.Context) error { // which comes into force some time after its creation
			if _, err := p.asks(agent, spec, dry); !apierrors.IsForbidden(err) ||
				!strings.Contains(err.Error(), "only for certificates of signer kubernetes.io/kubelet-serving") {
				return fmt.Errorf("signer %s: %w", signer, err)
			}
			return nil
		})
		if _, err := p.asks(p.home.Config(), spec, dry); err != nil {
			p.Errorf("somebody else, signer %s: %v", signer, err)
		}
	}
	if _, err := p.asks(agent, specOf(p.T, r), dry); err != nil {
		p.Errorf("signer %s: %v", certificatesv1.KubeletServingSignerName, err)
	}
}

func testWaits(p *plane) {
	r := template()
	r.Subject.CommonName, r.DNSNames = "system:node:rome", nil
	r.IPAddresses = []net.IP{net.ParseIP("10.1.0.9")}
	early, err := p.asks(p.agent("rome"), specOf(p.T, r), metav1.CreateOptions{})
	if err != nil {
		p.Fatal(err)
	}
	r.IPAddresses = []net.IP{net.ParseIP("10.1.0.8")}
	right, err := p.asks(p.agent("rome"), specOf(p.T, r), metav1.CreateOptions{})
	if err != nil {
		p.Fatal(err)
	}
	p.signed(right) // so the earlier one was looked at too
	var csr certificatesv1.CertificateSigningRequest
	if err := p.admin.Get(p.Context(), client.ObjectKey{Name: early}, &csr); err != nil {
		p.Fatal(err)
	}
	if len(csr.Status.Conditions) > 0 {
		p.Fatalf("conditions of the early one: %v", csr.Status.Conditions)
	}
	p.address("rome", virtual("rome", "rome-id", "10.1.0.8", "10.1.0.9").Status.Addresses)
	p.signed(early)
}
