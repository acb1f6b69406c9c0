package reflection

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// packed is a pod on the provider that refers to Secret "pull" and ConfigMap "settings".
func packed() *corev1.Pod {
	return pulling("web").Node("vn-1").Spec(func(s *corev1.PodSpec) {
		s.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: "settings"},
		}}}
	}).Obj()
}

func TestWhatAPodWaitsFor(t *testing.T) {
	skip := func(obj client.Object) client.Object {
		obj.SetAnnotations(map[string]string{v1beta1.AnnotationSkipReflection: "true"})
		return obj
	}
	for name, tc := range map[string]struct {
		home func(*harness)
		want string
	}{
		"for a Secret that is on its way": {func(h *harness) { h.has(secret("pull")) }, "secrets/pull"},
		"for a ConfigMap that is on its way": {
			func(h *harness) { h.has(configMap("settings")) }, "configmaps/settings",
		},
		"for nothing that is there": {
			func(h *harness) {
				h.has(secret("pull"))
				h.has(configMap("settings"))
				h.settle("secrets", "pull")
				h.settle("configmaps", "settings")
			}, "",
		},
		"for what has changed since": {
			func(h *harness) {
				h.has(secret("pull"))
				h.settle("secrets", "pull")
				h.pair("secrets").touch("pull", h.clock.Now())
			}, "secrets/pull",
		},
		"for what was there, and was made anew at home": {
			func(h *harness) {
				before := secret("pull")
				before.UID = "before"
				h.has(before)
				h.settle("secrets", "pull")
				h.lost(before)
				h.has(secret("pull"))
			}, "secrets/pull",
		},
		"for all that is not known yet":  {func(h *harness) { h.pair("secrets").ready.Store(false) }, "secrets/pull"},
		"for nothing that home has not":  {func(*harness) {}, ""},
		"for nothing that stays at home": {func(h *harness) { h.has(skip(configMap("settings"))) }, ""},
		"for nothing that is refused": {
			func(h *harness) {
				h.has(configMap("settings"))
				h.refuse = func(string, client.Object) error {
					return apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "settings", nil)
				}
				_, _ = h.look("configmaps", "settings")
			}, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.pods.pods = []*corev1.Pod{packed()}
			tc.home(h)
			h.catchUp()
			if got := h.m.Awaited(packed()); got != tc.want {
				t.Errorf("want %q, got %q", tc.want, got)
			}
		})
	}
}

// Not before it is known who refers to a Secret can it be said whether it goes.
func TestAPodWaitsUntilItIsKnownWhatGoes(t *testing.T) {
	h := newHarness(t)
	h.pods.unknown = true
	h.has(secret("pull"))
	if got := h.m.Awaited(packed()); got != "secrets/pull" {
		t.Errorf("got %q", got)
	}
	if _, err := h.look("secrets", "pull"); !errors.Is(err, errPodsUnknown) {
		t.Errorf("want errPodsUnknown, got %v", err)
	}
}

func TestAPodOfANamespaceWithoutATwinWaitsForNothing(t *testing.T) {
	h := newHarness(t)
	if got := h.m.Awaited(build.Pod("web").Namespace("elsewhere").Obj()); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestKindsThatAreOffAreNotWaitedFor(t *testing.T) {
	h := newHarness(t)
	h.under = Policies{"secrets": PolicyNone, "configmaps": PolicyNone}
	h.restartUnder(t)
	if got := h.m.Awaited(packed()); got != "" {
		t.Errorf("got %q", got)
	}
}

// restartUnder is restart under other policies, with nothing known.
func (h *harness) restartUnder(t *testing.T) {
	t.Helper()
	h.m = nil
	h.restart()
}

// The Secret of an Ingress goes with it, by name of the field, not of the pod.
func TestACertificateFollowsItsIngress(t *testing.T) {
	h := newHarness(t)
	shop := ingress(asItIs)
	h.has(secret("tls"))
	h.settle("secrets", "tls")
	h.expect()
	h.has(shop)
	h.settle("secrets", "tls")
	h.expect("create tls")

	stays := shop.DeepCopy()
	stays.Annotations = map[string]string{v1beta1.AnnotationSkipReflection: "true"}
	h.has(stays)
	after, err := h.look("secrets", "tls")
	if linger := h.reflector("secrets").kind.linger; err != nil || after != linger {
		t.Errorf("want it kept for %s, got %s, %v", linger, after, err)
	}
	h.clock.Step(after)
	h.settle("secrets", "tls")
	h.expect("delete tls")

	h.pair("ingresses").ready.Store(false)
	if _, err := h.look("secrets", "tls"); err == nil {
		t.Error("it was decided before the Ingresses were known")
	}
}
