package reflection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// fakeVolumes are the home volumes of a test.
type fakeVolumes struct {
	pv    *corev1.PersistentVolume
	class string
	stay  string
}

func (v fakeVolumes) Stay(*corev1.PersistentVolumeClaim) string { return v.stay }
func (v fakeVolumes) VolumeOf(*corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	return v.pv
}
func (v fakeVolumes) Class(*corev1.PersistentVolumeClaim) string { return v.class }
func (v fakeVolumes) Kept(string, string) (string, error)        { return "kept", nil }
func (v fakeVolumes) OnChange(func(namespace, name string))      {}

func TestCopiesOfClaims(t *testing.T) {
	retain := build.Volume("pvc-1", "provider-1")
	retain.Spec.PersistentVolumeReclaimPolicy = corev1.PersistentVolumeReclaimRetain
	marks := map[string]string{v1beta1.LabelOrigin: "home", v1beta1.LabelDestination: "provider-1"}
	there := build.Claim("data").Namespace("shop-home").UID("there").Class("slow").Bound("theirs").
		Annotation(v1beta1.AnnotationSelectedNode, "their-node").
		Annotation(v1beta1.AnnotationStorageProvisioner, "csi.example.com")
	for name, test := range map[string]struct {
		home *build.ClaimBuilder
		have *build.ClaimBuilder
		want *build.ClaimBuilder
	}{
		"a new one has the class of the provider, the size of home, and none of home's notes": {
			home: build.Claim("data").UID("c1").Label("app", "db").Annotation("note", "x").Size("2Gi").
				Placed("provider-1").
				Bound("pvc-1").Annotation(v1beta1.AnnotationBoundByController, "yes").
				Annotation(v1beta1.AnnotationRemoteStorageClass, "fast").
				Annotation("volume.beta.kubernetes.io/storage-class", "not-offered").
				Annotation(v1beta1.AnnotationVolumeRefused, "{}"),
			have: build.Claim("data").Namespace("shop-home").Spec(func(s *corev1.PersistentVolumeClaimSpec) {
				*s = corev1.PersistentVolumeClaimSpec{}
			}),
			want: build.Claim("data").Namespace("shop-home").Label("app", "db").Annotation("note", "x").Class("fast").
				Size("2Gi"),
		},
		"one that is there keeps what the provider has made of it": {
			home: build.Claim("data").UID("c1").Placed("provider-1").Bound("pvc-1"), have: there, want: there,
		},
		"one that is there grows": {
			home: build.Claim("data").UID("c1").Size("5Gi").Placed("provider-1").Bound("pvc-1"), have: there,
			want: build.Claim("data").Namespace("shop-home").UID("there").Class("slow").Bound("theirs").Size("5Gi").
				Annotation(v1beta1.AnnotationSelectedNode, "their-node").
				Annotation(v1beta1.AnnotationStorageProvisioner, "csi.example.com"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			home, got, want := test.home.Obj(), test.have.Obj(), test.want.Obj()
			stamp(got, home, "home", "provider-1")
			PersistentVolumeClaims(fakeVolumes{pv: retain, class: "fast"}).Mirror(got, home)
			for key, value := range marks {
				if got.Labels[key] != value {
					t.Errorf("label %s is %q", key, got.Labels[key])
				}
				delete(got.Labels, key)
			}
			for key, value := range map[string]string{
				v1beta1.AnnotationHomeUID: "c1", v1beta1.AnnotationReclaimPolicy: "Retain",
			} {
				if got.Annotations[key] != value {
					t.Errorf("annotation %s is %q", key, got.Annotations[key])
				}
				delete(got.Annotations, key)
			}
			if len(want.Annotations) == 0 {
				want.Annotations = map[string]string{}
			}
			if diff := cmp.Diff(want.Annotations, got.Annotations); diff != "" {
				t.Errorf("annotations (-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff(want.Spec, got.Spec); diff != "" {
				t.Errorf("spec (-want,+got):\n%s", diff)
			}
		})
	}
}

func TestNoAnnotationBringsAClaimToAProviderWithoutItsData(t *testing.T) {
	kind := mirror(PersistentVolumeClaims(fakeVolumes{stay: "its volume nfs is not on this provider"}))
	if got := kind.never(build.Claim("data").Obj()); got != "its volume nfs is not on this provider" {
		t.Errorf("forced, it stays because %q", got)
	}
	if got, err := kind.kept("shop", "data"); got != "kept" || err != nil {
		t.Errorf("its copy is kept because %q, %v", got, err)
	}
	home, away := build.Claim("data").Bound("pvc-1").Obj(), build.Claim("data").Size("3Gi").Bound("x").Obj()
	kind.feedback(home, away)
	if got := home.Status.Capacity[corev1.ResourceStorage]; got.String() != "3Gi" {
		t.Errorf("home says %s", got.String())
	}
}

func TestWithoutVolumesNoClaimsAreReflected(t *testing.T) {
	for volumes, want := range map[Volumes]bool{nil: false, fakeVolumes{}: true} {
		got := false
		for _, kind := range Kinds(Facts{Volumes: volumes}) {
			got = got || kind.Resource() == "persistentvolumeclaims"
		}
		if got != want {
			t.Errorf("reflected: %v, want %v", got, want)
		}
	}
}
