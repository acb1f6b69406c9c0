package reflection

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// reads checks what was read at home in the last look.
func (h *harness) reads(calls ...string) {
	h.t.Helper()
	if diff := cmp.Diff(calls, h.asked); diff != "" {
		h.t.Errorf("asked of home, -want,+got:\n%s", diff)
	}
}

func TestAnObjectIsReadWhenItOrItsCopyHasChanged(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	h.settle("configmaps", "settings")
	h.reads("get settings")
	h.settle("configmaps", "settings")
	h.reads()
	h.expect()

	changed := configMap("settings")
	changed.Data["key"] = "new"
	h.has(changed)
	h.settle("configmaps", "settings")
	h.reads("get settings")
	h.expect("get settings", "patch settings")

	h.meddle(func(c client.Client) error { return edit(t.Context(), c, "settings", "theirs") })
	h.settle("configmaps", "settings")
	h.reads("get settings")
	h.expect("get settings", "patch settings")
	h.settle("configmaps", "settings")
	h.reads()
}

func TestAWriteThatFailedIsTriedAgain(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	h.settle("configmaps", "settings")
	changed := configMap("settings")
	changed.Data["key"] = "new"
	h.has(changed)
	h.refuse = func(call string, _ client.Object) error {
		if call == "patch" {
			return errors.New("connection refused")
		}
		return nil
	}
	for range 2 {
		if _, err := h.look("configmaps", "settings"); err == nil {
			t.Error("want an error")
		}
		h.expect("get settings", "patch settings")
	}
	h.refuse = func(string, client.Object) error { return nil }
	h.settle("configmaps", "settings")
	if got := copied(h, &corev1.ConfigMap{}, "settings"); got.Data["key"] != "new" {
		t.Errorf("the copy is %v", got.Data)
	}
}

func TestWhatStaysIsReadOnce(t *testing.T) {
	h := newHarness(t)
	h.under = Policies{"secrets": PolicyDenyList}
	h.restart()
	release := secret("release")
	release.Type = helmRelease
	h.has(release)
	h.settle("secrets", "release")
	h.reads("get release")
	h.settle("secrets", "release")
	h.reads()
	h.expect()
}

func TestWhatIsCachedWholeIsNotRead(t *testing.T) {
	h := newHarness(t)
	h.has(build.Service(testHome, "web"))
	h.settle("services", "web")
	h.reads()
	h.expect("create web")
}

// strip makes the cache have the metadata alone of an object that it has, as it does in cluster scope of objects that
// were there before their namespace was reflected.
func (h *harness) strip(obj client.Object) {
	h.t.Helper()
	resource := resourceOf(obj)
	store := h.pair(resource).home.source.store
	known, _, _ := store.GetByKey(testHome + "/" + obj.GetName())
	if err := store.Update(leanMetadata(known.(client.Object), h.reflector(resource).gvk)); err != nil {
		h.t.Fatal(err)
	}
}

func TestWhatIsNotCachedWholeIsReadOnceAndKept(t *testing.T) {
	h := newHarness(t)
	h.has(build.Service(testHome, "web"))
	h.strip(build.Service(testHome, "web"))
	h.settle("services", "web")
	h.reads("get web")
	h.expect("create web")
	h.settle("services", "web")
	h.reads()
	if h.reflector("services").named(testHome, "web") == nil {
		t.Error("it is not known to those that follow it")
	}
	h.reflector("services").all(h.m.twins[testHome])
	side := side{h.reflector("services"), h.m.twins[testHome], h.pair("services")}
	homeSide{side}.changed(nil, build.Service(testHome, "web"))
	if h.reflector("services").named(testHome, "web") != nil {
		t.Error("an old state is kept")
	}
}

func TestWhatHasJustGoneIsLeftToTheCache(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	h.quietly(func() error { return h.home.Delete(t.Context(), configMap("settings")) })
	h.settle("configmaps", "settings")
	h.reads("get settings")
	h.expect()
}

func TestPolicies(t *testing.T) {
	const skip, allow = v1beta1.AnnotationSkipReflection, v1beta1.AnnotationAllowReflection
	for name, tc := range map[string]struct {
		policy      Policy
		annotations map[string]string
		want        bool
	}{
		"all that are not annotated":            {PolicyDenyList, nil, true},
		"not those that are skipped":            {PolicyDenyList, map[string]string{skip: "true"}, false},
		"those that are not skipped":            {PolicyDenyList, map[string]string{skip: "false"}, true},
		"those that are annotated":              {PolicyAllowList, map[string]string{allow: ""}, true},
		"none else":                             {PolicyAllowList, nil, false},
		"none that is not allowed":              {PolicyAllowList, map[string]string{allow: "false"}, false},
		"none that is skipped, though allowed":  {PolicyAllowList, map[string]string{allow: "", skip: ""}, false},
		"one that is allowed under Referenced":  {PolicyReferenced, map[string]string{allow: ""}, true},
		"one that nothing refers to under that": {PolicyReferenced, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.under = Policies{"secrets": tc.policy}
			h.restart()
			src := secret("x")
			src.Annotations = tc.annotations
			h.has(src)
			h.settle("secrets", "x")
			if made := len(h.calls) > 0; made != tc.want {
				t.Errorf("want a copy: %v, calls: %v", tc.want, h.calls)
			}
		})
	}
}

func TestUnderPolicyNoneNothingIsWatched(t *testing.T) {
	h := newHarness(t)
	h.under = Policies{"configmaps": PolicyNone}
	h.restart()
	for _, r := range h.m.reflectors {
		if r.kind.resource == "configmaps" {
			t.Error("they are")
		}
	}
}

func TestPoliciesThatMakeNoSense(t *testing.T) {
	for name, tc := range map[string]struct {
		policies Policies
		want     string
	}{
		"of no kind": {
			Policies{"widgets": PolicyNone}, "policy None of widgets: there is no such kind; there are",
		},
		"of what may come later": {Policies{"widgets.example.com": PolicyNone}, ""},
		"by references that nobody knows": {
			Policies{"configmaps": PolicyReferenced},
			"policy Referenced of configmaps: nobody can say what refers to them",
		},
		"none of what others follow": {
			Policies{"services": PolicyNone}, "they follow services, which are not reflected",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			opts := h.m.opts
			opts.Policies = tc.policies
			_, err := New(opts)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("want %q, got %v", tc.want, err)
			}
		})
	}
}

// certified refers to a Secret.
func certified(annotations map[string]string) *networkingv1.Ingress {
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: testHome, Name: "front", UID: "i", Annotations: annotations},
		Spec:       networkingv1.IngressSpec{TLS: []networkingv1.IngressTLS{{SecretName: "pull"}}},
	}
}

func TestWhatAnotherKindRefersToGoesWithIt(t *testing.T) {
	h := newHarness(t)
	h.has(secret("pull"))
	h.settle("secrets", "pull")
	h.expect()

	h.caches(certified(nil))
	h.settle("secrets", "pull")
	h.expect("create pull")

	h.caches(certified(map[string]string{v1beta1.AnnotationSkipReflection: ""}))
	if after, err := h.look("secrets", "pull"); err != nil || after != 10*time.Second {
		t.Errorf("want it to linger, got %s, %v", after, err)
	}
	h.clock.Step(10 * time.Second)
	h.settle("secrets", "pull")
	h.expect("delete pull")
}

func TestNothingIsDecidedBeforeWhatMayReferIsKnown(t *testing.T) {
	for name, spoil := range map[string]func(h *harness){
		"not watched yet": func(h *harness) { h.pair("ingresses").ready.Store(false) },
		"not read yet":    func(h *harness) { h.strip(certified(nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, marked(secret("pull"), "home", "uid"))
			h.has(secret("pull"))
			h.caches(certified(nil))
			spoil(h)
			if after, err := h.look("secrets", "pull"); err == nil || after != 0 {
				t.Errorf("want an error and another try soon, got %v, %s", err, after)
			}
			h.expect()
		})
	}
}

func TestAChangeOfWhatRefersHasBothLookedAt(t *testing.T) {
	h := newHarness(t)
	r := h.reflector("ingresses")
	s := homeSide{side{r, h.m.twins[testHome], h.pair("ingresses")}}
	other := certified(nil)
	other.Spec.TLS[0].SecretName = "other"
	h.queued("secrets")
	s.changed(certified(nil), other)
	h.expectQueued("secrets", "shop/pull", "shop/other")
	h.expectQueued("ingresses", "shop/front")
	s.changed(leanMetadata(other, r.gvk), nil) // what it referred to is not known
	h.expectQueued("secrets")
}

func TestACopyThatIsKept(t *testing.T) {
	why, unknown := "it has the only data", error(nil)
	h := newHarness(t)
	kind := ConfigMaps()
	kind.Name = nil
	kind.Kept = func(namespace, name string) (string, error) {
		if namespace != testHome || name != "settings" {
			t.Errorf("asked for %s/%s", namespace, name)
		}
		return why, unknown
	}
	h.kinds = []Reflected{mirror(kind)}
	h.restart()
	src := configMap("settings")
	h.has(src)
	h.settle("configmaps", "settings")
	h.lost(src)
	if after, err := h.look("configmaps", "settings"); err != nil || after != retryEach {
		t.Errorf("want it kept, and asked again after %s, got %s, %v", retryEach, after, err)
	}
	h.expect()
	why, unknown = "", errors.New("the volumes are not known yet")
	if after, err := h.look("configmaps", "settings"); !errors.Is(err, unknown) || after != 0 {
		t.Errorf("want another try soon, got %s, %v", after, err)
	}
	h.expect()
	unknown = nil
	h.settle("configmaps", "settings")
	h.expect("delete settings")
}

// In cluster scope, objects of a namespace that is offloaded later than they were there have to be read.
func TestWhatStaysIsNotReadToFindWhatItRefersTo(t *testing.T) {
	h := newHarness(t, marked(secret("pull"), "home", "uid"))
	h.has(secret("pull"))
	h.caches(certified(map[string]string{v1beta1.AnnotationSkipReflection: ""}))
	h.strip(certified(nil))
	if after, err := h.look("secrets", "pull"); err != nil || after != 10*time.Second {
		t.Errorf("want it to linger, got %s, %v", after, err)
	}
	h.clock.Step(10 * time.Second)
	h.settle("secrets", "pull")
	h.expect("delete pull")
}

func TestASliceThatIsForcedToGoIsMadeByWhatItsServiceSays(t *testing.T) {
	h := newHarness(t)
	service := build.Service(testHome, "web")
	service.Spec.TrafficDistribution = ptr.To(corev1.ServiceTrafficDistributionPreferSameZone)
	service.Annotations = map[string]string{v1beta1.AnnotationSkipReflection: ""}
	h.has(service)
	h.strip(service)
	slice := build.EndpointSlice(testHome, "a", "web", "worker-1", "10.0.0.1")
	slice.Annotations = map[string]string{v1beta1.AnnotationAllowReflection: ""}
	h.has(slice)

	h.pair("services").ready.Store(false)
	if _, err := h.look("endpointslices", "a.home"); err == nil {
		t.Error("it was made before its Service could be known")
	}
	h.expect()
	h.pair("services").ready.Store(true)
	h.settle("endpointslices", "a.home")
	h.reads("get web")
	if got := copied(h, &discoveryv1.EndpointSlice{}, "a.home"); got == nil || got.Endpoints[0].Hints == nil {
		t.Errorf("want the hints that the Service asks for, got %v", got)
	}
}
