package translate

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// accessVolumePrefix begins the name of the volume by which home's admission mounts the ServiceAccount's token.
const accessVolumePrefix = "kube-api-access-"

// identify makes the remote pod who the home pod asks to be. Unless it asks for the provider's own API server, no
// identity of the provider gets into it, and what it is told about itself and its cluster is home's truth.
func (t Target) identify(s *corev1.PodSpec, home *corev1.Pod) {
	support := t.Access.Support(home)
	s.ServiceAccountName, s.DeprecatedServiceAccount = "", ""
	if support == v1beta1.APIServerSupportRemote {
		s.ServiceAccountName = home.Annotations[v1beta1.AnnotationRemoteServiceAccount]
		dropInjected(s) // the provider's admission adds its own
		dropSources(s, certifies)
		return
	}
	s.AutomountServiceAccountToken = ptr.To(false)
	if support == v1beta1.APIServerSupportHome {
		mountTokens(s, home.UID)
		t.Access.point(s)
	} else {
		dropInjected(s)
	}
	dropSources(s, identifies)
	tellHome(s, t.Origin)
}

// dropInjected removes the volume that home's admission added, with its mounts.
func dropInjected(s *corev1.PodSpec) {
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
}

// dropSources removes sources of projected volumes. An empty volume stays, so that what else is mounted into it works.
func dropSources(s *corev1.PodSpec, which func(corev1.VolumeProjection) bool) {
	for _, v := range s.Volumes {
		if v.Projected != nil {
			v.Projected.Sources = slices.DeleteFunc(v.Projected.Sources, which)
		}
	}
}

func isInjected(v corev1.Volume) bool {
	return strings.HasPrefix(v.Name, accessVolumePrefix) && v.Projected != nil &&
		slices.ContainsFunc(v.Projected.Sources, identifies)
}

func identifies(s corev1.VolumeProjection) bool { return s.ServiceAccountToken != nil || certifies(s) }

// certifies tells sources that only home's own signers and bundles could fill.
func certifies(s corev1.VolumeProjection) bool {
	return s.ClusterTrustBundle != nil || s.PodCertificate != nil
}
