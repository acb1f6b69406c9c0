package reflection

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func TestStamp(t *testing.T) {
	noted := func(fields string) []metav1.ManagedFieldsEntry {
		return []metav1.ManagedFieldsEntry{
			{Manager: v1beta1.FieldManager, FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)}},
			{Manager: "other", FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:labels":{"f:theirs":{}}}}`)}},
		}
	}
	for name, tc := range map[string]struct {
		home, away           metav1.ObjectMeta
		wantLabels           map[string]string
		wantExtraAnnotations map[string]string
	}{
		"a new copy carries what home says, without what is home's own": {
			home: metav1.ObjectMeta{
				Labels: map[string]string{"app": "web", v1beta1.LabelOrigin: "forged"},
				Annotations: map[string]string{
					"note": "x", corev1.LastAppliedConfigAnnotation: "{}", v1beta1.AnnotationHomeUID: "forged",
					v1beta1.AnnotationSkipReflection: "false", v1beta1.AnnotationAllowReflection: "true",
					v1beta1.AnnotationForceNodePort: "true",
				},
			},
			wantLabels:           map[string]string{"app": "web"},
			wantExtraAnnotations: map[string]string{"note": "x"},
		},
		"what others noted on the copy stays, what we carried once goes": {
			home: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
			away: metav1.ObjectMeta{
				Labels:      map[string]string{"app": "old", "gone": "x", "theirs": "y"},
				Annotations: map[string]string{"gone": "x", "theirs": "y"},
				ManagedFields: noted(
					`{"f:metadata":{"f:annotations":{"f:gone":{}},"f:labels":{".":{},"f:app":{},"f:gone":{}}}}`),
			},
			wantLabels:           map[string]string{"app": "web", "theirs": "y"},
			wantExtraAnnotations: map[string]string{"theirs": "y"},
		},
		"a note of the API server that cannot be read takes nothing away": {
			away: metav1.ObjectMeta{
				Labels:        map[string]string{"app": "old"},
				ManagedFields: append(noted(`{`), metav1.ManagedFieldsEntry{Manager: v1beta1.FieldManager}),
			},
			wantLabels: map[string]string{"app": "old"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := &corev1.ConfigMap{ObjectMeta: tc.home}, &corev1.ConfigMap{ObjectMeta: tc.away}
			src.UID = "uid-1"
			before := src.DeepCopy()
			stamp(dst, src, "home", "provider-1")
			want := map[string]string{v1beta1.LabelOrigin: "home", v1beta1.LabelDestination: "provider-1"}
			if diff := cmp.Diff(overlay(want, tc.wantLabels, nil), dst.Labels); diff != "" {
				t.Errorf("labels, -want,+got:\n%s", diff)
			}
			want = map[string]string{v1beta1.AnnotationHomeUID: "uid-1"}
			if diff := cmp.Diff(overlay(want, tc.wantExtraAnnotations, nil), dst.Annotations); diff != "" {
				t.Errorf("annotations, -want,+got:\n%s", diff)
			}
			if diff := cmp.Diff(before, src); diff != "" {
				t.Errorf("the source was changed:\n%s", diff)
			}
			if !ours(dst, "home") {
				t.Error("what we stamp is not ours")
			}
		})
	}
}

func TestOurs(t *testing.T) {
	for name, tc := range map[string]struct {
		label, uid string
		want       bool
	}{
		"both marks":            {"home", "uid-1", true},
		"another home":          {"other", "uid-1", false},
		"the label alone":       {"home", "", false},
		"the annotation alone":  {"", "uid-1", false},
		"an object of somebody": {"", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			obj := configMap("c")
			obj.Labels = map[string]string{v1beta1.LabelOrigin: tc.label}
			obj.Annotations = map[string]string{v1beta1.AnnotationHomeUID: tc.uid}
			if got := ours(obj, "home"); got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}

func TestSuffixedNames(t *testing.T) {
	long := strings.Repeat("a", 250)
	uid := "0f3b2c1d-8a7e-4c55-9d3f-1b2a3c4d5e6f"
	for name, tc := range map[string]struct{ name, want string }{
		"short":              {"web-abc", "web-abc." + uid},
		"long":               {long, ""},
		"long, cut at a dot": {strings.Repeat("a", 198) + "." + long[:50], ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := suffixed(tc.name, uid)
			if tc.want != "" && got != tc.want {
				t.Errorf("want %s, got %s", tc.want, got)
			}
			if wrong := validation.IsDNS1123Subdomain(got); len(wrong) > 0 {
				t.Errorf("%s: %v", got, wrong)
			}
			if got != suffixed(tc.name, uid) || got == suffixed(tc.name+"b", uid) {
				t.Error("names must be stable and tell their sources apart")
			}
		})
	}
}

func TestAnnotatedCountsEverythingButFalse(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "": true, "yes": true, "False": true, "false": false} {
		obj := configMap("c")
		obj.Annotations = map[string]string{v1beta1.AnnotationSkipReflection: value}
		if got := annotated(obj, v1beta1.AnnotationSkipReflection); got != want {
			t.Errorf("%q: want %v, got %v", value, want, got)
		}
	}
	if annotated(configMap("c"), v1beta1.AnnotationSkipReflection) {
		t.Error("an annotation that is not there counts")
	}
}
