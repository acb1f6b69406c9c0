package serving

import (
	"crypto/x509"
	"net"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// attack is a request by somebody that must not be approved.
type attack struct {
	as   *rest.Config
	spec certificatesv1.CertificateSigningRequestSpec
}

// attacks are the requests that are wrong by who asks, for what, besides those that are wrong in themselves.
func (p *plane) attacks() map[string]attack {
	milan, rome, admin := p.agent("milan"), p.agent("rome"), p.home.Config()
	stranger := p.account(metav1.NamespaceDefault, "default")
	kubelet := rest.CopyConfig(admin)
	kubelet.Impersonate = rest.ImpersonationConfig{
		UserName: "system:node:milan", Groups: []string{"system:nodes", "system:authenticated"},
	}
	with := func(change func(*x509.CertificateRequest)) certificatesv1.CertificateSigningRequestSpec {
		r := template()
		r.IPAddresses = []net.IP{net.ParseIP("127.0.0.1")} // that of Node milan here
		change(r)
		return specOf(p.T, r)
	}
	right := func(*x509.CertificateRequest) {}
	address := func(ips ...string) func(*x509.CertificateRequest) {
		return func(r *x509.CertificateRequest) {
			r.IPAddresses = nil
			for _, ip := range ips {
				r.IPAddresses = append(r.IPAddresses, net.ParseIP(ip))
			}
		}
	}
	dns := func(name string) func(*x509.CertificateRequest) {
		return func(r *x509.CertificateRequest) { r.DNSNames = []string{name} }
	}
	named := func(node, ip string) func(*x509.CertificateRequest) {
		return func(r *x509.CertificateRequest) {
			r.Subject.CommonName, r.DNSNames = "system:node:"+node, []string{node}
			address(ip)(r)
		}
	}
	out := map[string]attack{
		"another provider's agent":                 {rome, with(right)},
		"the administrator":                        {admin, with(right)},
		"somebody with any ServiceAccount":         {stranger, with(right)},
		"whoever says to be the node":              {kubelet, with(right)},
		"another provider's node":                  {milan, with(named("rome", "10.1.0.8"))},
		"an ordinary node":                         {milan, with(named("worker-1", "10.1.0.1"))},
		"a node that there is not":                 {milan, with(named("none", "10.1.0.3"))},
		"an address that is not the node's":        {milan, with(address("10.1.0.66"))},
		"one address too many":                     {milan, with(address("127.0.0.1", "10.1.0.66"))},
		"another provider's address":               {milan, with(address("10.1.0.8"))},
		"the API server's name":                    {milan, with(dns("kubernetes.default.svc"))},
		"everybody's name":                         {milan, with(dns("*"))},
		"an ordinary node's address as its own":    {rome, with(named("rome", "10.1.0.1"))},
		"the API server's Service as its own":      {rome, with(named("rome", p.serviceIP()))},
		"the API server's own address":             {rome, with(named("rome", serverIP))},
		"the address of a cloud's metadata server": {rome, with(named("rome", "169.254.169.254"))},
	}
	for name, bad := range hostile() {
		r := template()
		if bad.template != nil {
			bad.template(r)
		}
		spec := specOf(p.T, r)
		if bad.spec != nil {
			bad.spec(&spec)
		}
		out[name] = attack{milan, spec}
	}
	return out
}

// serviceIP is the address of the Service through which pods find the API server.
func (p *plane) serviceIP() string {
	p.Helper()
	var service corev1.Service
	at := client.ObjectKey{Namespace: metav1.NamespaceDefault, Name: "kubernetes"}
	if err := p.admin.Get(p.Context(), at, &service); err != nil {
		p.Fatal(err)
	}
	return service.Spec.ClusterIP
}

// serverIP is where the API server says that it is. Those of playgrounds say nothing, because they are on loopback.
const serverIP = "192.0.2.10"

func testHostile(p *plane) {
	_, slice := server()
	p.create(slice)
	// Whatever an agent writes into its own Node's status, which it may.
	lies := virtual("rome", "rome-id", "10.1.0.8", "10.1.0.1", p.serviceIP(), serverIP, "169.254.169.254")
	p.address("rome", lies.Status.Addresses)
	attacks := p.attacks()
	if len(attacks) < 30 {
		p.Errorf("only %d attacks", len(attacks))
	}
	made := map[string]string{}
	for name, a := range attacks {
		created, err := p.asks(a.as, a.spec, metav1.CreateOptions{})
		if err != nil { // the API server itself knows that it is wrong
			p.Logf("%s: %v", name, err)
			continue
		}
		made[created] = name
	}
	if len(made) < 20 {
		p.Errorf("only %d attacks came as far as the approver", len(made))
	}
	r := template()
	r.Subject.CommonName, r.DNSNames = "system:node:rome", []string{"rome"}
	r.IPAddresses = []net.IP{net.ParseIP("10.1.0.8")}
	last, err := p.asks(p.agent("rome"), specOf(p.T, r), metav1.CreateOptions{})
	if err != nil {
		p.Fatal(err)
	}
	p.signed(last) // there is one queue, so all before it have been looked at
	var list certificatesv1.CertificateSigningRequestList
	if err := p.admin.List(p.Context(), &list); err != nil {
		p.Fatal(err)
	}
	denied := 0
	for i := range list.Items {
		csr := &list.Items[i]
		name, hostile := made[csr.Name]
		if !hostile {
			continue
		}
		delete(made, csr.Name)
		if len(csr.Status.Certificate) > 0 {
			p.Errorf("%s: has a certificate", name)
		}
		for _, c := range csr.Status.Conditions {
			switch c.Type {
			case certificatesv1.CertificateApproved:
				p.Errorf("%s: approved: %s", name, c.Message)
			case certificatesv1.CertificateDenied:
				denied++
				if strings.TrimSpace(c.Message) == "" {
					p.Errorf("%s: denied without a reason", name)
				}
			default:
			}
		}
	}
	if len(made) > 0 || denied == 0 {
		p.Errorf("%d requests are not there any more, %d were denied", len(made), denied)
	}
}
