package reflection

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
)

// fakePods are the pods at home.
type fakePods struct {
	pods    []*corev1.Pod
	unknown bool
	onEach  func(*corev1.Pod)
}

func (f *fakePods) List(namespace string) ([]*corev1.Pod, bool) {
	var out []*corev1.Pod
	for _, pod := range f.pods {
		if pod.Namespace == namespace {
			out = append(out, pod)
		}
	}
	return out, !f.unknown
}

func (f *fakePods) OnChange(fn func(*corev1.Pod)) { f.onEach = fn }

func secret(name string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
		Type:       corev1.SecretTypeOpaque, Data: map[string][]byte{"key": []byte("value")},
	}
}

// pulling refers to Secret "pull".
func pulling(name string) *build.PodBuilder {
	return build.Pod(name).Namespace("shop").Spec(func(s *corev1.PodSpec) {
		s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "pull"}}
	})
}

func TestASecretLeavesOnlyWhenItIsNeeded(t *testing.T) {
	finished := func(phase corev1.PodPhase) *corev1.Pod { return pulling("a").Node("vn-1").Phase(phase).Obj() }
	for name, tc := range map[string]struct {
		pods []*corev1.Pod
		want bool
	}{
		"nobody refers to it":            {nil, false},
		"a pod on the provider does":     {[]*corev1.Pod{pulling("a").Node("vn-1").Obj()}, true},
		"a pod at home does":             {[]*corev1.Pod{pulling("a").Node("worker-1").Obj()}, false},
		"a pod on another provider":      {[]*corev1.Pod{pulling("a").Node("vn-2").Obj()}, false},
		"a pod that is not bound yet":    {[]*corev1.Pod{pulling("a").Obj()}, false},
		"a pod that has succeeded":       {[]*corev1.Pod{finished(corev1.PodSucceeded)}, false},
		"a pod that has failed":          {[]*corev1.Pod{finished(corev1.PodFailed)}, false},
		"a pod of another namespace":     {[]*corev1.Pod{pulling("a").Node("vn-1").Namespace("x").Obj()}, false},
		"a pod that refers to another":   {[]*corev1.Pod{build.Pod("a").Namespace("shop").Node("vn-1").Obj()}, false},
		"one of several is enough":       {[]*corev1.Pod{pulling("a").Obj(), pulling("b").Node("vn-1").Obj()}, true},
		"a pod that runs, being deleted": {[]*corev1.Pod{deleting(pulling("a").Node("vn-1").Obj())}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Secrets(&fakePods{pods: tc.pods}, ourNode).Referenced("shop", "pull")
			if err != nil || got != tc.want {
				t.Errorf("want it to leave: %v, got %v, %v", tc.want, got, err)
			}
		})
	}
}

func deleting(pod *corev1.Pod) *corev1.Pod {
	pod.DeletionTimestamp = ptr.To(metav1.Now())
	return pod
}

func TestAKnownPodIsEnoughWhileOthersAreUnknown(t *testing.T) {
	pods := &fakePods{pods: []*corev1.Pod{pulling("a").Node("vn-1").Obj()}, unknown: true}
	if needed, err := Secrets(pods, ourNode).Referenced("shop", "pull"); err != nil || !needed {
		t.Errorf("want it to leave, got %v, %v", needed, err)
	}
}

func TestNothingIsDecidedBeforeThePodsAreKnown(t *testing.T) {
	_, err := Secrets(&fakePods{unknown: true}, ourNode).Referenced("shop", "pull")
	if !errors.Is(err, errPodsUnknown) {
		t.Errorf("want errPodsUnknown, got %v", err)
	}
}

func TestMirrorSecret(t *testing.T) {
	for name, tc := range map[string]struct {
		home, want corev1.Secret
	}{
		"data and type are home's": {
			corev1.Secret{Type: "example/x", Data: map[string][]byte{"a": {0, 255}}},
			corev1.Secret{Type: "example/x", Data: map[string][]byte{"a": {0, 255}}},
		},
		"so is that it cannot be changed": {
			corev1.Secret{Type: corev1.SecretTypeOpaque, Immutable: ptr.To(true)},
			corev1.Secret{Type: corev1.SecretTypeOpaque, Immutable: ptr.To(true)},
		},
		"what home took away goes": {
			corev1.Secret{Type: corev1.SecretTypeOpaque}, corev1.Secret{Type: corev1.SecretTypeOpaque},
		},
		"a token of home is not taken for one of the provider's": {
			corev1.Secret{Type: corev1.SecretTypeServiceAccountToken, Data: map[string][]byte{"token": []byte("t")}},
			corev1.Secret{Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"token": []byte("t")}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			dst := &corev1.Secret{Data: map[string][]byte{"gone": nil}}
			Secrets(&fakePods{}, ourNode).Mirror(dst, &tc.home)
			if diff := cmp.Diff(&tc.want, dst); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestCredentialsOfHomeStayThere(t *testing.T) {
	for kind, want := range map[corev1.SecretType]bool{
		corev1.SecretTypeServiceAccountToken: true,
		corev1.SecretTypeBootstrapToken:      true,
		"helm.sh/release.v1":                 true,
		corev1.SecretTypeOpaque:              false,
		corev1.SecretTypeTLS:                 false,
		corev1.SecretTypeDockerConfigJson:    false,
		corev1.SecretTypeSSHAuth:             false,
	} {
		t.Run(string(kind), func(t *testing.T) {
			s := secret("s")
			s.Type = kind
			why, err := Secrets(&fakePods{}, ourNode).Stay(s)
			if err != nil || (why != "") != want {
				t.Errorf("want it to stay: %v, got %q, %v", want, why, err)
			}
			if want && !strings.Contains(why, string(kind)) {
				t.Errorf("it is not said why: %q", why)
			}
		})
	}
}

func TestASecretIsLookedAtWhenAPodThatRefersToItChanges(t *testing.T) {
	pods := &fakePods{}
	var looked []string
	Secrets(pods, ourNode).Watch(func(namespace, name string) { looked = append(looked, namespace+"/"+name) })
	pods.onEach(pulling("home").Node("worker-1").Obj())
	pods.onEach(pulling("unbound").Obj())
	pods.onEach(pulling("away").Node("vn-1").Obj())
	pods.onEach(pulling("done").Node("vn-1").Phase(corev1.PodSucceeded).Obj())
	if diff := cmp.Diff([]string{"shop/pull", "shop/pull"}, looked); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestConfigurationThatCannotChangeIsReplaced(t *testing.T) {
	for name, tc := range map[string]struct {
		live, want func(*corev1.Secret, *corev1.ConfigMap)
		replaced   bool
		typed      bool // holds for Secrets only
	}{
		"a value changes": {
			func(*corev1.Secret, *corev1.ConfigMap) {},
			func(s *corev1.Secret, c *corev1.ConfigMap) { s.Data["key"], c.Data["key"] = []byte("new"), "new" },
			false, false,
		},
		"it becomes immutable": {
			func(*corev1.Secret, *corev1.ConfigMap) {}, freeze, false, false,
		},
		"it is immutable and nothing changes": {freeze, freeze, false, false},
		"it is immutable and a value changes": {
			freeze, func(s *corev1.Secret, c *corev1.ConfigMap) {
				freeze(s, c)
				s.Data["key"], c.Data["key"] = []byte("new"), "new"
			}, true, false,
		},
		"it is immutable no more": {freeze, func(*corev1.Secret, *corev1.ConfigMap) {}, true, false},
		"its type changes": {
			func(*corev1.Secret, *corev1.ConfigMap) {},
			func(s *corev1.Secret, _ *corev1.ConfigMap) { s.Type = "example/x" }, true, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			ls, lc, ws, wc := secret("s"), configMap("c"), secret("s"), configMap("c")
			tc.live(ls, lc)
			tc.want(ws, wc)
			if got := Secrets(&fakePods{}, ourNode).Replace(ls, ws); got != tc.replaced {
				t.Errorf("Secret: want %v, got %v", tc.replaced, got)
			}
			if got := ConfigMaps().Replace(lc, wc); got != (tc.replaced && !tc.typed) {
				t.Errorf("ConfigMap: want %v, got %v", tc.replaced, got)
			}
		})
	}
}

func freeze(s *corev1.Secret, c *corev1.ConfigMap) {
	s.Immutable, c.Immutable = ptr.To(true), ptr.To(true)
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop"},
		Data:       map[string]string{"key": "value"}, BinaryData: map[string][]byte{"bin": {1}},
	}
}

func TestTheRootCAGetsANameOfItsOwn(t *testing.T) {
	if got := ConfigMaps().Name(configMap("kube-root-ca.crt"), "home"); got != "kube-root-ca.crt.home" {
		t.Errorf("got %s", got)
	}
	if got := ConfigMaps().Name(configMap("settings"), "home"); got != "settings" {
		t.Errorf("got %s", got)
	}
}

func TestWhatAnAPIServerSaysAboutASecretIsNotRepeated(t *testing.T) {
	const canary = "hunter2"
	refusals := map[string]error{
		"a policy that quotes it": apierrors.NewForbidden(resource, "pull", errors.New(canary+" is weak")),
		"a value that is invalid": apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "pull", field.ErrorList{
			field.Invalid(field.NewPath("data").Key("key"), canary, canary),
		}),
		"what no webhook understands": apierrors.NewBadRequest("error found in ..|" + canary + "|.."),
		"what etcd does not take": apierrors.NewInternalError(
			errors.New("etcdserver: request is too large " + canary)),
	}
	for name, refusal := range refusals {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.pods.pods = []*corev1.Pod{pulling("a").Node("vn-1").Obj()}
			h.has(secret("pull"))
			h.refuse = func(string, client.Object) error { return refusal }
			_, err := h.look("secrets", "pull")
			if !errors.Is(err, refusal) || strings.Contains(err.Error(), canary) {
				t.Errorf("got %v", err)
			}
			problems := h.m.Problems(testHome)
			if len(problems) != 1 || !strings.Contains(problems[0].Message, "the API server answers ") ||
				strings.Contains(problems[0].Message, canary) {
				t.Errorf("got %v", problems)
			}
			if told := strings.Join(h.told(), "\n"); told == "" || strings.Contains(told, canary) {
				t.Errorf("told %q", told)
			}
		})
	}
}
