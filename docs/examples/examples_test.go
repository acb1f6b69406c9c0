package examples

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// application is the example, decoded as strictly as by an API server that validates fields.
func application(t *testing.T) map[string]client.Object {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	objects := map[string]client.Object{}
	for _, file := range listed(t) {
		text, err := fs.ReadFile(Shop, "shop/"+file)
		if err != nil {
			t.Fatal(err)
		}
		for documents := yaml.NewDocumentDecoder(io.NopCloser(bytes.NewReader(text))); ; {
			document := make([]byte, len(text))
			n, err := documents.Read(document)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			obj, _, err := decoder.Decode(document[:n], nil, nil)
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			key := strings.TrimPrefix(fmt.Sprintf("%T ", obj), "*v1.") + obj.(client.Object).GetName()
			if objects[key] != nil {
				t.Errorf("there are two of %s", key)
			}
			objects[key] = obj.(client.Object)
		}
	}
	return objects
}

// listed returns the files that the kustomization names, and fails if there are others.
func listed(t *testing.T) []string {
	t.Helper()
	text, err := fs.ReadFile(Shop, "shop/kustomization.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var kustomization struct{ Resources []string }
	if err := sigsyaml.Unmarshal(text, &kustomization); err != nil {
		t.Fatal(err)
	}
	there, err := fs.ReadDir(Shop, "shop")
	if err != nil {
		t.Fatal(err)
	}
	if len(there) != len(kustomization.Resources)+1 {
		t.Errorf("the kustomization names %v, and there are %v", kustomization.Resources, there)
	}
	return kustomization.Resources
}

// templates returns the pods that the example makes, by who makes them.
func templates(objects map[string]client.Object) map[string]*corev1.PodTemplateSpec {
	out := map[string]*corev1.PodTemplateSpec{}
	for key, obj := range objects {
		switch obj := obj.(type) {
		case *appsv1.Deployment:
			out[key] = &obj.Spec.Template
		case *appsv1.StatefulSet:
			out[key] = &obj.Spec.Template
		}
	}
	return out
}

func TestTheShopIsAnOrdinaryApplication(t *testing.T) {
	objects := application(t)
	if len(objects) != 12 {
		t.Errorf("there are %d objects, and the README says a dozen", len(objects))
	}
	for key, obj := range objects {
		if obj.GetNamespace() != "" {
			t.Errorf("%s is in a namespace; the kustomization decides that", key)
		}
		if all := fmt.Sprint(obj.GetLabels(), obj.GetAnnotations()); strings.Contains(all, "liqo") {
			t.Errorf("%s knows of other clusters: %s", key, all)
		}
	}
	pods := templates(objects)
	if len(pods) != 3 {
		t.Errorf("pods are made by %d, want a front end, an API and a database", len(pods))
	}
	for key, pod := range pods {
		if pod.Spec.NodeName != "" || pod.Spec.RuntimeClassName != nil || len(pod.Spec.NodeSelector) > 0 ||
			len(pod.Spec.Tolerations) > 0 || pod.Spec.Affinity != nil {
			t.Errorf("the pods of %s know of virtual nodes", key)
		}
	}
	db := objects["StatefulSet db"].(*appsv1.StatefulSet)
	claims := db.Spec.VolumeClaimTemplates
	if len(claims) != 1 || *claims[0].Spec.StorageClassName != v1beta1.StorageClass {
		t.Errorf("the database asks for %v, want one volume of class %s", claims, v1beta1.StorageClass)
	}
}

func TestWhatTheShopRefersToIsThere(t *testing.T) {
	objects := application(t)
	var missing []string
	need := func(from, key string) {
		if objects[key] == nil {
			missing = append(missing, from+" refers to "+key)
		}
	}
	for from, pod := range templates(objects) {
		for _, volume := range pod.Spec.Volumes {
			need(from, "ConfigMap "+volume.ConfigMap.Name)
		}
		for _, source := range pod.Spec.Containers[0].EnvFrom {
			need(from, "ConfigMap "+source.ConfigMapRef.Name)
		}
		for _, variable := range pod.Spec.Containers[0].Env {
			if variable.ValueFrom == nil {
				continue
			}
			ref := variable.ValueFrom.SecretKeyRef
			need(from, "Secret "+ref.Name)
			if s, ok := objects["Secret "+ref.Name].(*corev1.Secret); ok && s.StringData[ref.Key] == "" {
				missing = append(missing, from+" refers to a key that is missing: "+ref.Key)
			}
		}
	}
	for key, obj := range objects {
		switch obj := obj.(type) {
		case *corev1.Service:
			if !selected(obj, templates(objects)) {
				missing = append(missing, key+" refers to no pods, or to a port that they have not")
			}
		case *networkingv1.Ingress:
			need(key, "Secret "+obj.Spec.TLS[0].SecretName)
			need(key, "Service "+obj.Spec.Rules[0].HTTP.Paths[0].Backend.Service.Name)
		}
	}
	slices.Sort(missing)
	if len(missing) > 0 {
		t.Error(strings.Join(missing, "\n"))
	}
}

// selected says whether a Service selects pods that have its port.
func selected(s *corev1.Service, pods map[string]*corev1.PodTemplateSpec) bool {
	selector := labels.SelectorFromSet(s.Spec.Selector)
	for _, pod := range pods {
		if !selector.Matches(labels.Set(pod.Labels)) {
			continue
		}
		for _, port := range pod.Spec.Containers[0].Ports {
			if port.Name == s.Spec.Ports[0].TargetPort.String() {
				return true
			}
		}
	}
	return false
}

// A Deployment or StatefulSet whose selector does not match its pods is refused.
func TestControllersOfTheShopKnowTheirPods(t *testing.T) {
	for key, obj := range application(t) {
		var selector *metav1.LabelSelector
		switch obj := obj.(type) {
		case *appsv1.Deployment:
			selector = obj.Spec.Selector
		case *appsv1.StatefulSet:
			selector = obj.Spec.Selector
		default:
			continue
		}
		matches, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			t.Fatal(err)
		}
		if !matches.Matches(labels.Set(templates(application(t))[key].Labels)) {
			t.Errorf("%s does not select its own pods", key)
		}
	}
}
