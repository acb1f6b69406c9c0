// Package translate turns a home pod into its remote pod, and the remote pod's status into the home pod's.
//
// It is pure: the same input gives the same output, nothing is read and nothing is written. fields.go says for every
// field of the two types what becomes of it, and a test fails on a field that it does not mention. A remote pod never
// has a privilege that its home pod has not, and whatever a provider answers, home's status stays within bounds.
package translate

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Target is where a remote pod goes, and through which virtual Node.
type Target struct {
	// Origin and Destination are the ids of the home cluster and of the provider.
	Origin, Destination string
	// Node is the name of the virtual Node.
	Node string
	// Namespace is the twin.
	Namespace string
	// Patch is the VirtualNode's; nil means none.
	Patch *v1beta1.OffloadingPatch
	// Access is how the pod reaches an API server.
	Access Access
}

// Pod returns the remote pod of a home pod, as it is created. It shares nothing with it.
func (t Target) Pod(home *corev1.Pod) *corev1.Pod {
	patch := ptr.Deref(t.Patch, v1beta1.OffloadingPatch{})
	pod := &corev1.Pod{ObjectMeta: t.metadata(home, patch), Spec: t.spec(home, patch)}
	pod.Spec.EphemeralContainers = nil
	return pod
}

func (t Target) metadata(home *corev1.Pod, patch v1beta1.OffloadingPatch) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: home.Name, Namespace: t.Namespace,
		Labels: t.labels(home, patch), Annotations: annotations(home, patch),
	}
}

// EphemeralContainers returns those of the remote pod, which the API takes only through their subresource, once the pod
// exists.
func (t Target) EphemeralContainers(home *corev1.Pod) []corev1.EphemeralContainer {
	out := t.spec(home, ptr.Deref(t.Patch, v1beta1.OffloadingPatch{})).EphemeralContainers
	leaveTokens(out)
	return out
}

// Refusal returns what is wrong with what a home pod asks of us, in a sentence for its user, or "".
func (t Target) Refusal(home *corev1.Pod) string {
	if why := refuseAntiAffinity(home); why != "" {
		return why
	}
	if why := refuseTokens(home); why != "" {
		return why
	}
	return t.Access.refuse(home)
}

// HomeUID returns the UID of the home pod that a remote pod belongs to, or "" when it is not one of the target's
// origin.
func HomeUID(away *corev1.Pod, origin string) string {
	if away.Labels[v1beta1.LabelOrigin] != origin {
		return ""
	}
	return away.Annotations[v1beta1.AnnotationHomeUID]
}

func (t Target) labels(home *corev1.Pod, patch v1beta1.OffloadingPatch) map[string]string {
	labels := without(home.Labels, patch.LabelsNotReflected)
	labels[v1beta1.LabelOrigin] = t.Origin
	labels[v1beta1.LabelDestination] = t.Destination
	labels[v1beta1.LabelNodeName] = t.Node
	return labels
}

func annotations(home *corev1.Pod, patch v1beta1.OffloadingPatch) map[string]string {
	out := without(home.Annotations, patch.AnnotationsNotReflected)
	delete(out, corev1.LastAppliedConfigAnnotation) // would double the pod, and be untrue
	out[v1beta1.AnnotationHomeUID] = string(home.UID)
	out[v1beta1.AnnotationHomeNamespace] = home.Namespace
	out[v1beta1.AnnotationHomeServiceAccount] = home.Spec.ServiceAccountName
	return out
}

// without returns a copy of m, never nil, that lacks the keys.
func without(m map[string]string, keys []string) map[string]string {
	out := maps.Clone(m)
	if out == nil {
		out = map[string]string{}
	}
	maps.DeleteFunc(out, func(key, _ string) bool { return slices.Contains(keys, key) })
	return out
}

// spec begins with a copy, so that a field which a newer API version adds is carried and not lost in silence.
func (t Target) spec(home *corev1.Pod, patch v1beta1.OffloadingPatch) corev1.PodSpec {
	s := *home.Spec.DeepCopy()
	leaveSchedulingAtHome(&s)
	followPatch(&s, patch)
	s.Tolerations = tolerations(home, patch)
	keepApart(&s, home, patch)
	s.RuntimeClassName = runtimeClass(home, patch)
	s.Overhead = nil
	t.identify(&s, home)
	keepClaims(&s, home)
	leaveHostNamespaces(&s)
	s.ReadinessGates = nil
	return s
}

func leaveSchedulingAtHome(s *corev1.PodSpec) {
	s.NodeName = ""
	s.NodeSelector = nil
	s.Affinity = nil
	s.SchedulerName = ""
	s.SchedulingGates = nil
	s.WorkloadRef = nil
	s.Priority = nil
	s.PriorityClassName = ""
	s.PreemptionPolicy = nil
	s.TopologySpreadConstraints = wishes(s.TopologySpreadConstraints)
}

// wishes turns constraints into preferences: whether they can be met is up to the provider's nodes. There may be one of
// each key, and the one that was a preference already is what the user meant as such.
func wishes(constraints []corev1.TopologySpreadConstraint) []corev1.TopologySpreadConstraint {
	var out []corev1.TopologySpreadConstraint
	at := map[string]int{}
	for _, c := range constraints {
		preference := c.WhenUnsatisfiable == corev1.ScheduleAnyway
		c.WhenUnsatisfiable = corev1.ScheduleAnyway
		c.MinDomains = nil     // allowed only with DoNotSchedule
		c.MatchLabelKeys = nil // home's API server has merged them into the selector
		i, taken := at[c.TopologyKey]
		switch {
		case !taken:
			at[c.TopologyKey] = len(out)
			out = append(out, c)
		case preference:
			out[i] = c
		}
	}
	return out
}

// tolerations returns those of the home pod that the provider's taints may be meant by, and those of the patch.
func tolerations(home *corev1.Pod, patch v1beta1.OffloadingPatch) []corev1.Toleration {
	var out []corev1.Toleration
	for _, t := range home.Spec.Tolerations {
		if !ofHome(t) {
			out = append(out, *t.DeepCopy())
		}
	}
	for _, t := range patch.Tolerations {
		if !slices.ContainsFunc(out, func(has corev1.Toleration) bool { return has.MatchToleration(&t) }) {
			out = append(out, *t.DeepCopy())
		}
	}
	return out
}

// ofHome tells tolerations that mean nothing to a provider, or too much: one without a key tolerates whatever taint the
// provider has.
func ofHome(t corev1.Toleration) bool {
	switch t.Key {
	case "", v1beta1.TaintKey:
		return true
	case corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable:
		// Written by home's admission; the provider's writes its own. Another number of seconds is the user's.
		return t.Operator == corev1.TolerationOpExists && t.Effect == corev1.TaintEffectNoExecute &&
			ptr.Deref(t.TolerationSeconds, 0) == 300
	default:
		return false
	}
}

func followPatch(s *corev1.PodSpec, patch v1beta1.OffloadingPatch) {
	s.NodeSelector = maps.Clone(patch.NodeSelector)
	if patch.Affinity != nil && patch.Affinity.NodeAffinity != nil {
		s.Affinity = &corev1.Affinity{NodeAffinity: patch.Affinity.NodeAffinity.DeepCopy()}
	}
}

func runtimeClass(home *corev1.Pod, patch v1beta1.OffloadingPatch) *string {
	for _, name := range []string{
		home.Annotations[v1beta1.AnnotationRemoteRuntimeClass],
		ptr.Deref(home.Spec.RuntimeClassName, ""),
		ptr.Deref(patch.RuntimeClassName, ""),
	} {
		if name != "" && name != v1beta1.RuntimeClass {
			return ptr.To(name)
		}
	}
	return nil
}

// leaveHostNamespaces also clears the host ports that the API server set on every container port because of
// hostNetwork; those that a user chose are the provider's to judge.
func leaveHostNamespaces(s *corev1.PodSpec) {
	if s.HostNetwork {
		eachContainer(s, func(c *corev1.Container) {
			for i := range c.Ports {
				c.Ports[i].HostPort = 0
			}
		})
	}
	s.HostNetwork = false
	s.HostPID = false
	s.HostIPC = false
}

// eachContainer also visits ephemeral containers, which Kubernetes keeps convertible to ordinary ones.
func eachContainer(s *corev1.PodSpec, f func(*corev1.Container)) {
	for i := range s.InitContainers {
		f(&s.InitContainers[i])
	}
	for i := range s.Containers {
		f(&s.Containers[i])
	}
	for i := range s.EphemeralContainers {
		f((*corev1.Container)(&s.EphemeralContainers[i].EphemeralContainerCommon))
	}
}
