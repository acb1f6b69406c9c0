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

// baggage is the names of what a pod refers to.
type baggage struct{ secrets, configMaps sets.Set[string] }

// SecretsOf returns the names of all Secrets that a pod refers to: for its images, its environment and its volumes.
func SecretsOf(spec *corev1.PodSpec) sets.Set[string] { return baggageOf(spec).secrets }

// ConfigMapsOf returns the names of all ConfigMaps that a pod refers to: for its environment and its volumes.
func ConfigMapsOf(spec *corev1.PodSpec) sets.Set[string] { return baggageOf(spec).configMaps }

func baggageOf(spec *corev1.PodSpec) baggage {
	b := baggage{secrets: sets.New[string](), configMaps: sets.New[string]()}
	for _, pull := range spec.ImagePullSecrets {
		b.secrets.Insert(pull.Name)
	}
	for i := range spec.InitContainers {
		b.environment(spec.InitContainers[i].EnvFrom, spec.InitContainers[i].Env)
	}
	for i := range spec.Containers {
		b.environment(spec.Containers[i].EnvFrom, spec.Containers[i].Env)
	}
	for i := range spec.EphemeralContainers {
		b.environment(spec.EphemeralContainers[i].EnvFrom, spec.EphemeralContainers[i].Env)
	}
	for i := range spec.Volumes {
		b.volume(&spec.Volumes[i].VolumeSource)
	}
	b.secrets.Delete("")
	b.configMaps.Delete("")
	return b
}

func (b baggage) environment(from []corev1.EnvFromSource, env []corev1.EnvVar) {
	for _, source := range from {
		if source.SecretRef != nil {
			b.secrets.Insert(source.SecretRef.Name)
		}
		if source.ConfigMapRef != nil {
			b.configMaps.Insert(source.ConfigMapRef.Name)
		}
	}
	for _, variable := range env {
		if variable.ValueFrom == nil {
			continue
		}
		if ref := variable.ValueFrom.SecretKeyRef; ref != nil {
			b.secrets.Insert(ref.Name)
		}
		if ref := variable.ValueFrom.ConfigMapKeyRef; ref != nil {
			b.configMaps.Insert(ref.Name)
		}
	}
}

func (b baggage) volume(v *corev1.VolumeSource) {
	if v.Secret != nil {
		b.secrets.Insert(v.Secret.SecretName)
	}
	if v.ConfigMap != nil {
		b.configMaps.Insert(v.ConfigMap.Name)
	}
	if v.Projected != nil {
		for i := range v.Projected.Sources {
			b.projection(&v.Projected.Sources[i])
		}
	}
	if v.AzureFile != nil {
		b.secrets.Insert(v.AzureFile.SecretName)
	}
	for _, ref := range references(v) {
		if ref != nil {
			b.secrets.Insert(ref.Name)
		}
	}
}

func (b baggage) projection(p *corev1.VolumeProjection) {
	if p.Secret != nil {
		b.secrets.Insert(p.Secret.Name)
	}
	if p.ConfigMap != nil {
		b.configMaps.Insert(p.ConfigMap.Name)
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
