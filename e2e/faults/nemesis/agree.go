package nemesis

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/history"
)

// View is what one cluster has, as far as home and providers must agree about it.
type View struct {
	Cluster    string
	Nodes      []corev1.Node
	Namespaces []corev1.Namespace
	Maps       []v1beta1.NamespaceMap
	Pods       []corev1.Pod
	ConfigMaps []corev1.ConfigMap
	Services   []corev1.Service
}

// Disagreements compares home with the providers. It is cheap and forgives nothing: who asks decides what is new and
// what is old.
func Disagreements(home View, away []View) []Complaint {
	var out []Complaint
	for _, provider := range away {
		p := pairOf(home, provider)
		for _, rule := range []func() []Complaint{p.node, p.twins, p.orphanTwins, p.pods, p.orphanPods, p.copies} {
			out = append(out, rule()...)
		}
	}
	return out
}

// pair is home and one provider.
type pair struct {
	home, away View
	// twins are the names of the twins that home wants, by home namespace; accepted are those that it knows of.
	wanted, accepted map[string]string
	homeSpaces       map[string]corev1.Namespace
	awaySpaces       map[string]corev1.Namespace
}

func pairOf(home, away View) pair {
	p := pair{
		home: home, away: away, wanted: map[string]string{}, accepted: map[string]string{},
		homeSpaces: byName(home.Namespaces), awaySpaces: byName(away.Namespaces),
	}
	for _, m := range home.Maps {
		if m.Name != away.Cluster {
			continue
		}
		maps.Copy(p.wanted, m.Spec.DesiredMapping)
		for ns, current := range m.Status.CurrentMapping {
			if current.Phase == v1beta1.MappingAccepted && p.wanted[ns] == current.RemoteNamespace {
				p.accepted[ns] = current.RemoteNamespace
			}
		}
	}
	return p
}

func byName(list []corev1.Namespace) map[string]corev1.Namespace {
	out := map[string]corev1.Namespace{}
	for _, ns := range list {
		out[ns.Name] = ns
	}
	return out
}

func (p pair) complain(kind, name, format string, args ...any) Complaint {
	return Complaint{p.away.Cluster + ": " + kind + " " + name, fmt.Sprintf(format, args...)}
}

// node is whether the provider's virtual nodes are there and ready.
func (p pair) node() []Complaint {
	var out []Complaint
	found := false
	for i := range p.home.Nodes {
		node := &p.home.Nodes[i]
		if node.Labels[v1beta1.LabelRemoteClusterID] != p.away.Cluster {
			continue
		}
		found = true
		if node.DeletionTimestamp != nil {
			out = append(out, p.complain("node", node.Name, "is being deleted"))
		}
		ready := slices.IndexFunc(node.Status.Conditions, func(c corev1.NodeCondition) bool {
			return c.Type == corev1.NodeReady
		})
		if ready < 0 || node.Status.Conditions[ready].Status != corev1.ConditionTrue {
			out = append(out, p.complain("node", node.Name, "is not ready"))
		}
		for _, taint := range node.Spec.Taints {
			if taint.Key == corev1.TaintNodeNotReady || taint.Key == corev1.TaintNodeUnreachable {
				out = append(out, p.complain("taint of node", node.Name, "is still %s", taint.Key))
			}
		}
	}
	if !found {
		out = append(out, p.complain("node", p.away.Cluster, "is missing"))
	}
	return out
}

// twins is whether each namespace that is wanted on the provider is there, is that of this very namespace, and is known
// of at home.
func (p pair) twins() []Complaint {
	var out []Complaint
	for ns, twin := range p.wanted {
		home, offloaded := p.homeSpaces[ns]
		away, there := p.awaySpaces[twin]
		switch {
		case !offloaded || home.DeletionTimestamp != nil:
			out = append(out, p.complain("mapping of", ns, "is wanted still, and the namespace is gone or on its way"))
		case !there:
			out = append(out, p.complain("twin", twin, "is missing"))
		case away.DeletionTimestamp != nil:
			out = append(out, p.complain("twin", twin, "is being deleted"))
		case away.Annotations[v1beta1.AnnotationTwinHomeUID] != string(home.UID):
			out = append(out, p.complain("twin", twin, "is that of an earlier namespace"))
		case p.accepted[ns] != twin:
			out = append(out, p.complain("twin", twin, "is there, and home does not know"))
		}
	}
	return out
}

// orphanTwins is whether the provider has twins of ours that nobody wants. How long one takes to go that is being
// deleted is up to the provider.
func (p pair) orphanTwins() []Complaint {
	var out []Complaint
	for _, ns := range p.away.Namespaces {
		home, ours := ns.Annotations[v1beta1.AnnotationTwinHomeName]
		ours = ours && ns.Annotations[v1beta1.AnnotationTwinOrigin] == p.home.Cluster && ns.DeletionTimestamp == nil
		if ours && p.wanted[home] != ns.Name {
			out = append(out, p.complain("twin", ns.Name, "is wanted by nobody"))
		}
	}
	return out
}

func finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// remotes are the provider's pods by the UID of their home pods.
func (p pair) remotes() map[types.UID]*corev1.Pod {
	out := map[types.UID]*corev1.Pod{}
	for i := range p.away.Pods {
		if uid := p.away.Pods[i].Annotations[v1beta1.AnnotationHomeUID]; uid != "" {
			out[types.UID(uid)] = &p.away.Pods[i]
		}
	}
	return out
}

// pods is whether each home pod on the provider's nodes is there, in the same state.
func (p pair) pods() []Complaint {
	var out []Complaint
	nodes := map[string]bool{}
	for i := range p.home.Nodes {
		nodes[p.home.Nodes[i].Name] = p.home.Nodes[i].Labels[v1beta1.LabelRemoteClusterID] == p.away.Cluster
	}
	remotes := p.remotes()
	for i := range p.home.Pods {
		pod := &p.home.Pods[i]
		if !nodes[pod.Spec.NodeName] {
			continue
		}
		if says := p.differs(pod, remotes[pod.UID]); says != "" {
			about := fmt.Sprintf("%s/%s (%s)", pod.Namespace, pod.Name, pod.UID)
			out = append(out, p.complain("pod", about, "%s", says))
		}
	}
	return out
}

// forbidden is what a home pod says that policy came to forbid before there was a remote pod.
const forbidden = "OffloadingBackOff"

// differs says what a home pod and its remote pod disagree about.
func (p pair) differs(home, away *corev1.Pod) string {
	_, mapped := p.accepted[home.Namespace]
	switch {
	case away == nil && home.DeletionTimestamp != nil:
		return "is being deleted, and nothing of it is left on the provider"
	case away == nil && (finished(home) || !mapped && home.Status.Reason != "" || home.Status.Reason == forbidden):
		return ""
	case away == nil:
		return fmt.Sprintf("is %s and has no remote pod: %s %s", home.Status.Phase, home.Status.Reason,
			home.Status.Message)
	}
	return statusesDiffer(home, away)
}

// statusesDiffer says what a home pod and the remote pod that it has disagree about.
func statusesDiffer(home, away *corev1.Pod) string {
	switch {
	case (home.DeletionTimestamp == nil) != (away.DeletionTimestamp == nil):
		return "is being deleted on one side only"
	case home.DeletionTimestamp != nil:
		return ""
	default:
		return history.PodsDiffer(home, away)
	}
}

// orphanPods is whether each pod of ours on the provider has its home pod.
func (p pair) orphanPods() []Complaint {
	homes := map[types.UID]bool{}
	for i := range p.home.Pods {
		homes[p.home.Pods[i].UID] = true
	}
	var out []Complaint
	for uid, pod := range p.remotes() {
		if !homes[uid] && pod.Labels[v1beta1.LabelOrigin] == p.home.Cluster {
			out = append(out, p.complain("remote pod", pod.Namespace+"/"+pod.Name, "has no home pod (%s)", uid))
		}
	}
	return out
}

// copies is whether ConfigMaps and Services of offloaded namespaces are in their twins as they are at home, and nothing
// is that is gone.
func (p pair) copies() []Complaint {
	return append(
		copiesOf(p, "ConfigMap", p.home.ConfigMaps, p.away.ConfigMaps, history.ConfigMapsDiffer),
		copiesOf(p, "Service", p.home.Services, p.away.Services, history.ServicesDiffer)...)
}

// object is a pointer to a T that has metadata.
type object[T any] interface {
	*T
	metav1.Object
}

// copiesOf is copies for one kind.
func copiesOf[T any, P object[T]](p pair, kind string, home, away []T, differ func(src, dst P) string) []Complaint {
	there := map[string]P{}
	for i := range away {
		dst := P(&away[i])
		there[dst.GetNamespace()+"/"+dst.GetName()] = dst
	}
	var out []Complaint
	for i := range home {
		src := P(&home[i])
		twin, reflected := p.accepted[src.GetNamespace()]
		if !reflected || src.GetName() == rootCA || stays(src) {
			continue
		}
		key := twin + "/" + src.GetName()
		dst := there[key]
		delete(there, key)
		says := "is missing"
		if dst != nil {
			says = differ(src, dst)
		}
		if says != "" {
			out = append(out, p.complain("copy of "+kind, src.GetNamespace()+"/"+src.GetName(), "%s", says))
		}
	}
	for key, dst := range there {
		if p.leftover(dst) {
			out = append(out, p.complain("copy of "+kind, key, "is there, and nothing at home is"))
		}
	}
	return out
}

// rootCA is in every namespace of every cluster; the copy of home's has another name.
const rootCA = "kube-root-ca.crt"

func stays(src metav1.Object) bool {
	skip, set := src.GetAnnotations()[v1beta1.AnnotationSkipReflection]
	return set && skip != "false" || src.GetDeletionTimestamp() != nil
}

// leftover says whether an object of the provider is a copy of ours that should be gone, or on its way with its twin.
func (p pair) leftover(dst metav1.Object) bool {
	_, ours := dst.GetAnnotations()[v1beta1.AnnotationHomeUID]
	twin := p.awaySpaces[dst.GetNamespace()]
	return ours && twin.DeletionTimestamp == nil && dst.GetDeletionTimestamp() == nil &&
		dst.GetLabels()[v1beta1.LabelOrigin] == p.home.Cluster && !strings.HasPrefix(dst.GetName(), rootCA)
}
