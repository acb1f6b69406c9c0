package translate

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// What remote pods carry was written by other versions of the agent.
func TestDigestsStayWhatTheyAre(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Labels:      map[string]string{"app": "web", corev1.LabelTopologyZone: "a", "b": ""},
			Annotations: map[string]string{"note": "two\nlines \"quoted\" ü", v1beta1.AnnotationTaken: "x"},
		},
		Spec: corev1.PodSpec{
			ActiveDeadlineSeconds: ptr.To[int64](60),
			Tolerations:           []corev1.Toleration{{Key: "gpu", Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "app", Image: "example.com/app:1", Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m")},
					Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")},
				},
			}},
		},
	}
	const want = "deadline=60,image.app=3uy0bf57bhkjb,metadata=3iezdwf7g6yva,resources.app=365k6pnl3bx0n," +
		"tolerations=2k32xxvyiqghf"
	if got := encode(parts(pod)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMapsAreWrittenAsFmtDoes(t *testing.T) {
	none := func(string) bool { return false }
	for _, m := range []map[string]string{
		nil, {}, {"a": ""}, {"b": "x", "a": "y", "": "z"}, {"a\"b": "c\\d\n", "ü": "\x00\xff"},
	} {
		if got, want := string(appendMap(nil, m, none)), fmt.Sprintf("%q", m); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	labels := map[string]string{"b": "2", corev1.LabelTopologyZone: "z", "a": "1"}
	if got := string(appendMap(nil, labels, placed)); got != `map["a":"1" "b":"2"]` {
		t.Errorf("got %s", got)
	}
	all := map[[2]string]string{
		{"requests", "memory"}: "1Gi", {"requests", "cpu"}: "1", {"limits", "memory"}: "2Gi", {"limits", "cpu"}: "2",
	}
	for _, m := range []map[[2]string]string{nil, {}, {{"limits", "cpu"}: "1"}, all} {
		if got, want := string(appendAmounts(nil, m)), fmt.Sprintf("%q", m); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}
