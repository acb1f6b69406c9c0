package demo

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/twinspace/twinspace/e2e/env"
)

// application decodes shop.yaml as strictly as an API server that validates fields.
func application(t *testing.T) []runtime.Object {
	t.Helper()
	scheme, err := env.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for documents := yaml.NewDocumentDecoder(io.NopCloser(strings.NewReader(string(shop)))); ; {
		document := make([]byte, len(shop))
		n, err := documents.Read(document)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		obj, _, err := decoder.Decode(document[:n], nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		objects = append(objects, obj)
	}
}

func TestTheApplicationIsAnOrdinaryOne(t *testing.T) {
	var service *corev1.Service
	var deployment *appsv1.Deployment
	var config *corev1.ConfigMap
	for _, obj := range application(t) {
		switch obj := obj.(type) {
		case *corev1.Service:
			service = obj
		case *appsv1.Deployment:
			deployment = obj
		case *corev1.ConfigMap:
			config = obj
		default:
			t.Errorf("%T is not part of the story", obj)
		}
	}
	if service == nil || deployment == nil || config == nil {
		t.Fatal("the Service, the Deployment or the ConfigMap is missing")
	}
	if deployment.Name != app || service.Name != app {
		t.Error("the story looks for other names")
	}
	for _, in := range []string{deployment.Namespace, service.Namespace, config.Namespace} {
		if in != namespace {
			t.Errorf("something is in namespace %s", in)
		}
	}
	if *deployment.Spec.Replicas != 6 {
		t.Errorf("%d replicas, want 6", *deployment.Spec.Replicas)
	}
	pod := deployment.Spec.Template
	if diff := cmp.Diff(service.Spec.Selector, pod.Labels); diff != "" {
		t.Errorf("the Service does not select the pods (-service,+pods)\n%s", diff)
	}
	if from := pod.Spec.Containers[0].EnvFrom; len(from) != 1 || from[0].ConfigMapRef.Name != config.Name {
		t.Error("the pods do not read the ConfigMap")
	}
	if len(pod.Spec.Tolerations) > 0 || pod.Spec.NodeName != "" || pod.Spec.RuntimeClassName != nil {
		t.Error("the pods know of virtual nodes")
	}
}

// down is a playground that is not there.
func down(t *testing.T, out io.Writer, colour bool) *Story {
	t.Helper()
	return &Story{Env: &env.Env{}, Out: out, Colour: colour, Playground: filepath.Join("bin", "playground")}
}

func TestColourIsForTerminals(t *testing.T) {
	cases := map[string]struct {
		colour bool
		want   string
	}{
		"a file":     {false, "\n== Title\n   why\n   and how\n\n$ do it\n"},
		"a terminal": {true, "\n\x1b[1m== Title\x1b[0m\n   why\n   and how\n\n\x1b[36m$ do it\x1b[0m\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			story := down(t, &out, tc.colour)
			story.title("Title", "why", "and how")
			story.command("do it")
			story.output("\n\n") // nothing was printed
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

func TestWaitingEndsWithAReason(t *testing.T) {
	story := down(t, io.Discard, false)
	ctx, cancel := context.WithCancel(t.Context())
	err := story.until(ctx, "pods", func(context.Context) (string, error) {
		cancel()
		return "5 of 6 pods are available", nil
	})
	if err == nil || !strings.Contains(err.Error(), "wait for pods (5 of 6 pods are available)") {
		t.Errorf("error is %v", err)
	}
	broken := errors.New("broken")
	err = story.until(t.Context(), "pods", func(context.Context) (string, error) { return "", broken })
	if !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	looks := 0
	err = story.until(t.Context(), "pods", func(context.Context) (string, error) {
		switch looks++; looks {
		case 1:
			return "", apierrors.NewNotFound(schema.GroupResource{Resource: "deployments"}, app)
		case 2:
			return "not yet", nil
		}
		return "", nil
	})
	if err != nil || looks != 3 {
		t.Errorf("%d looks, error %v", looks, err)
	}
}
