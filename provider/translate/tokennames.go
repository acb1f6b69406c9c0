package translate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// refuseTokens refuses a pod that names a Secret with tokens itself: it would be another pod's, whose ServiceAccount
// may do more. The pod's own Secret is mounted where its volumes ask for a token.
func refuseTokens(home *corev1.Pod) string {
	for _, name := range secretNames(&home.Spec) {
		if ofTokens(name) {
			return fmt.Sprintf("the pod names Secret %s: Secrets %s* hold the tokens of other pods, and none may name "+
				"them", name, tokenPrefix)
		}
	}
	return ""
}

func ofTokens(secret string) bool { return strings.HasPrefix(secret, tokenPrefix) }

// leaveTokens keeps Secrets with tokens out of the environment of containers that come when the pod is there already,
// and so is not refused.
func leaveTokens(containers []corev1.EphemeralContainer) {
	for i := range containers {
		c := &containers[i]
		c.EnvFrom = slices.DeleteFunc(c.EnvFrom, func(from corev1.EnvFromSource) bool {
			return from.SecretRef != nil && ofTokens(from.SecretRef.Name)
		})
		c.Env = slices.DeleteFunc(c.Env, func(v corev1.EnvVar) bool {
			return v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil && ofTokens(v.ValueFrom.SecretKeyRef.Name)
		})
	}
}

// secretNames returns the Secrets that a pod refers to, in the order of its fields.
func secretNames(s *corev1.PodSpec) []string {
	var names []string
	for i := range s.Volumes {
		names = append(names, volumeSecrets(&s.Volumes[i].VolumeSource)...)
	}
	eachContainer(s, func(c *corev1.Container) {
		for _, from := range c.EnvFrom {
			if from.SecretRef != nil {
				names = append(names, from.SecretRef.Name)
			}
		}
		for _, v := range c.Env {
			if v.ValueFrom != nil && v.ValueFrom.SecretKeyRef != nil {
				names = append(names, v.ValueFrom.SecretKeyRef.Name)
			}
		}
	})
	for _, pull := range s.ImagePullSecrets {
		names = append(names, pull.Name)
	}
	return names
}

func volumeSecrets(v *corev1.VolumeSource) []string {
	var names []string
	if v.Secret != nil {
		names = append(names, v.Secret.SecretName)
	}
	if v.Projected != nil {
		for _, source := range v.Projected.Sources {
			if source.Secret != nil {
				names = append(names, source.Secret.Name)
			}
		}
	}
	if v.AzureFile != nil {
		names = append(names, v.AzureFile.SecretName)
	}
	for _, ref := range driverSecrets(v) {
		if ref != nil {
			names = append(names, ref.Name)
		}
	}
	return names
}

// driverSecrets are the Secrets that volumes hand to what mounts them.
func driverSecrets(v *corev1.VolumeSource) []*corev1.LocalObjectReference {
	var refs []*corev1.LocalObjectReference
	add := func(ref *corev1.LocalObjectReference) { refs = append(refs, ref) }
	if v.CSI != nil {
		add(v.CSI.NodePublishSecretRef)
	}
	if v.CephFS != nil {
		add(v.CephFS.SecretRef)
	}
	if v.Cinder != nil {
		add(v.Cinder.SecretRef)
	}
	if v.FlexVolume != nil {
		add(v.FlexVolume.SecretRef)
	}
	if v.ISCSI != nil {
		add(v.ISCSI.SecretRef)
	}
	if v.RBD != nil {
		add(v.RBD.SecretRef)
	}
	if v.ScaleIO != nil {
		add(v.ScaleIO.SecretRef)
	}
	if v.StorageOS != nil {
		add(v.StorageOS.SecretRef)
	}
	return refs
}
