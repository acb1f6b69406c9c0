package translate

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// accessVolumePrefix begins the name of the volume by which home's admission mounts the ServiceAccount's token.
const accessVolumePrefix = "kube-api-access-"

// leaveIdentityAtHome removes everything by which the remote pod would get an identity: over there it would be another
// one, of the provider.
func leaveIdentityAtHome(s *corev1.PodSpec) {
	s.ServiceAccountName = ""
	s.DeprecatedServiceAccount = ""
	s.AutomountServiceAccountToken = ptr.To(false)

	var injected []string
	s.Volumes = slices.DeleteFunc(s.Volumes, func(v corev1.Volume) bool {
		if !isInjected(v) {
			return false
		}
		injected = append(injected, v.Name)
		return true
	})
	eachContainer(s, func(c *corev1.Container) {
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
			return slices.Contains(injected, m.Name)
		})
	})
	for _, v := range s.Volumes {
		if v.Projected != nil {
			// An empty volume stays, so that what else is mounted into it still works.
			v.Projected.Sources = slices.DeleteFunc(v.Projected.Sources, identifies)
		}
	}
}

func isInjected(v corev1.Volume) bool {
	return strings.HasPrefix(v.Name, accessVolumePrefix) && v.Projected != nil &&
		slices.ContainsFunc(v.Projected.Sources, identifies)
}

func identifies(s corev1.VolumeProjection) bool {
	return s.ServiceAccountToken != nil || s.ClusterTrustBundle != nil || s.PodCertificate != nil
}
