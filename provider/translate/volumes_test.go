package translate_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/provider/translate"
)

// The claim of an ephemeral volume is home's, which is reflected under the same name.
func TestEphemeralVolumesAreTheClaimsOfHome(t *testing.T) {
	home := build.Pod("db-0").Namespace("shop").Claim("data").Spec(func(s *corev1.PodSpec) {
		s.Volumes = append(s.Volumes, corev1.Volume{Name: "scratch", VolumeSource: corev1.VolumeSource{
			Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{}},
		}})
	}).Obj()
	before := home.DeepCopy()
	claims := map[string]string{}
	pod := translate.Target{Origin: "home", Namespace: "shop-home"}.Pod(home)
	for _, v := range pod.Spec.Volumes {
		if v.Ephemeral != nil {
			t.Errorf("volume %s is ephemeral over there, too", v.Name)
		}
		if v.PersistentVolumeClaim != nil {
			claims[v.Name] = v.PersistentVolumeClaim.ClaimName
		}
	}
	if diff := cmp.Diff(map[string]string{"data": "data", "scratch": "db-0-scratch"}, claims); diff != "" {
		t.Errorf("claims (-want,+got):\n%s", diff)
	}
	if diff := cmp.Diff(before, home); diff != "" {
		t.Errorf("the home pod was changed (-before,+after):\n%s", diff)
	}
}
