package translate

import corev1 "k8s.io/api/core/v1"

// keepClaims turns ephemeral volumes into the claims that home has made for them, which are reflected like any other:
// the provider would make others, of a class of its own and with the remote pod as their owner.
func keepClaims(s *corev1.PodSpec, home *corev1.Pod) {
	for i := range s.Volumes {
		if v := &s.Volumes[i]; v.Ephemeral != nil {
			v.VolumeSource = corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{
				ClaimName: home.Name + "-" + v.Name,
			}}
		}
	}
}
