package reflection

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// ourNode knows one virtual Node of the provider.
func ourNode(name string) bool { return name == "vn-1" }

func TestEndpointsThatTheProviderIsTold(t *testing.T) {
	endpoint := func(address, node string) discoveryv1.Endpoint {
		e := discoveryv1.Endpoint{Addresses: []string{address}}
		if node != "" {
			e.NodeName = ptr.To(node)
		}
		return e
	}
	for name, tc := range map[string]struct {
		family discoveryv1.AddressType
		have   []discoveryv1.Endpoint
		want   []discoveryv1.Endpoint
	}{
		"those at home, without their node": {
			discoveryv1.AddressTypeIPv4,
			[]discoveryv1.Endpoint{endpoint("10.0.0.1", "worker-1")},
			[]discoveryv1.Endpoint{endpoint("10.0.0.1", "")},
		},
		"those on other providers": {
			discoveryv1.AddressTypeIPv6,
			[]discoveryv1.Endpoint{endpoint("fd00::1", "vn-2")},
			[]discoveryv1.Endpoint{endpoint("fd00::1", "")},
		},
		"those of a Service without selector": {
			discoveryv1.AddressTypeIPv4,
			[]discoveryv1.Endpoint{endpoint("192.0.2.1", "")},
			[]discoveryv1.Endpoint{endpoint("192.0.2.1", "")},
		},
		"not those that run there": {
			discoveryv1.AddressTypeIPv4,
			[]discoveryv1.Endpoint{endpoint("10.0.0.1", "worker-1"), endpoint("10.2.0.1", "vn-1")},
			[]discoveryv1.Endpoint{endpoint("10.0.0.1", "")},
		},
		"nothing when all run there": {
			discoveryv1.AddressTypeIPv4, []discoveryv1.Endpoint{endpoint("10.2.0.1", "vn-1")}, nil,
		},
		"not what means another machine there": {
			discoveryv1.AddressTypeIPv4,
			[]discoveryv1.Endpoint{
				endpoint("127.0.0.1", ""), endpoint("169.254.169.254", ""), endpoint("0.0.0.0", ""),
				endpoint("224.0.0.1", ""), endpoint("bad", ""), endpoint("10.0.0.1", ""),
			},
			[]discoveryv1.Endpoint{endpoint("10.0.0.1", "")},
		},
		"not what means another machine there, IPv6": {
			discoveryv1.AddressTypeIPv6, []discoveryv1.Endpoint{endpoint("::1", ""), endpoint("fe80::1", "")}, nil,
		},
		"host names as they are": {
			discoveryv1.AddressTypeFQDN,
			[]discoveryv1.Endpoint{endpoint("db.example", "")},
			[]discoveryv1.Endpoint{endpoint("db.example", "")},
		},
		"state, zone and host name are kept; pod and hints mean nothing there": {
			discoveryv1.AddressTypeIPv4,
			[]discoveryv1.Endpoint{{
				Addresses: []string{"10.0.0.1"}, Zone: ptr.To("z1"), Hostname: ptr.To("web-0"),
				Conditions: discoveryv1.EndpointConditions{
					Ready: ptr.To(false), Serving: ptr.To(true), Terminating: ptr.To(true),
				},
				TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "web-0"},
				Hints:     &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "z1"}}},
			}},
			[]discoveryv1.Endpoint{{
				Addresses: []string{"10.0.0.1"}, Zone: ptr.To("z1"), Hostname: ptr.To("web-0"),
				Conditions: discoveryv1.EndpointConditions{
					Ready: ptr.To(false), Serving: ptr.To(true), Terminating: ptr.To(true),
				},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			src := build.EndpointSlice("shop", "web-abc", "web", "")
			src.AddressType, src.Endpoints = tc.family, tc.have
			before := src.DeepCopy()
			dst := &discoveryv1.EndpointSlice{}
			stamp(dst, src, "home", "away")
			kind := EndpointSlices(ourNode)
			kind.Mirror(dst, src)
			if diff := cmp.Diff(tc.want, dst.Endpoints); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
			if diff := cmp.Diff(before, src); diff != "" {
				t.Errorf("the source was changed:\n%s", diff)
			}
			if got := kind.Never(src) != ""; got != (tc.want == nil) {
				t.Errorf("a copy is made: %v, but it would have %d endpoints", !got, len(tc.want))
			}
		})
	}
}

func TestLabelsOfAReflectedSlice(t *testing.T) {
	src := build.EndpointSlice("shop", "web-abc", "web", "worker-1", "10.0.0.1")
	src.Labels[discoveryv1.LabelManagedBy] = "endpointslice-controller.k8s.io"
	src.Labels[corev1.IsHeadlessService] = ""
	src.Annotations = map[string]string{triggerTime: "2030-01-01T00:00:00Z"}
	dst := &discoveryv1.EndpointSlice{}
	stamp(dst, src, "home", "away")
	EndpointSlices(ourNode).Mirror(dst, src)
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
}

func TestSlicesThatNeverLeave(t *testing.T) {
	kind := EndpointSlices(ourNode)
	reflection := build.EndpointSlice("shop", "web-abc", "web", "worker-1", "10.0.0.1")
	reflection.Labels[discoveryv1.LabelManagedBy] = v1beta1.EndpointSliceManagedBy
	if kind.Never(reflection) == "" {
		t.Error("a reflection is reflected on")
	}
	if why := kind.Never(build.EndpointSlice("shop", "web-abc", "web", "worker-1", "10.0.0.1")); why != "" {
		t.Errorf("an ordinary slice stays: %s", why)
	}
}

func TestASliceOfAnotherFamilyIsReplaced(t *testing.T) {
	four := build.EndpointSlice("shop", "web", "web", "")
	six := four.DeepCopy()
	six.AddressType = discoveryv1.AddressTypeIPv6
	kind := EndpointSlices(ourNode)
	if !kind.Replace(four, six) || kind.Replace(four, four) {
		t.Error("want replaced when, and only when, the family changes")
	}
}
