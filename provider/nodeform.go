package provider

import (
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// annotationTaints remembers, on a Node, which taints are ours: Kubernetes and users have theirs in the same list.
const annotationTaints = "offloading.liqo.io/taints"

// QuotaPressure is the Node's condition that a quota of the provider has no room for a pod.
const QuotaPressure corev1.NodeConditionType = "offloading.liqo.io/QuotaPressure"

// Reasons of condition [QuotaPressure].
const (
	ReasonQuotaExceeded = "QuotaExceeded"
	ReasonQuotaHasRoom  = "QuotaHasRoom"
)

// form is all that the Node of a VirtualNode follows from. Its methods are pure.
type form struct {
	vn    *v1beta1.VirtualNode
	offer Offer
	// unreachable is why the provider cannot be used; reason goes with it. Empty when it can.
	reason, unreachable string
	// crowded is what the provider says about a pod for which a quota has no room, or empty.
	crowded string
	// free and unfit are the values of AnnotationLargestFree and AnnotationUnfit, or empty; next is when unfit changes
	// by itself, 0 for never.
	free, unfit string
	next        time.Duration
	// leaving: the Node is on its way out, and takes no more pods.
	leaving bool
	ips     []string
	port    int32
	version string
	now     metav1.Time
}

// node is the Node as it is created: with the labels that make it ours for good, and with its taints, so that no pod
// slips onto it before. The rest is applied, or it could not be taken back: what was created has another owner than
// what is applied.
func (f form) node() *corev1.Node {
	labels := map[string]string{}
	for _, key := range []string{v1beta1.LabelNodeType, v1beta1.LabelRemoteClusterID} {
		labels[key] = f.vn.NodeLabels()[key]
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: f.vn.Name, Labels: labels},
		Spec:       corev1.NodeSpec{Taints: f.taints(nil, "")},
	}
}

func (f form) labels() map[string]string {
	labels := f.vn.NodeLabels()
	for key, value := range map[string]string{
		corev1.LabelOSStable: f.offer.OS, corev1.LabelArchStable: f.offer.Arch,
	} {
		if value != "" { // unknown of a Node that leaves before it was complete
			labels[key] = value
		}
	}
	return labels
}

// annotations lets the VirtualNode have its own largest free node: a provider that grows when pods wait has to see
// them.
func (f form) annotations() map[string]string {
	out := map[string]string{}
	keep := func(key, value string) {
		if value != "" {
			out[key] = value
		}
	}
	keep(v1beta1.AnnotationLargestFree, f.free)
	maps.Copy(out, f.vn.Spec.Annotations) // a provider that grows on demand may be declared larger than it is
	keep(annotationTaints, taintKeys(f.ownTaints()))
	keep(v1beta1.AnnotationUnfit, f.unfit)
	return out
}

func (f form) ownTaints() []corev1.Taint {
	own := []corev1.Taint{v1beta1.Taint()}
	if f.leaving {
		own = append(own, v1beta1.TaintLeaving())
	}
	for _, t := range f.vn.Spec.Taints {
		if !slices.ContainsFunc(own, func(has corev1.Taint) bool { return has.MatchTaint(&t) }) {
			own = append(own, t)
		}
	}
	return own
}

// taints returns the list that the Node shall have: those of others as they are, ours as they should be. Had names the
// ones that were ours so far.
func (f form) taints(live []corev1.Taint, had string) []corev1.Taint {
	own := f.ownTaints()
	before := strings.Split(had, ",")
	out := make([]corev1.Taint, 0, len(live)+len(own))
	var present []corev1.Taint
	for _, t := range live {
		i := slices.IndexFunc(own, func(o corev1.Taint) bool { return o.MatchTaint(&t) })
		switch {
		case i >= 0:
			fixed := own[i]
			fixed.TimeAdded = t.TimeAdded
			out, present = append(out, fixed), append(present, fixed)
		case !slices.Contains(before, taintKey(t)):
			out = append(out, t)
		}
	}
	for _, t := range own {
		if !slices.ContainsFunc(present, func(p corev1.Taint) bool { return p.MatchTaint(&t) }) {
			out = append(out, t)
		}
	}
	return out
}

func taintKey(t corev1.Taint) string { return t.Key + ":" + string(t.Effect) }

func taintKeys(taints []corev1.Taint) string {
	var keys []string
	for _, t := range taints {
		keys = append(keys, taintKey(t))
	}
	slices.Sort(keys)
	return strings.Join(keys, ",")
}

// metadata is what we apply to the Node, its status and its taints apart. Whether it is cordoned is for users to say
// unless it leaves; so a cordon of theirs stays, and only our own is taken back. A Node that is being deleted takes no
// new finalizer.
func (f form) metadata(live *corev1.Node) *corev1ac.NodeApplyConfiguration {
	out := corev1ac.Node(f.vn.Name).WithLabels(f.labels()).WithAnnotations(f.annotations())
	if live.DeletionTimestamp == nil || slices.Contains(live.Finalizers, v1beta1.FinalizerNode) {
		out.WithFinalizers(v1beta1.FinalizerNode)
	}
	if f.leaving {
		out.WithSpec(corev1ac.NodeSpec().WithUnschedulable(true))
	}
	return out
}

// status is what we apply to the Node's status. Live is the Node as it is: times change only with what they time.
func (f form) status(live *corev1.Node) *corev1ac.NodeApplyConfiguration {
	s := corev1ac.NodeStatus().
		WithCapacity(f.resources(f.offer.Capacity)).
		WithAllocatable(f.resources(f.offer.Allocatable)).
		WithDaemonEndpoints(corev1ac.NodeDaemonEndpoints().
			WithKubeletEndpoint(corev1ac.DaemonEndpoint().WithPort(f.port))).
		WithNodeInfo(corev1ac.NodeSystemInfo().
			WithKubeletVersion(f.version).WithOperatingSystem(f.offer.OS).WithArchitecture(f.offer.Arch))
	for _, c := range f.conditions() {
		s.WithConditions(f.condition(live, c))
	}
	for _, ip := range f.ips {
		s.WithAddresses(corev1ac.NodeAddress().WithType(corev1.NodeInternalIP).WithAddress(ip))
	}
	s.WithAddresses(corev1ac.NodeAddress().WithType(corev1.NodeHostName).WithAddress(f.vn.Name))
	for _, image := range f.vn.Spec.Images {
		s.WithImages(corev1ac.ContainerImage().WithNames(image.Names...).WithSizeBytes(image.SizeBytes))
	}
	return corev1ac.Node(f.vn.Name).WithStatus(s)
}

// resources puts what the VirtualNode's quota names in place of what the provider's nodes have.
func (f form) resources(offered corev1.ResourceList) corev1.ResourceList {
	out := offered.DeepCopy()
	if out == nil {
		out = corev1.ResourceList{}
	}
	for name, q := range f.vn.Spec.ResourceQuota.Hard {
		if strings.HasPrefix(string(name), "limits.") || strings.HasPrefix(string(name), "count/") {
			continue // of a quota, and of nothing that a node has
		}
		out[corev1.ResourceName(strings.TrimPrefix(string(name), "requests."))] = q
	}
	return out
}

func (f form) conditions() []corev1.NodeCondition {
	ready := corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue,
		Reason: "KubeletReady", Message: "the provider's API server answers",
	}
	if f.unreachable != "" {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, f.reason, f.unreachable
	}
	out := []corev1.NodeCondition{ready, f.quota()}
	for _, c := range []struct {
		of     corev1.NodeConditionType
		reason string
	}{
		{corev1.NodeMemoryPressure, "KubeletHasSufficientMemory"},
		{corev1.NodeDiskPressure, "KubeletHasNoDiskPressure"},
		{corev1.NodePIDPressure, "KubeletHasSufficientPID"},
	} {
		out = append(out, corev1.NodeCondition{
			Type: c.of, Status: corev1.ConditionFalse, Reason: c.reason,
			Message: "the provider's scheduler sees to its nodes",
		})
	}
	return out
}

func (f form) quota() corev1.NodeCondition {
	if f.crowded != "" {
		return corev1.NodeCondition{
			Type: QuotaPressure, Status: corev1.ConditionTrue, Reason: ReasonQuotaExceeded, Message: f.crowded,
		}
	}
	return corev1.NodeCondition{
		Type: QuotaPressure, Status: corev1.ConditionFalse, Reason: ReasonQuotaHasRoom,
		Message: "the provider refuses no pod for a quota",
	}
}

func (f form) condition(live *corev1.Node, c corev1.NodeCondition) *corev1ac.NodeConditionApplyConfiguration {
	changed := f.now
	for _, had := range live.Status.Conditions {
		if had.Type == c.Type && had.Status == c.Status {
			changed = had.LastTransitionTime
		}
	}
	return corev1ac.NodeCondition().WithType(c.Type).WithStatus(c.Status).WithReason(c.Reason).WithMessage(c.Message).
		WithLastTransitionTime(changed).WithLastHeartbeatTime(changed)
}
