package explanation

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
)

// Subjects reads the pods of a file, be they Pods or the templates of workloads. Other objects are passed over; a file
// without any pod, or with an unknown field in one, is an error.
func Subjects(file io.Reader) ([]Subject, error) {
	decoder, err := strictDecoder()
	if err != nil {
		return nil, err
	}
	documents := utilyaml.NewYAMLReader(bufio.NewReader(file))
	var out []Subject
	var others []string
	for n := 1; ; n++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		found, other, err := subjects(decoder, document)
		if err != nil {
			return nil, fmt.Errorf("document %d: %w", n, err)
		}
		out, others = append(out, found...), append(others, other...)
	}
	if len(out) > 0 {
		return out, nil
	}
	const want = "give a Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, Job or CronJob"
	if len(others) == 0 {
		return nil, fmt.Errorf("it is empty: %s", want)
	}
	return nil, fmt.Errorf("it has no pod, but %s: %s", others[0], want)
}

func strictDecoder() (runtime.Decoder, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("register kinds: %w", err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer(), nil
}

// subjects returns the pods of one document, and the kinds that have none.
func subjects(decoder runtime.Decoder, document []byte) (pods []Subject, others []string, err error) {
	asJSON, err := utilyaml.ToJSON(document)
	if err != nil {
		return nil, nil, err
	}
	if asJSON = bytes.TrimSpace(asJSON); len(asJSON) == 0 || bytes.Equal(asJSON, []byte("null")) {
		return nil, nil, nil
	}
	var meta struct {
		metav1.TypeMeta
		Items []runtime.RawExtension `json:"items"`
	}
	if err := utilyaml.Unmarshal(asJSON, &meta); err != nil || meta.Kind == "" || meta.APIVersion == "" {
		return nil, nil, errors.New("it is no Kubernetes object: apiVersion and kind are missing")
	}
	for _, item := range meta.Items {
		found, other, err := subjects(decoder, item.Raw)
		if err != nil {
			return nil, nil, err
		}
		pods, others = append(pods, found...), append(others, other...)
	}
	if meta.Kind == "List" {
		return pods, others, nil
	}
	return object(decoder, document, meta.Kind)
}

// object returns the pod of one object, or its kind.
func object(decoder runtime.Decoder, document []byte, kind string) ([]Subject, []string, error) {
	// Strictly, and from the document as it is: a duplicate key is a mistake too.
	decoded, _, err := decoder.Decode(document, nil, nil)
	if runtime.IsNotRegisteredError(err) {
		return nil, []string{"a " + kind}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", kind, err)
	}
	subject, ok := subjectOf(decoded, kind)
	if !ok {
		return nil, []string{"a " + kind}, nil
	}
	return []Subject{subject}, nil, nil
}

// subjectOf returns the pod that an object is or makes.
func subjectOf(object runtime.Object, kind string) (Subject, bool) {
	switch o := object.(type) {
	case *corev1.Pod:
		return Subject{Pod: o}, true
	case *appsv1.Deployment:
		return made(kind, &o.ObjectMeta, &o.Spec.Template), true
	case *appsv1.ReplicaSet:
		return made(kind, &o.ObjectMeta, &o.Spec.Template), true
	case *appsv1.StatefulSet:
		return made(kind, &o.ObjectMeta, &o.Spec.Template), true
	case *appsv1.DaemonSet:
		s := made(kind, &o.ObjectMeta, &o.Spec.Template)
		s.Pod.Spec.Tolerations = append(s.Pod.Spec.Tolerations, daemonTolerations(&s.Pod.Spec)...)
		return s, true
	case *batchv1.Job:
		return made(kind, &o.ObjectMeta, &o.Spec.Template), true
	case *batchv1.CronJob:
		return made(kind, &o.ObjectMeta, &o.Spec.JobTemplate.Spec.Template), true
	}
	return Subject{}, false
}

func made(kind string, owner *metav1.ObjectMeta, template *corev1.PodTemplateSpec) Subject {
	pod := &corev1.Pod{ObjectMeta: template.ObjectMeta, Spec: template.Spec}
	pod.Name, pod.Namespace = owner.Name, owner.Namespace
	return Subject{Pod: pod, From: kind + "/" + owner.Name}
}

// daemonTolerations are what the DaemonSet controller gives to its pods.
func daemonTolerations(spec *corev1.PodSpec) []corev1.Toleration {
	type taint struct {
		key    string
		effect corev1.TaintEffect
	}
	taints := []taint{
		{corev1.TaintNodeNotReady, corev1.TaintEffectNoExecute},
		{corev1.TaintNodeUnreachable, corev1.TaintEffectNoExecute},
		{corev1.TaintNodeDiskPressure, corev1.TaintEffectNoSchedule},
		{corev1.TaintNodeMemoryPressure, corev1.TaintEffectNoSchedule},
		{corev1.TaintNodePIDPressure, corev1.TaintEffectNoSchedule},
		{corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule},
	}
	if spec.HostNetwork {
		taints = append(taints, taint{corev1.TaintNodeNetworkUnavailable, corev1.TaintEffectNoSchedule})
	}
	out := make([]corev1.Toleration, 0, len(taints))
	for _, t := range taints {
		out = append(out, corev1.Toleration{Key: t.key, Operator: corev1.TolerationOpExists, Effect: t.effect})
	}
	return out
}
