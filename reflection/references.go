package reflection

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/sets"
)

// certificatesOf returns the names of the Secrets in which an Ingress has its certificates.
func certificatesOf(spec *networkingv1.IngressSpec) []string {
	names := sets.New[string]()
	for _, tls := range spec.TLS {
		names.Insert(tls.SecretName)
	}
	return sets.List(names.Delete(""))
}

// SecretsOf returns the names of all Secrets that a pod refers to: for its images, its environment and its volumes.
func SecretsOf(spec *corev1.PodSpec) sets.Set[string] {
	names := sets.New[string]()
	for _, pull := range spec.ImagePullSecrets {
		names.Insert(pull.Name)
	}
	for i := range spec.InitContainers {
		addEnvironment(names, spec.InitContainers[i].EnvFrom, spec.InitContainers[i].Env)
	}
	for i := range spec.Containers {
		addEnvironment(names, spec.Containers[i].EnvFrom, spec.Containers[i].Env)
	}
	for i := range spec.EphemeralContainers {
		addEnvironment(names, spec.EphemeralContainers[i].EnvFrom, spec.EphemeralContainers[i].Env)
	}
	for i := range spec.Volumes {
		addVolume(names, &spec.Volumes[i].VolumeSource)
	}
	return names.Delete("")
}

func addEnvironment(names sets.Set[string], from []corev1.EnvFromSource, env []corev1.EnvVar) {
	for _, source := range from {
		if source.SecretRef != nil {
			names.Insert(source.SecretRef.Name)
		}
	}
	for _, variable := range env {
		if variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil {
			names.Insert(variable.ValueFrom.SecretKeyRef.Name)
		}
	}
}

func addVolume(names sets.Set[string], v *corev1.VolumeSource) {
	if v.Secret != nil {
		names.Insert(v.Secret.SecretName)
	}
	if v.Projected != nil {
		for _, source := range v.Projected.Sources {
			if source.Secret != nil {
				names.Insert(source.Secret.Name)
			}
		}
	}
	if v.AzureFile != nil {
		names.Insert(v.AzureFile.SecretName)
	}
	for _, ref := range references(v) {
		if ref != nil {
			names.Insert(ref.Name)
		}
	}
}

// references are the fields of type LocalObjectReference by which volumes name Secrets.
func references(v *corev1.VolumeSource) []*corev1.LocalObjectReference {
	var refs []*corev1.LocalObjectReference
	if v.CSI != nil {
		refs = append(refs, v.CSI.NodePublishSecretRef)
	}
	if v.CephFS != nil {
		refs = append(refs, v.CephFS.SecretRef)
	}
	if v.Cinder != nil {
		refs = append(refs, v.Cinder.SecretRef)
	}
	if v.FlexVolume != nil {
		refs = append(refs, v.FlexVolume.SecretRef)
	}
	if v.ISCSI != nil {
		refs = append(refs, v.ISCSI.SecretRef)
	}
	if v.RBD != nil {
		refs = append(refs, v.RBD.SecretRef)
	}
	if v.ScaleIO != nil {
		refs = append(refs, v.ScaleIO.SecretRef)
	}
	if v.StorageOS != nil {
		refs = append(refs, v.StorageOS.SecretRef)
	}
	return refs
}
