package provider

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/build"
)

func settings(ns string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "settings"},
		Data:       map[string]string{"text": "x"}, BinaryData: map[string][]byte{"bytes": {1}},
	}
}

func password(ns string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "password"}, Data: map[string][]byte{"key": []byte("x")},
	}
}

// fromConfigMap is a variable; so is fromSecret.
func fromConfigMap(name, key string, optional bool) corev1.EnvVar {
	return corev1.EnvVar{Name: "A", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key, Optional: &optional,
	}}}
}

func fromSecret(name, key string, optional bool) corev1.EnvVar {
	return corev1.EnvVar{Name: "B", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key, Optional: &optional,
	}}}
}

func allOfConfigMap(name string, optional *bool) corev1.EnvFromSource {
	return corev1.EnvFromSource{ConfigMapRef: &corev1.ConfigMapEnvSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Optional: optional,
	}}
}

func allOfSecret(name string, optional *bool) corev1.EnvFromSource {
	return corev1.EnvFromSource{SecretRef: &corev1.SecretEnvSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Optional: optional,
	}}
}

func TestWhatAnEnvironmentLacks(t *testing.T) {
	env := func(vars ...corev1.EnvVar) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { s.Containers[0].Env = vars }
	}
	from := func(sources ...corev1.EnvFromSource) func(*corev1.PodSpec) {
		return func(s *corev1.PodSpec) { s.Containers[0].EnvFrom = sources }
	}
	for name, test := range map[string]struct {
		spec func(*corev1.PodSpec)
		want []string
	}{
		"it refers to nothing": {env(corev1.EnvVar{Name: "A", Value: "a"}, corev1.EnvVar{Name: "B",
			ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.name"}}}), nil},
		"everything is there": {
			env(fromConfigMap("settings", "text", false), fromConfigMap("settings", "bytes", false),
				fromSecret("password", "key", false)), nil,
		},
		"whole objects are there": {from(allOfConfigMap("settings", nil), allOfSecret("password", nil)), nil},
		"a ConfigMap is missing": {
			env(fromConfigMap("nowhere", "text", false)),
			[]string{`MandatoryConfigMapNotFound: ConfigMap "nowhere" not found`},
		},
		"an optional ConfigMap is missing": {
			env(fromConfigMap("nowhere", "text", true)),
			[]string{`OptionalConfigMapNotFound: ConfigMap "nowhere" not found (optional)`},
		},
		"a key of a ConfigMap is missing": {
			env(fromConfigMap("settings", "other", false)),
			[]string{`MandatoryConfigMapKeyNotFound: ConfigMap "settings" has no key "other"`},
		},
		"a Secret is missing": {
			env(fromSecret("nowhere", "key", false)), []string{`MandatorySecretNotFound: Secret "nowhere" not found`},
		},
		"an optional key of a Secret is missing": {
			env(fromSecret("password", "other", true)),
			[]string{`OptionalSecretKeyNotFound: Secret "password" has no key "other" (optional)`},
		},
		"whole objects are missing": {
			from(allOfConfigMap("nowhere", nil), allOfSecret("nowhere", ptr.To(true))),
			[]string{
				`MandatoryConfigMapNotFound: ConfigMap "nowhere" not found`,
				`OptionalSecretNotFound: Secret "nowhere" not found (optional)`,
			},
		},
		"an init container's is missing": {
			func(s *corev1.PodSpec) {
				s.InitContainers = []corev1.Container{{Env: []corev1.EnvVar{fromSecret("nowhere", "key", false)}}}
			}, []string{`MandatorySecretNotFound: Secret "nowhere" not found`},
		},
		"what may not be read is not judged": {env(fromSecret("hidden", "key", false)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			home := fake.NewClientset(settings("shop"), password("shop"))
			home.PrependReactor("get", "secrets", func(a clienttesting.Action) (bool, runtime.Object, error) {
				if a.(clienttesting.GetAction).GetName() == "hidden" {
					return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "hidden", nil)
				}
				return false, nil, nil
			})
			p := NewPods(PodsOptions{Home: home})
			defer p.queue.ShutDown()
			lacks, err := p.lacks(t.Context(), build.Pod("web").Namespace("shop").Spec(test.spec).Obj())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range lacks {
				text := l.reason + ": " + l.message
				if l.optional {
					text += " (optional)"
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

// Nothing is created on a guess when home does not answer, and no object is read twice.
func TestAnEnvironmentIsReadOnceAndForSure(t *testing.T) {
	trouble := errors.New("no answer in time")
	home := fake.NewClientset(settings("shop"))
	p := NewPods(PodsOptions{Home: home})
	defer p.queue.ShutDown()
	web := build.Pod("web").Namespace("shop").Spec(func(s *corev1.PodSpec) {
		s.Containers[0].EnvFrom = []corev1.EnvFromSource{allOfConfigMap("settings", nil)}
		s.Containers[0].Env = []corev1.EnvVar{
			fromConfigMap("settings", "text", false), fromConfigMap("settings", "bytes", false),
		}
	}).Obj()
	if lacks, err := p.lacks(t.Context(), web); err != nil || len(lacks) > 0 {
		t.Errorf("%v, %v", lacks, err)
	}
	if n := len(home.Actions()); n != 1 {
		t.Errorf("%d reads of one object", n)
	}
	home.PrependReactor("get", "configmaps", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, trouble
	})
	if _, err := p.lacks(t.Context(), web); !errors.Is(err, trouble) {
		t.Errorf("want the trouble, got %v", err)
	}
}

// testLacks is one of TestPodsOnRealServers.
func testLacks(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	pod := build.Pod("web").Namespace(s.ns).Node(s.node()).Spec(func(spec *corev1.PodSpec) {
		spec.Containers[0].Env = []corev1.EnvVar{
			fromSecret("password", "key", false), fromConfigMap("settings", "text", true),
		}
	}).Obj()
	home := must(s.T, s.home.CoreV1().Pods(s.ns).Create, pod)
	s.eventually("home says what is missing", func() error {
		got, err := s.homePod("web")
		if err != nil {
			return err
		}
		if got.Status.Reason != "MandatorySecretNotFound" || got.Status.Message != `Secret "password" not found` {
			return fmt.Errorf("%s: %s", got.Status.Reason, got.Status.Message)
		}
		return nil
	})
	if _, err := s.awayPod("web"); !apierrors.IsNotFound(err) {
		s.Errorf("a remote pod was made without its Secret: %v", err)
	}
	must(s.T, s.home.CoreV1().Secrets(s.ns).Create, password(s.ns))
	s.run(s.remote(home))
	if got := s.phase(home, corev1.PodRunning); got.Status.Reason != "" {
		s.Errorf("the reason stays: %s", got.Status.Reason)
	}
	recorder := p.opts.Recorder.(*events.FakeRecorder)
	var told []string
	for range 2 {
		told = append(told, <-recorder.Events)
	}
	want := []string{
		`Warning MandatorySecretNotFound Secret "password" not found`,
		`Warning OptionalConfigMapNotFound ConfigMap "settings" not found`,
	}
	if diff := cmp.Diff(want, told); diff != "" || len(recorder.Events) > 0 {
		s.Errorf("events, and %d more (-want,+got):\n%s", len(recorder.Events), diff)
	}
}
