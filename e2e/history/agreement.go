package history

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// PodsDiffer says in what a home pod shows something else than its remote pod, or "". Whether they are being deleted is
// left aside, and networks are taken to be flat.
func PodsDiffer(home, away *corev1.Pod) string {
	h, a := &home.Status, &away.Status
	switch {
	case home.Labels[v1beta1.LabelRemoteUnavailable] != "":
		return "home says that the provider cannot be reached"
	case order(h.Phase) == last && order(a.Phase) != last:
		return fmt.Sprintf("home is %s, and the remote pod still %s", h.Phase, a.Phase)
	case order(h.Phase) == last:
		return "" // nothing changes any more
	case h.Phase != a.Phase:
		return fmt.Sprintf("home is %s, the remote pod %s", h.Phase, a.Phase)
	case isReady(a) != isReady(h) && len(home.Spec.ReadinessGates) == 0:
		return fmt.Sprintf("home is ready: %t, the remote pod: %t", isReady(h), isReady(a))
	case !slices.Equal(addresses(h), addresses(a)):
		return fmt.Sprintf("home has the addresses %v, the remote pod %v", addresses(h), addresses(a))
	}
	return containersDiffer(containers(h), containers(a))
}

func isReady(s *corev1.PodStatus) bool {
	return slices.ContainsFunc(s.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

func addresses(s *corev1.PodStatus) []string {
	var out []string
	for _, ip := range s.PodIPs {
		out = append(out, ip.IP)
	}
	return out
}

func containersDiffer(home, away []corev1.ContainerStatus) string {
	for _, want := range away {
		i := slices.IndexFunc(home, func(c corev1.ContainerStatus) bool { return c.Name == want.Name })
		switch {
		case i < 0:
			return fmt.Sprintf("home does not know container %s", want.Name)
		case home[i].RestartCount != want.RestartCount:
			return fmt.Sprintf("container %s was restarted %d times, and home says %d", want.Name, want.RestartCount,
				home[i].RestartCount)
		case digest(home[i]) != digest(want) || home[i].Ready != want.Ready:
			return fmt.Sprintf("container %s is in another state than home says", want.Name)
		}
	}
	return ""
}

// ConfigMapsDiffer says in what a copy is another one than home has, or "".
func ConfigMapsDiffer(home, away *corev1.ConfigMap) string {
	if !maps.Equal(home.Data, away.Data) || !equality.Semantic.DeepEqual(home.BinaryData, away.BinaryData) {
		return "the copy has other data"
	}
	return ""
}

// secretsDiffer compares hashes, which is all that a record has.
func secretsDiffer(home, away *corev1.Secret) string {
	if !equality.Semantic.DeepEqual(home.Data, away.Data) || home.Type != away.Type {
		return "the copy has other data"
	}
	return ""
}

// ServicesDiffer says in what a copy is another one than home has, but for what is each cluster's own, or "".
func ServicesDiffer(home, away *corev1.Service) string {
	h, a := &home.Spec, &away.Spec
	switch {
	case h.Type != a.Type:
		return fmt.Sprintf("the copy is of type %s, not %s", a.Type, h.Type)
	case !maps.Equal(h.Selector, a.Selector):
		return "the copy selects other pods"
	case h.ExternalName != a.ExternalName:
		return fmt.Sprintf("the copy is for %s, not %s", a.ExternalName, h.ExternalName)
	case (h.ClusterIP == corev1.ClusterIPNone) != (a.ClusterIP == corev1.ClusterIPNone):
		return "one of the two is headless"
	case !slices.Equal(ports(h), ports(a)):
		return fmt.Sprintf("the copy has ports %v, not %v", ports(a), ports(h))
	}
	return ""
}

func ports(s *corev1.ServiceSpec) []string {
	var out []string
	for _, p := range s.Ports {
		out = append(out, fmt.Sprintf("%s %s %d %s", p.Name, p.Protocol, p.Port, p.TargetPort.String()))
	}
	slices.Sort(out)
	return out
}

// endpointsDiffer compares the endpoints of one Service in two clusters: each address once, and ready in both or in
// none. How they are divided into slices is each cluster's own.
func endpointsDiffer(home, away []discoveryv1.EndpointSlice) string {
	want, have := endpoints(home), endpoints(away)
	var wrong []string
	for _, address := range slices.Sorted(maps.Keys(union(want, have))) {
		if w, h := strings.Join(want[address], " and "), strings.Join(have[address], " and "); w != h {
			wrong = append(wrong, fmt.Sprintf("%s is %s there, and %s at home", address, orNone(h), orNone(w)))
		}
	}
	return strings.Join(wrong, "; ")
}

func orNone(s string) string {
	if s == "" {
		return "missing"
	}
	return s
}

// endpoints returns what is said of each address, once for each time that it is listed.
func endpoints(slicesOfOne []discoveryv1.EndpointSlice) map[string][]string {
	out := map[string][]string{}
	for _, slice := range slicesOfOne {
		for _, e := range slice.Endpoints {
			state := "ready"
			if !ptr.Deref(e.Conditions.Ready, true) {
				state = "not ready"
			}
			for _, address := range e.Addresses {
				out[address] = append(out[address], state)
			}
		}
	}
	return out
}

func union(a, b map[string][]string) map[string][]string {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}
