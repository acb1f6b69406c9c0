package provider

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
)

// An API server deletes a pod in two steps: it notes that there is no time left, then it takes the pod away. When
// whoever asked dies in between, the request ends with the connection, and the pod stays as it is until somebody asks
// again.

// halfDeleted tells whether only the second step is missing. Nothing but finalizers may hold such a pod.
func halfDeleted(pod *corev1.Pod) bool {
	return pod != nil && pod.DeletionTimestamp != nil && ptr.Deref(pod.DeletionGracePeriodSeconds, 1) == 0 &&
		len(pod.Finalizers) == 0
}

// stalled tells whether that has been so for longer than a server takes, or than a watch is late.
func stalled(pod *corev1.Pod, c clock.PassiveClock) bool {
	return halfDeleted(pod) && c.Since(pod.DeletionTimestamp.Time) >= lateWatch
}

// unstall looks again at what has ended well while a pod is half deleted.
func unstall(w *work, err error) error {
	if err == nil && (halfDeleted(w.home) || halfDeleted(w.away)) {
		return again{after: lateWatch + time.Second} // deletion timestamps are whole seconds
	}
	return err
}
