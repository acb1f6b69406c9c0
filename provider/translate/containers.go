package translate

import (
	corev1 "k8s.io/api/core/v1"
)

// final tells of each container that home knows whether it ends for good.
type final map[string]bool

func containerStatuses(out *corev1.PodStatus, home, away *corev1.Pod) {
	src, had := &away.Status, &home.Status
	never := home.Spec.RestartPolicy == corev1.RestartPolicyNever
	out.InitContainerStatuses = statuses(finals(home.Spec.InitContainers, never), had.InitContainerStatuses,
		src.InitContainerStatuses)
	out.ContainerStatuses = statuses(finals(home.Spec.Containers, never), had.ContainerStatuses, src.ContainerStatuses)
	ephemeral := final{}
	for _, c := range home.Spec.EphemeralContainers {
		ephemeral[c.Name] = true
	}
	out.EphemeralContainerStatuses = statuses(ephemeral, had.EphemeralContainerStatuses, src.EphemeralContainerStatuses)
}

// finals leaves out containers with a restart policy of their own, such as sidecars.
func finals(containers []corev1.Container, never bool) final {
	out := final{}
	for _, c := range containers {
		out[c.Name] = never && c.RestartPolicy == nil && len(c.RestartPolicyRules) == 0
	}
	return out
}

// statuses keeps those of known containers, each once. A container that ended for good does not run again, and one that
// home knows of does not vanish because the provider, for once, does not mention it.
func statuses(known final, had, src []corev1.ContainerStatus) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for i := range src {
		name := src[i].Name
		ends, ok := known[name]
		if !ok || status(out, name) != nil {
			continue
		}
		c := bounded(src[i])
		if old := status(had, name); old != nil {
			if old.RestartCount > c.RestartCount || ends && old.State.Terminated != nil && c.State.Terminated == nil {
				c = *old.DeepCopy()
			}
		}
		out = append(out, c)
	}
	return append(out, unmentioned(known, had, out)...)
}

// unmentioned returns the statuses of known containers that out lacks.
func unmentioned(known final, had, out []corev1.ContainerStatus) []corev1.ContainerStatus {
	var rest []corev1.ContainerStatus
	for i := range had {
		if _, ok := known[had[i].Name]; ok && status(out, had[i].Name) == nil {
			rest = append(rest, *had[i].DeepCopy())
		}
	}
	return rest
}

func status(list []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

func bounded(src corev1.ContainerStatus) corev1.ContainerStatus {
	c := *src.DeepCopy()
	for _, s := range []*string{&c.Image, &c.ImageID, &c.ContainerID} {
		*s = cut(*s, maxMessage)
	}
	for _, s := range []*corev1.ContainerState{&c.State, &c.LastTerminationState} {
		if w := s.Waiting; w != nil {
			w.Reason, w.Message = cut(w.Reason, maxMessage), cut(w.Message, maxMessage)
		}
		if t := s.Terminated; t != nil {
			t.Reason, t.Message = cut(t.Reason, maxMessage), cut(t.Message, maxTermination)
			t.ContainerID = cut(t.ContainerID, maxMessage)
		}
	}
	c.RestartCount = max(c.RestartCount, 0)
	c.VolumeMounts = atMost(c.VolumeMounts)
	c.AllocatedResourcesStatus = atMost(c.AllocatedResourcesStatus)
	return c
}

func atMost[T any](list []T) []T { return list[:min(len(list), maxList)] }
