package reflection

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

var resource = schema.GroupResource{Resource: "configmaps"}

func conflict(obj client.Object) error {
	return apierrors.NewConflict(resource, obj.GetName(), errors.New("it was modified"))
}

// expect checks what the engine asked of the provider in the last look.
func (h *harness) expect(calls ...string) {
	h.t.Helper()
	if diff := cmp.Diff(calls, h.calls); diff != "" {
		h.t.Errorf("calls, -want,+got:\n%s", diff)
	}
}

func TestACopyIsMadeKeptAndRemoved(t *testing.T) {
	h := newHarness(t)
	src := configMap("settings")
	src.Labels = map[string]string{"app": "web", "tier": "front"}
	h.has(src)
	h.settle("configmaps", "settings")
	h.expect("create settings")
	got := copied(h, &corev1.ConfigMap{}, "settings")
	if got == nil || got.Data["key"] != "value" || got.Labels["app"] != "web" || !ours(got, "home") {
		t.Fatalf("the copy is %+v", got)
	}
	h.settle("configmaps", "settings")
	h.expect()

	changed := src.DeepCopy()
	changed.Data["key"] = "new"
	delete(changed.Labels, "tier")
	h.has(changed)
	h.settle("configmaps", "settings")
	h.expect("get settings", "patch settings")
	got = copied(h, &corev1.ConfigMap{}, "settings")
	if _, kept := got.Labels["tier"]; kept || got.Data["key"] != "new" {
		t.Errorf("the copy is %v %v", got.Labels, got.Data)
	}

	h.lost(changed)
	h.settle("configmaps", "settings")
	h.expect("delete settings")
	if copied(h, &corev1.ConfigMap{}, "settings") != nil {
		t.Error("the copy is still there")
	}
	h.settle("configmaps", "settings")
	h.expect()
}

func TestAChangeThatIsNotReflectedCostsNoWrite(t *testing.T) {
	h := newHarness(t)
	src := build.Service(testHome, "web")
	h.has(src)
	h.settle("services", "web")
	changed := src.DeepCopy()
	changed.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
	changed.Spec.ClusterIP, changed.ResourceVersion = "10.1.2.3", "77"
	h.has(changed)
	h.settle("services", "web")
	h.expect()
}

func TestARestartReadsOnceAndWritesNothing(t *testing.T) {
	h := newHarness(t)
	h.pods.pods = []*corev1.Pod{pulling("a").Node("vn-1").Obj()}
	objs := map[string]client.Object{
		"services":       build.Service(testHome, "web"),
		"endpointslices": build.EndpointSlice(testHome, "web-abc", "web", "worker-1", "10.0.0.1"),
		"configmaps":     configMap("settings"),
		"secrets":        secret("pull"),
	}
	for _, obj := range objs {
		h.has(obj)
	}
	for resource, obj := range objs {
		h.settle(resource, h.reflector(resource).kind.name(obj, "home"))
	}
	h.restart()
	for resource, obj := range objs {
		name := h.reflector(resource).kind.name(obj, "home")
		h.settle(resource, name)
		h.expect("get " + name)
		h.settle(resource, name)
		h.expect()
	}
}

func TestForeignObjectsAreNeverTouched(t *testing.T) {
	for name, there := range map[string]client.Object{
		"of somebody":                      foreign("settings"),
		"of another home":                  marked(configMap("settings"), "other", "uid"),
		"with our label but no other mark": marked(configMap("settings"), "home", ""),
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, there)
			before := copied(h, &corev1.ConfigMap{}, "settings")
			src := configMap("settings")
			h.has(src)
			for range 3 {
				after, err := h.look("configmaps", "settings")
				if !errors.Is(err, errForeign) || after != retryEach {
					t.Errorf("want errForeign and %s, got %v and %s", retryEach, err, after)
				}
			}
			h.expect("get settings") // and not another attempt to create it
			if diff := cmp.Diff(before, copied(h, &corev1.ConfigMap{}, "settings")); diff != "" {
				t.Errorf("it was touched:\n%s", diff)
			}
			events := h.told()
			if len(events) != 1 || !strings.Contains(events[0], ReasonFailed) ||
				!strings.Contains(events[0], "to provider-1: an object of that name is there and not ours") {
				t.Errorf("want one event, got %q", events)
			}

			h.lost(src)
			h.settle("configmaps", "settings")
			if diff := cmp.Diff(before, copied(h, &corev1.ConfigMap{}, "settings")); diff != "" {
				t.Errorf("it was touched when the home object went:\n%s", diff)
			}
		})
	}
}

func TestTheCopyAppearsWhenTheForeignObjectHasGone(t *testing.T) {
	h := newHarness(t, foreign("settings"))
	h.has(configMap("settings"))
	_, _ = h.look("configmaps", "settings")
	h.meddle(func(c client.Client) error { return h.deleteAny(c, foreign("settings")) })
	h.settle("configmaps", "settings")
	h.expect("get settings", "create settings")
}

// deleteAny deletes without caring in which state the object is.
func (h *harness) deleteAny(c client.Client, obj client.Object) error {
	if err := c.Get(h.t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
		return err
	}
	uid, version := obj.GetUID(), obj.GetResourceVersion()
	return c.Delete(h.t.Context(), obj, client.Preconditions{UID: &uid, ResourceVersion: &version})
}

func TestAForeignObjectThatComesBetweenLookAndWriteSurvives(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	h.refuse = func(call string, _ client.Object) error {
		if call == "create" {
			h.meddle(func(c client.Client) error {
				if copied(h, &corev1.ConfigMap{}, "settings") != nil {
					return nil
				}
				return c.Create(t.Context(), foreign("settings"))
			})
		}
		return nil
	}
	if _, err := h.look("configmaps", "settings"); !errors.Is(err, errForeign) {
		t.Errorf("want errForeign, got %v", err)
	}
	h.expect("create settings", "get settings")
	if got := copied(h, &corev1.ConfigMap{}, "settings"); got.Data["theirs"] != "x" {
		t.Errorf("it was overwritten: %v", got.Data)
	}
}

func TestAWriteLosesAgainstOneThatWasNotSeen(t *testing.T) {
	h := newHarness(t)
	src := configMap("settings")
	h.has(src)
	h.settle("configmaps", "settings")
	src = src.DeepCopy()
	src.Data["key"] = "new"
	h.has(src)
	h.refuse = func(call string, _ client.Object) error {
		if call == "patch" {
			h.meddle(func(c client.Client) error { return edit(t.Context(), c, "settings", "theirs") })
		}
		return nil
	}
	if _, err := h.look("configmaps", "settings"); !apierrors.IsConflict(err) {
		t.Errorf("want a conflict, got %v", err)
	}
	if events := h.told(); len(events) != 0 {
		t.Errorf("a conflict that will pass was told: %q", events)
	}
}

// edit changes a copy as somebody else would.
func edit(ctx context.Context, c client.Client, name, value string) error {
	obj := &corev1.ConfigMap{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: testAway, Name: name}, obj); err != nil {
		return err
	}
	obj.Data["key"] = value
	return c.Update(ctx, obj)
}

func TestDriftIsRepairedFiveTimesAMinute(t *testing.T) {
	for name, tc := range map[string]struct {
		drift     func(h *harness, c client.Client) error
		wantCalls []string
		wantEvent string
	}{
		"edited": {
			func(h *harness, c client.Client) error { return edit(h.t.Context(), c, "settings", "theirs") },
			[]string{"get settings", "patch settings"}, "conflict: somebody keeps changing it",
		},
		"deleted": {
			func(h *harness, c client.Client) error { return h.deleteAny(c, foreign("settings")) },
			[]string{"get settings", "create settings"}, "conflict: somebody keeps deleting it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.has(configMap("settings"))
			h.settle("configmaps", "settings")
			drift := func() { h.meddle(func(c client.Client) error { return tc.drift(h, c) }) }
			for range maxRepairs {
				drift()
				h.settle("configmaps", "settings")
				h.expect(tc.wantCalls...)
				h.clock.Step(time.Second)
			}
			drift()
			after, err := h.look("configmaps", "settings")
			var fight *conflictError
			if !errors.As(err, &fight) || after != 55*time.Second {
				t.Errorf("want a conflict and a pause of 55s, got %v and %s", err, after)
			}
			h.expect("get settings")
			if events := h.told(); len(events) != 1 || !strings.Contains(events[0], tc.wantEvent) {
				t.Errorf("want one event with %q, got %q", tc.wantEvent, events)
			}
			h.clock.Step(after)
			h.settle("configmaps", "settings")
			if got := copied(h, &corev1.ConfigMap{}, "settings"); got.Data["key"] != "value" {
				t.Errorf("not repaired: %v", got.Data)
			}
		})
	}
}

func TestOthersMayKeepNotesOnACopy(t *testing.T) {
	h := newHarness(t)
	h.has(build.Service(testHome, "web"))
	h.settle("services", "web")
	h.meddle(func(c client.Client) error {
		obj := copied(h, &corev1.Service{}, "web")
		metav1.SetMetaDataAnnotation(&obj.ObjectMeta, "cloud.example/id", "42")
		obj.Spec.ClusterIP = "10.2.0.9"
		return c.Update(t.Context(), obj)
	})
	h.settle("services", "web")
	h.expect("get web")
	h.settle("services", "web")
	h.expect()
}

func TestWhatStaysAtHome(t *testing.T) {
	const skip, allow = v1beta1.AnnotationSkipReflection, v1beta1.AnnotationAllowReflection
	annotate := func(obj client.Object, key, value string) client.Object {
		obj.SetAnnotations(map[string]string{key: value})
		return obj
	}
	token := secret("token")
	token.Type = corev1.SecretTypeServiceAccountToken
	for name, tc := range map[string]struct {
		obj  client.Object
		with []client.Object
		want bool
	}{
		"a ConfigMap leaves":          {obj: configMap("x"), want: true},
		"a ConfigMap that is skipped": {obj: annotate(configMap("x"), skip, "true")},
		"one that is not skipped":     {obj: annotate(configMap("x"), skip, "false"), want: true},
		"a Secret that nobody needs":  {obj: secret("x")},
		"a Secret that is allowed":    {obj: annotate(secret("x"), allow, "true"), want: true},
		"a token, if it is allowed":   {obj: annotate(token, allow, "true"), want: true},
		"a slice without its Service": {obj: build.EndpointSlice(testHome, "x", "web", "", "10.0.0.1")},
		"a slice of no Service":       {obj: build.EndpointSlice(testHome, "x", "", "", "10.0.0.1")},
		"a slice with its Service": {
			obj:  build.EndpointSlice(testHome, "x", "web", "", "10.0.0.1"),
			with: []client.Object{build.Service(testHome, "web")}, want: true,
		},
		"a slice whose Service is skipped": {
			obj:  build.EndpointSlice(testHome, "x", "web", "", "10.0.0.1"),
			with: []client.Object{annotate(build.Service(testHome, "web"), skip, "")},
		},
		"a slice that is allowed, though its Service is skipped": {
			obj: annotate(build.EndpointSlice(testHome, "x", "web", "", "10.0.0.1"),
				allow, "true"),
			with: []client.Object{annotate(build.Service(testHome, "web"), skip, "")},
			want: true,
		},
		"a slice that is skipped, though its Service leaves": {
			obj: annotate(build.EndpointSlice(testHome, "x", "web", "", "10.0.0.1"),
				skip, "true"),
			with: []client.Object{build.Service(testHome, "web")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			for _, obj := range append(tc.with, tc.obj) {
				h.has(obj)
			}
			resource := resourceOf(tc.obj)
			r := h.reflector(resource)
			copyName := r.kind.name(tc.obj, "home")
			h.settle(resource, copyName)
			if made := len(h.calls) > 0; made != tc.want {
				t.Errorf("want a copy: %v, calls: %s", tc.want, join(h.calls))
			}
		})
	}
}

func TestSkippingRemovesTheCopyAtOnce(t *testing.T) {
	h := newHarness(t)
	service, slice := build.Service(testHome, "web"), build.EndpointSlice(testHome, "a", "web", "", "10.0.0.1")
	h.has(service)
	h.has(slice)
	h.settle("services", "web")
	h.settle("endpointslices", "a.home")
	service = service.DeepCopy()
	service.Annotations = map[string]string{v1beta1.AnnotationSkipReflection: "true"}
	h.has(service)
	h.settle("services", "web")
	h.expect("delete web")
	h.settle("endpointslices", "a.home")
	h.expect("delete a.home")
}

func TestASecretGoesWhenNobodyNeedsItAnyMore(t *testing.T) {
	h := newHarness(t)
	h.has(secret("pull"))
	h.pods.pods = []*corev1.Pod{pulling("a").Node("vn-1").Obj()}
	h.settle("secrets", "pull")
	h.expect("create pull")

	h.pods.pods = nil
	after, err := h.look("secrets", "pull")
	if err != nil || after != 10*time.Second {
		t.Fatalf("want a last chance of 10s, got %s, %v", after, err)
	}
	h.expect()
	h.clock.Step(9 * time.Second)
	h.pods.pods = []*corev1.Pod{pulling("b").Node("vn-1").Obj()} // in time
	h.settle("secrets", "pull")
	h.expect()

	h.pods.pods = nil
	h.settle("secrets", "pull")
	h.clock.Step(9 * time.Second)
	h.settle("secrets", "pull")
	h.expect()
	h.clock.Step(time.Second)
	h.settle("secrets", "pull")
	h.expect("delete pull")
}

func TestNothingIsRemovedOnTheWordOfAnIncompleteCache(t *testing.T) {
	h := newHarness(t,
		marked(secret("pull"), "home", "uid"), marked(configMap("settings"), "home", "uid"),
		marked(build.EndpointSlice(testAway, "a.home", "web", ""), "home", "uid"))
	h.pods.unknown = true
	h.has(secret("pull"))
	if after, err := h.look("secrets", "pull"); !errors.Is(err, errPodsUnknown) || after != 0 {
		t.Errorf("want errPodsUnknown, got %v, %s", err, after)
	}
	h.expect()
	h.pair("configmaps").ready.Store(false)
	h.settle("configmaps", "settings")
	h.expect()
	h.pair("services").ready.Store(false)
	h.has(build.EndpointSlice(testHome, "a", "web", "", "10.0.0.1"))
	if _, err := h.look("endpointslices", "a.home"); err == nil {
		t.Error("a slice was decided about before its Service is known")
	}
	h.expect()
}

func TestWhatCannotBeChangedIsReplaced(t *testing.T) {
	h := newHarness(t)
	h.pods.pods = []*corev1.Pod{pulling("a").Node("vn-1").Obj()}
	s, c := secret("pull"), configMap("settings")
	c.Immutable = ptr.To(true)
	h.has(s)
	h.has(c)
	h.settle("secrets", "pull")
	h.settle("configmaps", "settings")

	s, c = s.DeepCopy(), c.DeepCopy()
	s.UID, s.Type = "again", corev1.SecretTypeBasicAuth
	c.UID, c.Data["key"] = "again", "new"
	h.has(s)
	h.has(c)
	h.settle("secrets", "pull")
	h.expect("get pull", "delete pull", "create pull")
	h.settle("configmaps", "settings")
	h.expect("get settings", "delete settings", "create settings")
	if got := copied(h, &corev1.Secret{}, "pull"); got.Type != corev1.SecretTypeBasicAuth ||
		got.Annotations[v1beta1.AnnotationHomeUID] != "again" {
		t.Errorf("the copy is %s of %v", got.Type, got.Annotations)
	}
	h.settle("secrets", "pull")
	h.expect()
}

func TestTheOlderOfTwoThatClaimANameHasIt(t *testing.T) {
	h := newHarness(t)
	root, claimed := configMap("kube-root-ca.crt"), configMap("kube-root-ca.crt.home")
	root.UID, claimed.UID = "root-uid", "claimed-uid"
	root.CreationTimestamp, claimed.CreationTimestamp = metav1.Unix(10, 0), metav1.Unix(20, 0)
	root.Data, claimed.Data = map[string]string{"ca": "real"}, map[string]string{"ca": "fake"}
	h.has(claimed)
	h.has(root)
	h.settle("configmaps", "kube-root-ca.crt.home")
	if got := copied(h, &corev1.ConfigMap{}, "kube-root-ca.crt.home"); got.Data["ca"] != "real" {
		t.Errorf("the copy is of %v", got.Data)
	}
	h.lost(root)
	h.settle("configmaps", "kube-root-ca.crt.home")
	if got := copied(h, &corev1.ConfigMap{}, "kube-root-ca.crt.home"); got.Data["ca"] != "fake" {
		t.Errorf("the copy is of %v", got.Data)
	}
}

func TestTroubleOnTheProvider(t *testing.T) {
	terminating := apierrors.NewForbidden(resource, "settings", errors.New("namespace is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, tc := range map[string]struct {
		err       error
		wantAfter time.Duration
		wantEvent string
	}{
		"no connection passes":             {errors.New("dial tcp: connection refused"), 0, ""},
		"too many requests passes":         {apierrors.NewTooManyRequests("slow down", 1), 0, ""},
		"a terminating twin is left alone": {terminating, retryEach, ""},
		"a quota is told, and tried again": {
			apierrors.NewForbidden(resource, "settings", errors.New("exceeded quota: q")), 0, "exceeded quota: q",
		},
		"what a terminal would obey is not told": {
			apierrors.NewForbidden(resource, "settings", errors.New("no\x1b[2J")), 0, "no [2J",
		},
		"what is too large is told, and not sent again soon": {
			apierrors.NewRequestEntityTooLargeError("limit is 3145728"), retryRefused, "limit is 3145728",
		},
		"what is invalid is told, and not sent again soon": {
			apierrors.NewInvalid(schema.GroupKind{Kind: "ConfigMap"}, "settings", nil), retryRefused, "is invalid",
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.has(configMap("settings"))
			h.refuse = func(string, client.Object) error { return tc.err }
			for range 2 {
				after, err := h.look("configmaps", "settings")
				if !errors.Is(err, tc.err) || after != tc.wantAfter {
					t.Errorf("want %v after %s, got %v after %s", tc.err, tc.wantAfter, err, after)
				}
				h.clock.Step(after)
			}
			events := strings.Join(h.told(), "\n")
			if tc.wantEvent == "" && events != "" ||
				strings.Count(events, ReasonFailed) > 1 || !strings.Contains(events, tc.wantEvent) {
				t.Errorf("want one event with %q, got %q", tc.wantEvent, events)
			}
			h.refuse = func(string, client.Object) error { return nil }
			h.settle("configmaps", "settings")
			h.expect("create settings")
		})
	}
}

func TestACacheThatLagsCostsAReadNotAWrite(t *testing.T) {
	h := newHarness(t)
	h.has(configMap("settings"))
	if _, err := h.lookBehind("configmaps", "settings"); err != nil {
		t.Fatal(err)
	}
	// The watch has not told of our own write yet, and home says something again.
	if _, err := h.lookBehind("configmaps", "settings"); err != nil {
		t.Fatal(err)
	}
	h.expect("get settings")
}

func TestADeleteGoesByWhatWasSeen(t *testing.T) {
	h := newHarness(t)
	src := configMap("settings")
	h.has(src)
	h.settle("configmaps", "settings")
	h.catchUp()
	h.meddle(func(c client.Client) error { return edit(t.Context(), c, "settings", "theirs") })
	h.lost(src)
	if _, err := h.lookBehind("configmaps", "settings"); !apierrors.IsConflict(err) {
		t.Errorf("want a conflict, got %v", err)
	}
	if copied(h, &corev1.ConfigMap{}, "settings") == nil {
		t.Error("it was deleted in a state that nobody looked at")
	}
}

func TestASliceFollowsItsEndpoints(t *testing.T) {
	h := newHarness(t)
	h.has(build.Service(testHome, "web"))
	slice := build.EndpointSlice(testHome, "a", "web", "worker-1", "10.0.0.1")
	h.has(slice)
	h.settle("endpointslices", "a.home")
	h.expect("create a.home")

	slice = slice.DeepCopy()
	slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{
		Addresses: []string{"10.2.0.1"}, NodeName: ptr.To("vn-1"),
	})
	h.has(slice) // the provider knows that one itself
	h.settle("endpointslices", "a.home")
	h.expect()

	slice = slice.DeepCopy()
	slice.Endpoints = slice.Endpoints[1:]
	h.has(slice)
	h.settle("endpointslices", "a.home")
	h.expect("delete a.home")
}
