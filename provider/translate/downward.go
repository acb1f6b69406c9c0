package translate

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Truth says whose truth a remote pod is told.
type Truth string

// Whose.
const (
	HomesTruth     Truth = "home's"
	ProvidersTruth Truth = "the provider's"
	SameTruth      Truth = "the same on both"
)

// Downward is what becomes of a field of the downward API.
type Downward struct {
	Truth Truth
	// Path is the field of the remote pod that is read instead; empty when it is the same one.
	Path string
	// Why says more.
	Why string
}

// DownwardFields says for every field that the downward API offers, in variables and in volumes, what a remote pod is
// told. A fieldRef cannot be given another namespace or name, so home's truth is put into labels and annotations of the
// remote pod and read from there. Pods that ask for the provider's API server are told the provider's truth throughout.
func DownwardFields() map[string]Downward {
	return map[string]Downward{
		"metadata.name": {SameTruth, "", "a remote pod has its home pod's name"},
		"metadata.namespace": {HomesTruth, annotation(v1beta1.AnnotationHomeNamespace),
			"the twin may have another name"},
		"metadata.uid": {HomesTruth, annotation(v1beta1.AnnotationHomeUID), ""},
		"metadata.labels": {HomesTruth, "",
			"with our three; without those that the VirtualNode keeps at home"},
		"metadata.labels['KEY']": {HomesTruth, "", "as metadata.labels"},
		"metadata.annotations": {HomesTruth, "",
			"with our three; without those that the VirtualNode keeps at home"},
		"metadata.annotations['KEY']": {HomesTruth, "", "as metadata.annotations"},
		"spec.nodeName": {HomesTruth, "metadata.labels['" + v1beta1.LabelNodeName + "']",
			"the virtual node; the name that spec.host, which is older, means too"},
		"spec.serviceAccountName": {HomesTruth, annotation(v1beta1.AnnotationHomeServiceAccount),
			"the remote pod itself has none"},
		"status.podIP":   {ProvidersTruth, "", "what the pod can bind to"},
		"status.podIPs":  {ProvidersTruth, "", "what the pod can bind to"},
		"status.hostIP":  {ProvidersTruth, "", "where agents of the provider's node listen"},
		"status.hostIPs": {ProvidersTruth, "", "where agents of the provider's node listen"},
		"resourceFieldRef": {ProvidersTruth, "",
			"limits and requests are carried; without a limit it is what the provider's node has"},
	}
}

func annotation(key string) string { return "metadata.annotations['" + key + "']" }

// tellHome makes the downward API, and the certificate authority of the cluster, home's.
func tellHome(s *corev1.PodSpec, origin string) {
	fields := DownwardFields()
	eachFieldRef(s, func(f *corev1.ObjectFieldSelector) {
		path := f.FieldPath
		if path == "spec.host" {
			path = "spec.nodeName"
		}
		if other := fields[path].Path; other != "" {
			f.FieldPath = other
		}
	})
	eachConfigMap(s, func(name *string) {
		if *name == rootCA {
			*name = RootCA(origin)
		}
	})
}

// rootCA is the ConfigMap that every cluster publishes, with its own certificate authority, in every namespace.
const rootCA = "kube-root-ca.crt"

// RootCA is the name under which home's ConfigMap kube-root-ca.crt is reflected.
func RootCA(origin string) string { return rootCA + "." + origin }

// eachFieldRef visits the fields that variables and volumes show.
func eachFieldRef(s *corev1.PodSpec, f func(*corev1.ObjectFieldSelector)) {
	eachContainer(s, func(c *corev1.Container) {
		for _, v := range c.Env {
			if v.ValueFrom != nil && v.ValueFrom.FieldRef != nil {
				f(v.ValueFrom.FieldRef)
			}
		}
	})
	files := func(items []corev1.DownwardAPIVolumeFile) {
		for _, item := range items {
			if item.FieldRef != nil {
				f(item.FieldRef)
			}
		}
	}
	for _, v := range s.Volumes {
		if v.DownwardAPI != nil {
			files(v.DownwardAPI.Items)
		}
		eachSource(v, func(p *corev1.VolumeProjection) {
			if p.DownwardAPI != nil {
				files(p.DownwardAPI.Items)
			}
		})
	}
}

// eachConfigMap visits the names of the ConfigMaps that variables and volumes show.
func eachConfigMap(s *corev1.PodSpec, f func(name *string)) {
	eachContainer(s, func(c *corev1.Container) {
		for _, v := range c.Env {
			if v.ValueFrom != nil && v.ValueFrom.ConfigMapKeyRef != nil {
				f(&v.ValueFrom.ConfigMapKeyRef.Name)
			}
		}
		for _, from := range c.EnvFrom {
			if from.ConfigMapRef != nil {
				f(&from.ConfigMapRef.Name)
			}
		}
	})
	for _, v := range s.Volumes {
		if v.ConfigMap != nil {
			f(&v.ConfigMap.Name)
		}
		eachSource(v, func(p *corev1.VolumeProjection) {
			if p.ConfigMap != nil {
				f(&p.ConfigMap.Name)
			}
		})
	}
}

func eachSource(v corev1.Volume, f func(*corev1.VolumeProjection)) {
	if v.Projected == nil {
		return
	}
	for i := range v.Projected.Sources {
		f(&v.Projected.Sources[i])
	}
}
