package reflection

import (
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/twinspace/twinspace/e2e/build"
)

func TestWhatAPodRefersTo(t *testing.T) {
	ref := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	env := func(name string) []corev1.EnvVar {
		return []corev1.EnvVar{{Name: "A", Value: "a"}, {Name: "B", ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref(name), Key: "k"}}}}
	}
	from := func(name string) []corev1.EnvFromSource {
		return []corev1.EnvFromSource{
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("config")}},
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref(name)}},
		}
	}
	volume := func(v corev1.VolumeSource) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { s.Volumes = []corev1.Volume{{Name: "v", VolumeSource: v}} }
	}
	config := []string{"config"}
	for name, tc := range map[string]struct {
		spec       func(*corev1.PodSpec)
		want, maps []string
	}{
		"nothing": {spec: func(*corev1.PodSpec) {}},
		"a pull secret": {
			func(s *corev1.PodSpec) { s.ImagePullSecrets = []corev1.LocalObjectReference{ref("a"), ref("")} },
			[]string{"a"}, nil,
		},
		"the environment of a container": {
			func(s *corev1.PodSpec) { s.Containers[0].Env, s.Containers[0].EnvFrom = env("a"), from("b") },
			[]string{"a", "b"}, config,
		},
		"the environment of an init container": {
			func(s *corev1.PodSpec) { s.InitContainers = []corev1.Container{{Env: env("a"), EnvFrom: from("b")}} },
			[]string{"a", "b"}, config,
		},
		"the environment of an ephemeral container": {
			func(s *corev1.PodSpec) {
				s.EphemeralContainers = []corev1.EphemeralContainer{{
					EphemeralContainerCommon: corev1.EphemeralContainerCommon{Env: env("a"), EnvFrom: from("b")}}}
			},
			[]string{"a", "b"}, config,
		},
		"a volume": {
			volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "a"}}), []string{"a"}, nil,
		},
		"a projected volume": {
			volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: ref("config")}},
				{Secret: &corev1.SecretProjection{LocalObjectReference: ref("a")}},
				{Secret: &corev1.SecretProjection{LocalObjectReference: ref("b")}},
			}}}), []string{"a", "b"}, config,
		},
		"a CSI volume without": {spec: volume(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}})},
		"a volume of neither":  {spec: volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}})},
	} {
		t.Run(name, func(t *testing.T) {
			pod := build.Pod("web").Spec(tc.spec).Obj()
			if diff := cmp.Diff(sets.New(tc.want...), SecretsOf(&pod.Spec)); diff != "" {
				t.Errorf("Secrets, -want,+got:\n%s", diff)
			}
			if diff := cmp.Diff(sets.New(tc.maps...), ConfigMapsOf(&pod.Spec)); diff != "" {
				t.Errorf("ConfigMaps, -want,+got:\n%s", diff)
			}
		})
	}
}

func TestSecretsOfVolumesByDriver(t *testing.T) {
	a := &corev1.LocalObjectReference{Name: "a"}
	for name, v := range map[string]corev1.VolumeSource{
		"Azure file share":  {AzureFile: &corev1.AzureFileVolumeSource{SecretName: "a"}},
		"CSI":               {CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: a}},
		"Ceph file system":  {CephFS: &corev1.CephFSVolumeSource{SecretRef: a}},
		"Cinder":            {Cinder: &corev1.CinderVolumeSource{SecretRef: a}},
		"flex":              {FlexVolume: &corev1.FlexVolumeSource{SecretRef: a}},
		"iSCSI":             {ISCSI: &corev1.ISCSIVolumeSource{SecretRef: a}},
		"Ceph block device": {RBD: &corev1.RBDVolumeSource{SecretRef: a}},
		"ScaleIO":           {ScaleIO: &corev1.ScaleIOVolumeSource{SecretRef: a}},
		"StorageOS":         {StorageOS: &corev1.StorageOSVolumeSource{SecretRef: a}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: v}}}
			if diff := cmp.Diff(sets.New("a"), SecretsOf(spec)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestSecretsOfAnIngress(t *testing.T) {
	for name, tc := range map[string]struct {
		tls  []networkingv1.IngressTLS
		want []string
	}{
		"no certificate":                {nil, []string{}},
		"the class has the certificate": {[]networkingv1.IngressTLS{{Hosts: []string{"a.example"}}}, []string{}},
		"a certificate":                 {[]networkingv1.IngressTLS{{SecretName: "a"}}, []string{"a"}},
		"a certificate for several, twice": {
			[]networkingv1.IngressTLS{{SecretName: "b"}, {SecretName: "a"}, {SecretName: "b"}}, []string{"a", "b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := ingress(func(i *networkingv1.Ingress) { i.Spec.TLS = tc.tls })
			want := map[string][]string{"secrets": tc.want}
			if diff := cmp.Diff(want, Ingresses(offering()).Refers(src)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

// TestNoFieldOfAPodIsForgotten fails when Kubernetes adds one that names a Secret or a ConfigMap.
func TestNoFieldOfAPodIsForgotten(t *testing.T) {
	for kind, tc := range map[string]struct {
		found   func(*corev1.PodSpec) sets.Set[string]
		atLeast int // or this test does not know a name when it sees one
	}{
		"Secret":    {SecretsOf, 18},
		"ConfigMap": {ConfigMapsOf, 8},
	} {
		t.Run(kind, func(t *testing.T) {
			spec := &corev1.PodSpec{}
			fields := sets.New[string]()
			fillNames(reflect.ValueOf(spec).Elem(), "", kind, fields)
			if len(fields) < tc.atLeast {
				t.Fatalf("want %d fields, got %v", tc.atLeast, sets.List(fields))
			}
			if diff := cmp.Diff(fields, tc.found(spec)); diff != "" {
				t.Errorf("-fields that name a %s,+what was found in them:\n%s", kind, diff)
			}
		})
	}
}

// fillNames sets each field that names an object of a kind to its own path, with one element in each list on the way.
func fillNames(v reflect.Value, path, kind string, found sets.Set[string]) {
	switch v.Kind() {
	case reflect.Pointer:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.New(v.Type().Elem()))
			fillNames(v.Elem(), path, kind, found)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Struct {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fillNames(v.Index(0), path, kind, found)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if field := v.Type().Field(i); field.IsExported() {
				fillNames(v.Field(i), path+"."+field.Name, kind, found)
			}
		}
	case reflect.String:
		if strings.Contains(path, kind) && strings.HasSuffix(path, "Name") {
			v.SetString(path)
			found.Insert(path)
		}
	}
}
