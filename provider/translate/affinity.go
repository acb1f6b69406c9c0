package translate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Values of annotation liqo.io/anti-affinity-preset.
const (
	presetPropagate = "propagate"
	presetSoft      = "soft"
	presetHard      = "hard"
)

// keepApart gives the remote pod the anti-affinity that its home pod asks for by annotation.
func keepApart(s *corev1.PodSpec, home *corev1.Pod, patch v1beta1.OffloadingPatch) {
	apart := antiAffinity(home, patch)
	if apart == nil {
		return
	}
	if s.Affinity == nil {
		s.Affinity = &corev1.Affinity{}
	}
	s.Affinity.PodAntiAffinity = apart
}

func antiAffinity(home *corev1.Pod, patch v1beta1.OffloadingPatch) *corev1.PodAntiAffinity {
	preset := home.Annotations[v1beta1.AnnotationAntiAffinityPreset]
	if preset == "" {
		return nil
	}
	labels := without(distinguishing(home), patch.LabelsNotReflected)
	term := corev1.PodAffinityTerm{
		LabelSelector: &metav1.LabelSelector{MatchLabels: labels}, TopologyKey: corev1.LabelHostname,
	}
	switch {
	case preset == presetPropagate:
		return propagate(home)
	case len(labels) == 0: // would be everybody
		return nil
	case preset == presetSoft:
		wish := corev1.WeightedPodAffinityTerm{Weight: 100, PodAffinityTerm: term}
		return &corev1.PodAntiAffinity{
			PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{wish},
		}
	case preset == presetHard:
		return &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{term}}
	default:
		return nil
	}
}

func refuseAntiAffinity(home *corev1.Pod) string {
	switch preset := home.Annotations[v1beta1.AnnotationAntiAffinityPreset]; preset {
	case "", presetPropagate:
		return ""
	case presetSoft, presetHard:
		if len(distinguishing(home)) > 0 {
			return ""
		}
		if keys := home.Annotations[v1beta1.AnnotationAntiAffinityLabels]; keys != "" {
			return fmt.Sprintf("annotation %s: the pod has none of the labels %s", v1beta1.AnnotationAntiAffinityLabels,
				keys)
		}
		return fmt.Sprintf("annotation %s: the pod has no label that tells which pods to keep apart",
			v1beta1.AnnotationAntiAffinityPreset)
	default:
		return fmt.Sprintf("annotation %s: must be %s, %s or %s, not %q", v1beta1.AnnotationAntiAffinityPreset,
			presetPropagate, presetSoft, presetHard, preset)
	}
}

// distinguishing returns the labels by which the presets tell which pods to keep apart: those that the pod names, or
// all but the ones that controllers give to a single pod, which would keep it apart from nobody. Our marks do not
// count.
func distinguishing(home *corev1.Pod) map[string]string {
	out := maps.Clone(home.Labels)
	keys := strings.FieldsFunc(home.Annotations[v1beta1.AnnotationAntiAffinityLabels],
		func(r rune) bool { return r == ',' || r == ' ' })
	maps.DeleteFunc(out, func(key, _ string) bool {
		switch key {
		case v1beta1.LabelOrigin, v1beta1.LabelDestination, v1beta1.LabelNodeName:
			return true
		case appsv1.StatefulSetPodNameLabel, appsv1.PodIndexLabel, batchv1.JobCompletionIndexAnnotation:
			return !slices.Contains(keys, key)
		default:
			return len(keys) > 0 && !slices.Contains(keys, key)
		}
	})
	return out
}

// propagate returns the pod's own anti-affinity, as far as it is about pods of its own namespace: other names mean
// something else over there, and a required term keeps the other pods away as well.
func propagate(home *corev1.Pod) *corev1.PodAntiAffinity {
	if home.Spec.Affinity == nil || home.Spec.Affinity.PodAntiAffinity == nil {
		return nil
	}
	var out corev1.PodAntiAffinity
	for _, term := range home.Spec.Affinity.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution {
		if own, ok := within(home.Namespace, term); ok {
			out.RequiredDuringSchedulingIgnoredDuringExecution = append(
				out.RequiredDuringSchedulingIgnoredDuringExecution, own)
		}
	}
	for _, weighted := range home.Spec.Affinity.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution {
		if own, ok := within(home.Namespace, weighted.PodAffinityTerm); ok {
			out.PreferredDuringSchedulingIgnoredDuringExecution = append(
				out.PreferredDuringSchedulingIgnoredDuringExecution,
				corev1.WeightedPodAffinityTerm{Weight: weighted.Weight, PodAffinityTerm: own})
		}
	}
	if out.RequiredDuringSchedulingIgnoredDuringExecution == nil &&
		out.PreferredDuringSchedulingIgnoredDuringExecution == nil {
		return nil
	}
	return &out
}

// within narrows a term to the pod's own namespace, and says whether it is about that one at all. A selector of
// namespaces counts only when it selects all: nothing else can be said without reading them.
func within(namespace string, term corev1.PodAffinityTerm) (corev1.PodAffinityTerm, bool) {
	selector := term.NamespaceSelector
	all := selector != nil && len(selector.MatchLabels) == 0 && len(selector.MatchExpressions) == 0
	own := len(term.Namespaces) == 0 && selector == nil
	if !own && !all && !slices.Contains(term.Namespaces, namespace) {
		return term, false
	}
	return corev1.PodAffinityTerm{
		// Home's API server has merged the keys into the selector.
		LabelSelector: term.LabelSelector.DeepCopy(), TopologyKey: term.TopologyKey,
	}, true
}
