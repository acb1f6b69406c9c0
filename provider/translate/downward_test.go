package translate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func field(name, path string) corev1.EnvVar {
	return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
		FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
}

func file(path string) corev1.DownwardAPIVolumeFile {
	return corev1.DownwardAPIVolumeFile{Path: path, FieldRef: &corev1.ObjectFieldSelector{
		APIVersion: "v1", FieldPath: path}}
}

func TestTheDownwardAPITellsHomesTruth(t *testing.T) {
	for path, want := range map[string]string{
		"metadata.name":               "metadata.name",
		"metadata.namespace":          "metadata.annotations['offloading.liqo.io/home-namespace']",
		"metadata.uid":                "metadata.annotations['offloading.liqo.io/home-uid']",
		"metadata.labels":             "metadata.labels",
		"metadata.labels['app']":      "metadata.labels['app']",
		"metadata.annotations":        "metadata.annotations",
		"metadata.annotations['a/b']": "metadata.annotations['a/b']",
		"spec.nodeName":               "metadata.labels['offloading.liqo.io/nodename']",
		"spec.host":                   "metadata.labels['offloading.liqo.io/nodename']",
		"spec.serviceAccountName":     "metadata.annotations['offloading.liqo.io/home-service-account']",
		"status.hostIP":               "status.hostIP",
		"status.hostIPs":              "status.hostIPs",
		"status.podIP":                "status.podIP",
		"status.podIPs":               "status.podIPs",
		"spec.unheardOf":              "spec.unheardOf", // the provider says what it thinks of it
	} {
		t.Run(path, func(t *testing.T) {
			home := pod(func(p *corev1.Pod) {
				env := []corev1.EnvVar{{Name: "V", Value: "v"}, field("F", path)}
				p.Spec.InitContainers = []corev1.Container{{Name: "init", Env: env}}
				p.Spec.Containers[0].Env = env
				p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
					EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Env: env}}}
				p.Spec.Volumes = []corev1.Volume{
					{VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{
						Items: []corev1.DownwardAPIVolumeFile{{Path: "cpu"}, file(path)}}}},
					{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
						Sources: []corev1.VolumeProjection{{DownwardAPI: &corev1.DownwardAPIProjection{
							Items: []corev1.DownwardAPIVolumeFile{file(path)}}}}}}},
				}
			})
			s := target(nil).Pod(home).Spec
			for where, got := range map[string]*corev1.ObjectFieldSelector{
				"init container":      s.InitContainers[0].Env[1].ValueFrom.FieldRef,
				"container":           s.Containers[0].Env[1].ValueFrom.FieldRef,
				"ephemeral container": target(nil).EphemeralContainers(home)[0].Env[1].ValueFrom.FieldRef,
				"volume":              s.Volumes[0].DownwardAPI.Items[1].FieldRef,
				"projected volume":    s.Volumes[1].Projected.Sources[0].DownwardAPI.Items[0].FieldRef,
			} {
				if got.FieldPath != want {
					t.Errorf("%s: want %s, got %s", where, want, got.FieldPath)
				}
			}
		})
	}
}

// What the paths lead to is there.
func TestWhatIsReadInsteadIsWritten(t *testing.T) {
	home := pod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "builder" })
	away := target(nil).Pod(home)
	told := map[string]string{}
	for key, value := range away.Annotations {
		told["metadata.annotations['"+key+"']"] = value
	}
	for key, value := range away.Labels {
		told["metadata.labels['"+key+"']"] = value
	}
	got := map[string]string{}
	for name, f := range DownwardFields() {
		if f.Path != "" {
			got[name] = told[f.Path]
		}
		if (f.Truth == HomesTruth || f.Truth == ProvidersTruth) && f.Path == "" && f.Why == "" {
			t.Errorf("%s is %s, and nobody says why", name, f.Truth)
		}
	}
	want := map[string]string{
		"metadata.namespace": "shop", "metadata.uid": "uid-1", "spec.nodeName": "vn-1",
		"spec.serviceAccountName": "builder",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestTheCertificateAuthorityIsHomes(t *testing.T) {
	for name, want := range map[string]string{"kube-root-ca.crt": "kube-root-ca.crt.home", "settings": "settings"} {
		t.Run(name, func(t *testing.T) {
			ref := corev1.LocalObjectReference{Name: name}
			home := pod(func(p *corev1.Pod) {
				p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{
					ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref, Key: "k"}}}}
				p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{
					{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref}},
					{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}},
				}
				p.Spec.Volumes = []corev1.Volume{
					{VolumeSource: corev1.VolumeSource{
						ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: ref}}},
					{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
						Sources: []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{
							LocalObjectReference: ref}}}}}},
				}
			})
			s := target(nil).Pod(home).Spec
			c := s.Containers[0]
			for where, got := range map[string]string{
				"variable":         c.Env[0].ValueFrom.ConfigMapKeyRef.Name,
				"variables":        c.EnvFrom[0].ConfigMapRef.Name,
				"volume":           s.Volumes[0].ConfigMap.Name,
				"projected volume": s.Volumes[1].Projected.Sources[0].ConfigMap.Name,
			} {
				if got != want {
					t.Errorf("%s: want %s, got %s", where, want, got)
				}
			}
			if got := c.EnvFrom[1].SecretRef.Name; got != name {
				t.Errorf("a Secret of that name became %s", got)
			}
		})
	}
}
