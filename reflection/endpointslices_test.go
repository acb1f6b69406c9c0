package reflection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestAReflectedSlice(t *testing.T) {
	src := build.EndpointSlice("shop", "web-abc", "web", "worker-1", "10.0.0.1")
	src.Labels[discoveryv1.LabelManagedBy] = "endpointslice-controller.k8s.io"
	src.Labels[corev1.IsHeadlessService] = ""
	src.Annotations = map[string]string{triggerTime: "2030-01-01T00:00:00Z"}
	before, dst := src.DeepCopy(), &discoveryv1.EndpointSlice{}
	(&look{src: src, reflector: &reflector{
		kind: mirror(EndpointSlices(facts())), opts: Options{Origin: "home", Destination: "away"},
	}}).apply(dst)
	want := map[string]string{
		discoveryv1.LabelServiceName: "web",
		discoveryv1.LabelManagedBy:   v1beta1.EndpointSliceManagedBy,
		corev1.IsHeadlessService:     "",
		v1beta1.LabelOrigin:          "home",
		v1beta1.LabelDestination:     "away",
	}
	if diff := cmp.Diff(want, dst.Labels); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{v1beta1.AnnotationHomeUID: ""}, dst.Annotations); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if diff := cmp.Diff(src.Ports, dst.Ports); diff != "" || dst.AddressType != src.AddressType {
		t.Errorf("ports or family lost: %s", diff)
	}
	if diff := cmp.Diff(before, src); diff != "" {
		t.Errorf("the source was changed:\n%s", diff)
	}
}

// The provider's controller hands the labels of a copied Service, our marks among them, on to slices of its own.
func TestSlicesOfTheProviderAreNotWatched(t *testing.T) {
	h := newHarness(t)
	h.has(build.Service(testHome, "web"))
	h.has(build.EndpointSlice(testHome, "a", "web", "worker-1", "10.0.0.1"))
	h.settle("endpointslices", "a.home")
	theirs := build.EndpointSlice(testAway, "web-xyz", "web", "node-1", "10.2.0.1")
	theirs.Labels[v1beta1.LabelOrigin] = "home"
	theirs.Labels[discoveryv1.LabelManagedBy] = "endpointslice-controller.k8s.io"
	h.meddle(func(c client.Client) error { return c.Create(t.Context(), theirs) })
	h.catchUp()
	if p := h.pair("endpointslices"); p.seen("a.home") == nil || p.seen("web-xyz") != nil {
		t.Errorf("want our own slices, and no others, got %v", p.away.all())
	}
}

func TestSlicesThatNeverLeave(t *testing.T) {
	for name, tc := range map[string]struct {
		node     string
		selector map[string]string
		managed  string
		stays    bool
	}{
		"one of pods at home":                    {"worker-1", map[string]string{"app": "web"}, "", false},
		"one of pods on the provider":            {"vn-1", map[string]string{"app": "web"}, "", true},
		"one of pods that no selector names":     {"vn-1", nil, "", false},
		"one that was reflected here from below": {"worker-1", nil, v1beta1.EndpointSliceManagedBy, true},
	} {
		t.Run(name, func(t *testing.T) {
			service := build.Service("shop", "web")
			service.Spec.Selector = tc.selector
			kind := EndpointSlices(facts())
			kind.Lead(func(namespace, name string) client.Object {
				if namespace != "shop" || name != "web" {
					t.Errorf("asked for Service %s/%s", namespace, name)
				}
				return service
			})
			src := build.EndpointSlice("shop", "web-abc", "web", tc.node, "10.0.0.1")
			src.Labels[discoveryv1.LabelManagedBy] = tc.managed
			if why := kind.Never(src); (why != "") != tc.stays {
				t.Errorf("want that it stays: %v, got %q", tc.stays, why)
			}
		})
	}
}

func TestASliceOfAServiceThatIsNotKnownYetIsTakenForOneWithSelector(t *testing.T) {
	kind := EndpointSlices(facts())
	kind.Lead(func(string, string) client.Object { return nil })
	if kind.Never(build.EndpointSlice("shop", "web-abc", "web", "vn-1", "10.0.0.1")) == "" {
		t.Error("what the provider finds itself would be there twice")
	}
}

func TestASliceOfAnotherFamilyIsReplaced(t *testing.T) {
	four := build.EndpointSlice("shop", "web", "web", "")
	six := four.DeepCopy()
	six.AddressType = discoveryv1.AddressTypeIPv6
	kind := EndpointSlices(facts())
	if !kind.Replace(four, six) || kind.Replace(four, four) {
		t.Error("want replaced when, and only when, the family changes")
	}
}
