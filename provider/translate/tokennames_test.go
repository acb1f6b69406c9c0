package translate

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestAPodThatNamesASecretWithTokensIsRefused(t *testing.T) {
	const theirs = "liqo-token-uid-2"
	ref := corev1.LocalObjectReference{Name: theirs}
	env := []corev1.EnvVar{{Name: "T", ValueFrom: &corev1.EnvVarSource{
		SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref}}}}
	volume := func(v corev1.VolumeSource) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "own"}, {Name: "v", VolumeSource: v}} }
	}
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		free   bool
	}{
		"a pod that names none": {func(*corev1.Pod) {}, true},
		"another Secret": {
			volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "my-liqo-token-x"}}), true,
		},
		"a volume": {volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: theirs}}), false},
		"its own, which it need not name": {
			volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: TokenSecret("uid-1")}}), false,
		},
		"a part of a volume": {volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
			Sources: []corev1.VolumeProjection{{}, {Secret: &corev1.SecretProjection{LocalObjectReference: ref}}},
		}}), false},
		"a variable": {func(p *corev1.Pod) { p.Spec.Containers[0].Env = env }, false},
		"all variables": {func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{EnvFrom: []corev1.EnvFromSource{
				{}, {SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}}}
		}, false},
		"the credential for an image": {func(p *corev1.Pod) {
			p.Spec.ImagePullSecrets = []corev1.LocalObjectReference{ref}
		}, false},
		"the credential for a share": {
			volume(corev1.VolumeSource{AzureFile: &corev1.AzureFileVolumeSource{SecretName: theirs}}), false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := target(nil).Refusal(pod(tc.change))
			if (got == "") != tc.free || !tc.free && !strings.Contains(got, "hold the tokens of other pods") {
				t.Errorf("refusal is %q", got)
			}
		})
	}
}

// Kubernetes may add a way to name a Secret: the types tell, so that none is forgotten.
func TestEveryVolumeThatNamesASecretIsLookedAt(t *testing.T) {
	source := reflect.TypeFor[corev1.VolumeSource]()
	elsewhere := []string{"SecretNamespace", "SecretFile"} // names of something else
	found := 0
	for i := range source.NumField() {
		kind := source.Field(i).Type.Elem()
		for j := range kind.NumField() {
			field := kind.Field(j)
			if !strings.Contains(field.Name, "Secret") || slices.Contains(elsewhere, field.Name) {
				continue
			}
			var v corev1.VolumeSource
			driver := reflect.New(kind)
			switch at := driver.Elem().Field(j); {
			case at.Kind() == reflect.String:
				at.SetString("here")
			case at.Type() == reflect.TypeFor[*corev1.LocalObjectReference]():
				at.Set(reflect.ValueOf(&corev1.LocalObjectReference{Name: "here"}))
			default:
				t.Fatalf("%s.%s is of a type that nobody knows", kind, field.Name)
			}
			reflect.ValueOf(&v).Elem().Field(i).Set(driver)
			found++
			if diff := cmp.Diff([]string{"here"}, volumeSecrets(&v)); diff != "" {
				t.Errorf("%s.%s (-want,+got):\n%s", kind, field.Name, diff)
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d fields name a Secret", found)
	}
}

func TestAContainerThatComesLaterGetsNoToken(t *testing.T) {
	ref := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	from := func(name string) corev1.EnvFromSource {
		return corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref(name)}}
	}
	env := func(name string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{
			SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref(name)}}}
	}
	home := pod(func(p *corev1.Pod) {
		debug := corev1.EphemeralContainer{}
		debug.Name = "debug"
		debug.Env = []corev1.EnvVar{{Name: "A", Value: "a"}, env("liqo-token-uid-2"), env("password")}
		debug.EnvFrom = []corev1.EnvFromSource{from("liqo-token-uid-2"), from("password")}
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{debug}
	})
	got := target(nil).EphemeralContainers(home)[0]
	if diff := cmp.Diff([]corev1.EnvVar{{Name: "A", Value: "a"}, env("password")}, got.Env); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if diff := cmp.Diff([]corev1.EnvFromSource{from("password")}, got.EnvFrom); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if len(home.Spec.EphemeralContainers[0].Env) != 3 || len(home.Spec.EphemeralContainers[0].EnvFrom) != 2 {
		t.Error("the home pod was changed")
	}
}
