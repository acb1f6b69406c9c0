package provider

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"
)

// runningContainers returns the containers that run in the remote pod and that the home pod has: a provider may say
// much, and nobody at home asked for what it adds.
func runningContainers(pod runningPod) []containerUsage {
	known := containerNames(&pod.home.Spec)
	status := &pod.away.Status
	var out []containerUsage
	for _, c := range slices.Concat(
		status.InitContainerStatuses, status.ContainerStatuses, status.EphemeralContainerStatuses,
	) {
		if c.State.Running == nil || !slices.Contains(known, c.Name) {
			continue
		}
		known = slices.DeleteFunc(known, func(name string) bool { return name == c.Name }) // each is told of once
		started := startOf(status.StartTime, c.State.Running.StartedAt.Time)
		out = append(out, containerUsage{name: c.Name, started: started})
	}
	return out
}

// startOf returns when something started, which is not before its pod did.
func startOf(pod *metav1.Time, own time.Time) time.Time {
	if pod != nil && own.Before(pod.Time) {
		return pod.Time
	}
	return own
}

func containerNames(spec *corev1.PodSpec) []string {
	var out []string
	for _, c := range spec.InitContainers {
		out = append(out, c.Name)
	}
	for _, c := range spec.Containers {
		out = append(out, c.Name)
	}
	for _, c := range spec.EphemeralContainers {
		out = append(out, c.Name)
	}
	return out
}

// readingsOf returns what a provider says of each container of a pod, without what cannot be, and when that was. A
// provider's clock may be ahead of ours, and must not hold a counter until we are there.
func readingsOf(pod metricsv1beta1.PodMetrics, now time.Time) (map[string]reading, time.Time) {
	out := map[string]reading{}
	for _, c := range pod.Containers {
		r := reading{
			cores: c.Usage.Cpu().AsApproximateFloat64(), bytes: c.Usage.Memory().AsApproximateFloat64(),
		}
		if plausible(r.cores, mostCores) && plausible(r.bytes, mostBytes) {
			out[c.Name] = r
		}
	}
	if pod.Timestamp.Time.Before(now) {
		now = pod.Timestamp.Time
	}
	return out, now
}

func plausible(value, most float64) bool { return value >= 0 && value <= most } // which NaN is not
