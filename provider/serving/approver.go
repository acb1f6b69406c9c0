package serving

import (
	"context"
	"fmt"
	"net/netip"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// reason stands in the condition by which a request is approved or denied.
const reason = "VirtualNodeServingCertificate"

// Approver approves the serving certificates that agents ask for their own virtual Nodes. What is not an agent's is
// nobody's business here: it is left to whoever approves for kubelets.
type Approver struct {
	// Home reads requests, VirtualNodes and virtual Nodes from caches.
	Home client.Client
	// Live reads what is needed only when there is something to approve.
	Live    client.Reader
	Clock   clock.PassiveClock
	Metrics *ApproverMetrics
}

// CacheOptions returns which requests a manager's cache needs for an [Approver].
func CacheOptions() map[client.Object]cache.ByObject {
	return map[client.Object]cache.ByObject{
		&certificatesv1.CertificateSigningRequest{}: {
			Field: fields.OneTermEqualSelector("spec.signerName", certificatesv1.KubeletServingSignerName),
		},
	}
}

// SetupWithManager runs the reconciler in a manager, on its leader.
func (a *Approver) SetupWithManager(mgr manager.Manager) error {
	waiting := handler.EnqueueRequestsFromMapFunc(a.waiting)
	return builder.ControllerManagedBy(mgr).Named("serving-approvals").
		For(&certificatesv1.CertificateSigningRequest{}).
		Watches(&v1beta1.VirtualNode{}, waiting).
		Watches(&corev1.Node{}, waiting).
		Complete(a)
}

// waiting returns the requests that may be right now that something of their Node has changed.
func (a *Approver) waiting(ctx context.Context, node client.Object) []reconcile.Request {
	var list certificatesv1.CertificateSigningRequestList
	if err := a.Home.List(ctx, &list); err != nil {
		log.FromContext(ctx).Error(err, "Cannot list certificate signing requests")
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		csr := &list.Items[i]
		if _, ours := requesterOf(csr); !ours || decided(csr) {
			continue
		}
		if id, err := parse(&csr.Spec); err == nil && id.node == node.GetName() {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(csr)})
		}
	}
	return out
}

// Reconcile decides about one request.
func (a *Approver) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var csr certificatesv1.CertificateSigningRequest
	if err := a.Home.Get(ctx, request.NamespacedName, &csr); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	provider, ours := requesterOf(&csr)
	if !ours || csr.Spec.SignerName != certificatesv1.KubeletServingSignerName || decided(&csr) {
		return reconcile.Result{}, nil
	}
	id, err := parse(&csr.Spec)
	if err != nil {
		return reconcile.Result{}, a.answer(ctx, &csr, denied, err.Error())
	}
	known, err := a.facts(ctx, provider, id.node)
	if err != nil {
		return reconcile.Result{}, err
	}
	what, why := decide(id, known)
	if what == pending {
		log.FromContext(ctx).Info("Waiting with the approval of a serving certificate", "why", why)
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, a.answer(ctx, &csr, what, why)
}

// answer writes the decision down, which is for good.
func (a *Approver) answer(
	ctx context.Context, csr *certificatesv1.CertificateSigningRequest, is answer, why string,
) error {
	condition := certificatesv1.CertificateSigningRequestCondition{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: reason, Message: why,
		LastUpdateTime: metav1.NewTime(a.Clock.Now()),
	}
	if is == denied {
		condition.Type = certificatesv1.CertificateDenied
	}
	csr.Status.Conditions = append(csr.Status.Conditions, condition)
	if err := a.Home.SubResource("approval").Update(ctx, csr); err != nil {
		return fmt.Errorf("write that certificate signing request %s is %s: %w", csr.Name, is, err)
	}
	a.Metrics.answered(is)
	log.FromContext(ctx).Info("Decided about a serving certificate", "answer", string(is), "why", why)
	return nil
}

func (a *Approver) facts(ctx context.Context, provider, name string) (facts, error) {
	f := facts{provider: provider, others: map[netip.Addr]string{}}
	vn, node := &v1beta1.VirtualNode{}, &corev1.Node{}
	at := types.NamespacedName{Namespace: v1beta1.TenantNamespace(provider), Name: name}
	switch err := a.Home.Get(ctx, at, vn); {
	case err == nil:
		f.virtualNode = vn
	case client.IgnoreNotFound(err) != nil:
		return f, fmt.Errorf("read VirtualNode %s: %w", at, err)
	}
	switch err := a.Home.Get(ctx, types.NamespacedName{Name: name}, node); {
	case err == nil:
		f.node = node
	case client.IgnoreNotFound(err) != nil:
		return f, fmt.Errorf("read Node %s: %w", name, err)
	}
	if f.virtualNode == nil || f.node == nil {
		return f, nil // nothing will be approved, so nothing more needs to be known
	}
	return f, a.reservedAddresses(ctx, &f)
}

// reservedAddresses reads whose addresses no virtual Node may have.
func (a *Approver) reservedAddresses(ctx context.Context, f *facts) error {
	var nodes corev1.NodeList
	if err := a.Live.List(ctx, &nodes); err != nil {
		return fmt.Errorf("list Nodes: %w", err)
	}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		if node.Labels[v1beta1.LabelNodeType] == v1beta1.NodeTypeVirtual {
			continue
		}
		for _, ip := range identityOf(node).ips {
			f.others[ip] = "node " + node.Name
		}
	}
	if err := a.serverAddresses(ctx, f); err != nil {
		return err
	}
	var ranges networkingv1.ServiceCIDRList
	if err := a.Live.List(ctx, &ranges); err != nil && !meta.IsNoMatchError(err) { // clusters before 1.33 have none
		return fmt.Errorf("list ServiceCIDRs: %w", err)
	}
	for _, r := range ranges.Items {
		for _, cidr := range r.Spec.CIDRs {
			if prefix, err := netip.ParsePrefix(cidr); err == nil {
				f.services = append(f.services, prefix)
			}
		}
	}
	return nil
}

// serverAddresses reads where the API server is: at its Service, which is in no ServiceCIDR of a cluster that has none
// of these objects, and behind it, which need not be a node.
func (a *Approver) serverAddresses(ctx context.Context, f *facts) error {
	const server = "the API server"
	at := types.NamespacedName{Namespace: metav1.NamespaceDefault, Name: "kubernetes"}
	var service corev1.Service
	if err := a.Live.Get(ctx, at, &service); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read Service %s: %w", at, err)
	}
	var slice discoveryv1.EndpointSlice
	if err := a.Live.Get(ctx, at, &slice); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read EndpointSlice %s: %w", at, err)
	}
	all := append([]string{service.Spec.ClusterIP}, service.Spec.ClusterIPs...)
	for _, endpoint := range slice.Endpoints {
		all = append(all, endpoint.Addresses...)
	}
	for _, address := range all {
		if ip, err := netip.ParseAddr(address); err == nil {
			f.others[ip.Unmap()] = server
		}
	}
	return nil
}
