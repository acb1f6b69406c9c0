package translate

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Bounds on what a provider may make us store at home.
const (
	maxMessage = 1 << 10
	// maxTermination is the kubelet's own limit of a container's termination message, which programs parse.
	maxTermination = 4 << 10
	maxList        = 64
)

// View is what home knows and the remote pod does not.
type View struct {
	// NodeIPs are the addresses of the virtual Node, at most one per family.
	NodeIPs []string
	// Address returns where home reaches an address of the provider's pods, or false for one that is none of theirs;
	// nil means as it is.
	Address func(away netip.Addr) (home netip.Addr, ok bool)
	// Unreachable is set while the provider cannot be reached: then nobody knows whether the pod is ready.
	Unreachable bool
	// Now is the transition time of conditions that change at home.
	Now metav1.Time
}

// Status returns the home pod's status that follows from the remote pod's. It never goes back: a finished pod stays
// finished, a running one does not become pending, restarts do not fall.
func (v View) Status(home, away *corev1.Pod) corev1.PodStatus {
	out := *home.Status.DeepCopy()
	if Finished(home.Status.Phase) {
		return out
	}
	src := &away.Status
	phase := v.phase(home, away)
	out.Phase = phase
	out.Reason = cut(src.Reason, maxMessage)
	out.Message = cut(src.Message, maxMessage)
	out.ObservedGeneration = home.Generation
	out.HostIPs = hostIPs(v.NodeIPs)
	out.HostIP = first(v.NodeIPs)
	out.PodIPs = v.podIPs(src)
	out.PodIP = ""
	if len(out.PodIPs) > 0 {
		out.PodIP = out.PodIPs[0].IP
	}
	if out.StartTime == nil {
		out.StartTime = src.StartTime.DeepCopy()
	}
	containerStatuses(&out, home, away)
	out.Resize = resize(src.Resize)
	out.AllocatedResources = src.AllocatedResources.DeepCopy()
	out.Resources = src.Resources.DeepCopy()
	v.conditions(&out, home, away)
	if phase == corev1.PodFailed && disrupted(home, away) {
		v.disrupt(&out, "DeletedByProvider", "the provider deleted the remote pod")
	}
	return out
}

// phase follows the remote one forward. A pod that the provider took away has failed, even when its process ended
// politely: a Job must not count it as done.
func (v View) phase(home, away *corev1.Pod) corev1.PodPhase {
	next := away.Status.Phase
	switch {
	case next == corev1.PodSucceeded && disrupted(home, away):
		return corev1.PodFailed
	case Finished(next), next == corev1.PodRunning:
		return next
	case next == corev1.PodPending && home.Status.Phase != corev1.PodRunning:
		return next
	case home.Status.Phase == "":
		return corev1.PodPending
	default:
		return home.Status.Phase
	}
}

// disrupted tells whether the provider deleted the remote pod before its containers were done. That it is being deleted
// says nothing when home deletes it too.
func disrupted(home, away *corev1.Pod) bool {
	if away.DeletionTimestamp == nil || home.DeletionTimestamp != nil {
		return false
	}
	asked := away.DeletionTimestamp.Time
	if g := away.DeletionGracePeriodSeconds; g != nil {
		asked = asked.Add(-seconds(*g))
	}
	for _, c := range away.Status.ContainerStatuses {
		if c.State.Terminated == nil || !c.State.Terminated.FinishedAt.Time.Before(asked) {
			return true
		}
	}
	return len(away.Status.ContainerStatuses) == 0
}

// Finished tells whether a phase is a last one.
func Finished(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }

//nolint:staticcheck // SA1019: deprecated, and still in the type
func resize(r corev1.PodResizeStatus) corev1.PodResizeStatus {
	switch r {
	case corev1.PodResizeStatusDeferred, corev1.PodResizeStatusInfeasible, "InProgress", "Proposed":
		return r
	default:
		return ""
	}
}

func hostIPs(ips []string) []corev1.HostIP {
	var out []corev1.HostIP
	for _, ip := range ips {
		out = append(out, corev1.HostIP{IP: ip})
	}
	return out
}

func first(s []string) string {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// podIPs keeps at most one address of each family, as home reaches it, and none that means something else at home.
func (v View) podIPs(src *corev1.PodStatus) []corev1.PodIP {
	candidates := src.PodIPs
	if len(candidates) == 0 && src.PodIP != "" {
		candidates = []corev1.PodIP{{IP: src.PodIP}}
	}
	var out []corev1.PodIP
	seen := map[int]bool{} // by bits of the family
	for _, c := range candidates {
		ip, ok := v.reached(c.IP)
		if !ok || seen[ip.BitLen()] {
			continue
		}
		seen[ip.BitLen()] = true
		if v.Address != nil {
			c.IP = ip.String()
		}
		out = append(out, corev1.PodIP{IP: c.IP})
	}
	return out
}

// reached returns where home reaches an address that the provider tells.
func (v View) reached(away string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(away)
	if err != nil || !acceptable(ip) {
		return netip.Addr{}, false
	}
	if v.Address == nil {
		return ip, true
	}
	home, ok := v.Address(ip)
	return home, ok && acceptable(home)
}

func acceptable(ip netip.Addr) bool {
	return ip.Zone() == "" && !ip.Is4In6() && ip.IsGlobalUnicast()
}

// cut shortens to at most limit bytes, and to valid UTF-8, which is all that the API server can store.
func cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	const more = "..."
	s = s[:limit-len(more)]
	for !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s + more
}

// Waiting returns the status of a home pod that has no remote pod yet, and says why.
func (v View) Waiting(home *corev1.Pod, reason, message string) corev1.PodStatus {
	out := *home.Status.DeepCopy()
	out.Phase = corev1.PodPending
	out.Reason = cut(reason, maxMessage)
	out.Message = cut(message, maxMessage)
	out.ObservedGeneration = home.Generation
	v.set(&out, home, corev1.PodCondition{
		Type: Offloaded, Status: corev1.ConditionFalse, Reason: reason, Message: out.Message,
	})
	return out
}

// Lost returns the status of a home pod whose remote pod went without home having asked for it: Failed, so that its
// controller replaces it. Last is the remote pod as it was last seen; nil when nobody knows.
func (v View) Lost(home, last *corev1.Pod, reason, message string) corev1.PodStatus {
	if last != nil {
		if out := v.Status(home, last); Finished(out.Phase) {
			return out
		}
		if last.Status.Reason != "" {
			message = fmt.Sprintf("%s: %s: %s", message, last.Status.Reason, last.Status.Message)
		}
	}
	out := v.ended(home, reason, message)
	v.disrupt(&out, reason, message)
	return out
}

// Ended returns the last status of a home pod that is being deleted and whose remote pod is gone.
func (v View) Ended(home, last *corev1.Pod) corev1.PodStatus {
	if Finished(home.Status.Phase) {
		return *home.Status.DeepCopy()
	}
	if last != nil {
		if out := v.Status(home, last); Finished(out.Phase) {
			return out
		}
	}
	return v.ended(home, home.Status.Reason, home.Status.Message)
}

func (v View) ended(home *corev1.Pod, reason, message string) corev1.PodStatus {
	out := *home.Status.DeepCopy()
	out.Phase = corev1.PodFailed
	out.Reason = cut(reason, maxMessage)
	out.Message = cut(message, maxMessage)
	out.ObservedGeneration = home.Generation
	for _, list := range [][]corev1.ContainerStatus{
		out.InitContainerStatuses, out.ContainerStatuses, out.EphemeralContainerStatuses,
	} {
		for i := range list {
			v.end(&list[i])
		}
	}
	for _, t := range []corev1.PodConditionType{corev1.ContainersReady, corev1.PodReady} {
		if slices.ContainsFunc(out.Conditions, func(c corev1.PodCondition) bool { return c.Type == t }) {
			v.set(&out, home, corev1.PodCondition{Type: t, Status: corev1.ConditionFalse, Reason: "PodFailed"})
		}
	}
	return out
}

// end says of a container what a kubelet says when it does not know how it ended.
func (v View) end(c *corev1.ContainerStatus) {
	c.Ready = false
	if c.State.Terminated != nil {
		return
	}
	gone := &corev1.ContainerStateTerminated{
		ExitCode: 137, Reason: "ContainerStatusUnknown",
		Message:     "the container is gone, and how it ended is not known",
		ContainerID: c.ContainerID,
	}
	if c.State.Running != nil {
		gone.StartedAt = c.State.Running.StartedAt
	}
	c.State = corev1.ContainerState{Terminated: gone}
}
