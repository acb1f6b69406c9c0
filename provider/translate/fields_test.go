package translate

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func TestEveryFieldIsInItsTable(t *testing.T) {
	for name, tc := range map[string]struct {
		of    reflect.Type
		table map[string]Field
	}{
		"PodSpec":   {reflect.TypeFor[corev1.PodSpec](), PodSpecFields()},
		"PodStatus": {reflect.TypeFor[corev1.PodStatus](), PodStatusFields()},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range tc.of.NumField() {
				field := tc.of.Field(i).Name
				line, ok := tc.table[field]
				if !ok {
					t.Errorf("%s.%s is new: decide what becomes of it, and say so in fields.go", name, field)
				}
				if line.Treatment != Carried && line.Why == "" {
					t.Errorf("%s.%s is %s and nobody says why", name, field, line.Treatment)
				}
				delete(tc.table, field)
			}
			for field := range tc.table {
				t.Errorf("%s.%s is in the table and not in the type", name, field)
			}
		})
	}
}

// The table is documentation; this is what makes it true.
func TestSpecTableIsTrue(t *testing.T) {
	home := &corev1.Pod{}
	fill(reflect.ValueOf(&home.Spec).Elem(), 6)
	// What is translated only in some cases is one here; pod_test.go has the others.
	home.Spec.Tolerations = append(home.Spec.Tolerations, v1beta1.Toleration())
	home.Spec.RuntimeClassName = ptr.To(v1beta1.RuntimeClass)
	home.Spec.Volumes = append(home.Spec.Volumes, corev1.Volume{Name: "t", VolumeSource: corev1.VolumeSource{
		Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{
			ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}}}}})
	away := target(nil).Pod(home)
	for field, line := range PodSpecFields() {
		had := reflect.ValueOf(home.Spec).FieldByName(field)
		got := reflect.ValueOf(away.Spec).FieldByName(field)
		switch line.Treatment {
		case Carried:
			if !reflect.DeepEqual(had.Interface(), got.Interface()) || got.IsZero() {
				t.Errorf("%s should be carried: %v became %v", field, had, got)
			}
		case Dropped:
			if !got.IsZero() {
				t.Errorf("%s should be dropped, is %v", field, got)
			}
		case Translated:
			if reflect.DeepEqual(had.Interface(), got.Interface()) {
				t.Errorf("%s should be translated, and arrives as it was: %v", field, got)
			}
		default:
			t.Errorf("%s: a spec has no field that is %s", field, line.Treatment)
		}
	}
}

func TestStatusTableIsTrue(t *testing.T) {
	home, away := &corev1.Pod{}, &corev1.Pod{}
	fill(reflect.ValueOf(&away.Status).Elem(), 6)
	away.Status.Phase = corev1.PodRunning
	away.Status.Resize = corev1.PodResizeStatusDeferred
	home.Status = *away.Status.DeepCopy()
	home.Status.Phase = corev1.PodPending
	home.Status.QOSClass = corev1.PodQOSBurstable
	home.Status.NominatedNodeName = "home"
	home.Status.ResourceClaimStatuses = nil
	home.Status.ExtendedResourceClaimStatus = nil
	got := reflect.ValueOf(View{}.Status(home, away))
	for field, line := range PodStatusFields() {
		at := func(s corev1.PodStatus) any { return reflect.ValueOf(s).FieldByName(field).Interface() }
		switch line.Treatment {
		case Carried:
			if !reflect.DeepEqual(at(away.Status), got.FieldByName(field).Interface()) {
				t.Errorf("%s should be carried: %v became %v", field, at(away.Status), got.FieldByName(field))
			}
		case Home:
			if !reflect.DeepEqual(at(home.Status), got.FieldByName(field).Interface()) {
				t.Errorf("%s is home's: %v became %v", field, at(home.Status), got.FieldByName(field))
			}
		}
	}
}

// A field of a newer API version is carried, not lost: the translation starts from a copy.
func TestFilledPodSharesNothing(t *testing.T) {
	home := &corev1.Pod{}
	fill(reflect.ValueOf(home).Elem(), 6)
	before := home.DeepCopy()
	patch := &v1beta1.OffloadingPatch{
		NodeSelector: map[string]string{"a": "b"}, Tolerations: []corev1.Toleration{{Key: "k"}},
	}
	away := target(patch).Pod(home)
	fill(reflect.ValueOf(away).Elem(), 3)
	for i := range away.Spec.Containers {
		away.Spec.Containers[i].Image = "overwritten"
	}
	away.Spec.NodeSelector["a"] = "overwritten"
	if !reflect.DeepEqual(before, home) || patch.NodeSelector["a"] != "b" {
		t.Error("the remote pod shares memory with the home pod or the patch")
	}
}

func target(patch *v1beta1.OffloadingPatch) Target {
	return Target{Origin: "home", Destination: "provider-1", Node: "vn-1", Namespace: "shop-home", Patch: patch}
}

// fill sets every field to something that is not zero, depth levels down.
func fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Pointer:
		if depth > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), depth-1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Field(i).CanSet() {
				fill(v.Field(i), depth-1)
			}
		}
	case reflect.Slice:
		if depth > 0 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			fill(v.Index(0), depth-1)
		}
	case reflect.Map:
		if depth > 0 && v.Type().Key().Kind() == reflect.String {
			v.Set(reflect.MakeMap(v.Type()))
			item := reflect.New(v.Type().Elem()).Elem()
			fill(item, depth-1)
			v.SetMapIndex(reflect.ValueOf("x").Convert(v.Type().Key()), item)
		}
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint(7)
	}
}

func pod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{}
	p.Name, p.Namespace, p.UID = "web", "shop", types.UID("uid-1")
	p.Generation = 3
	p.Spec.Containers = []corev1.Container{{Name: "app", Image: "i"}}
	p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](30)
	if change != nil {
		change(p)
	}
	return p
}
