package reflection

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// shopful is a namespace with objects that go, and that stay for every reason.
func shopful() map[string][]client.Object {
	service := func(name, annotation string) *corev1.Service {
		s := build.Service(testHome, name)
		s.UID = "home-uid"
		if annotation != "" {
			s.Annotations = map[string]string{annotation: ""}
		}
		return s
	}
	settings := func(name, annotation string) *corev1.ConfigMap {
		c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: testHome, Name: name, UID: "home-uid"}}
		if annotation != "" {
			c.Annotations = map[string]string{annotation: "yes"}
		}
		return c
	}
	secret := func(name string, kind corev1.SecretType) *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: testHome, Name: name, UID: "home-uid"}, Type: kind,
		}
	}
	skip, allow := v1beta1.AnnotationSkipReflection, v1beta1.AnnotationAllowReflection
	forced := build.EndpointSlice(testHome, "forced", "hidden", "worker", "10.9.0.4")
	forced.Annotations = map[string]string{allow: ""}
	return map[string][]client.Object{
		"services": {service("web", ""), service("hidden", skip)},
		"endpointslices": {
			build.EndpointSlice(testHome, "web-1", "web", "worker", "10.9.0.1"),
			build.EndpointSlice(testHome, "web-2", "web", "vn-1", "10.9.0.2"),
			build.EndpointSlice(testHome, "hidden-1", "hidden", "worker", "10.9.0.3"),
			build.EndpointSlice(testHome, "orphan", "gone", "worker", "10.9.0.3"), forced,
		},
		"configmaps": {settings("plain", ""), settings("skipped", skip), settings("allowed", allow)},
		"secrets": {
			secret("used", corev1.SecretTypeOpaque), secret("unused", corev1.SecretTypeOpaque),
			secret("token", corev1.SecretTypeServiceAccountToken), secret("helm", helmRelease),
			secret("tls", corev1.SecretTypeTLS), secret("hidden-tls", corev1.SecretTypeTLS),
		},
		"ingresses": {entrance("web", "tls", ""), entrance("hidden", "hidden-tls", skip)},
	}
}

// entrance is an Ingress with a certificate.
func entrance(name, certificate, annotation string) *networkingv1.Ingress {
	out := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: testHome, Name: name, UID: "home-uid"}}
	out.Spec.TLS = []networkingv1.IngressTLS{{SecretName: certificate}}
	if annotation != "" {
		out.Annotations = map[string]string{annotation: ""}
	}
	return out
}

// Whoever asks what is reflected must hear what the engine does, in the same words.
func TestAPreviewSaysWhatTheEngineDoes(t *testing.T) {
	for name, policies := range map[string]Policies{
		"as the kinds say": nil,
		"only what is asked for": {
			"configmaps": PolicyAllowList, "secrets": PolicyAllowList, "services": PolicyAllowList,
		},
		"everything":               {"secrets": PolicyDenyList},
		"slices only when asked":   {"endpointslices": PolicyAllowList},
		"services only when asked": {"services": PolicyAllowList},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			h.under = policies
			h.restart()
			user := build.Pod("web").Namespace(testHome).Node("vn-1")
			h.pods.pods = append(h.pods.pods, user.Spec(func(s *corev1.PodSpec) {
				s.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "used"}, {Name: "token"}}
			}).Obj())
			objects := shopful()
			var kinds []Reflected
			for _, kind := range Kinds(Facts{OurNode: ourNode, ClusterOf: clusterOf, Pods: h.pods}) {
				if policy, ok := policies[kind.resource]; ok {
					kind = kind.Under(policy)
				}
				kinds = append(kinds, kind)
			}
			want := map[string]string{}
			for _, all := range objects {
				for _, obj := range all {
					h.has(obj)
				}
			}
			for resource, all := range objects {
				for _, obj := range all {
					v, err := h.reflector(resource).judgeNamed(t.Context(), h.m.twins[testHome], obj.GetName())
					if err != nil {
						t.Fatal(err)
					}
					want[resource+"/"+obj.GetName()] = v.why
				}
			}
			got := map[string]string{}
			preview := NewPreview(testHome, kinds, objects)
			for resource, all := range objects {
				for _, obj := range all {
					why, err := preview.Stays(resource, obj)
					if err != nil {
						t.Fatal(err)
					}
					got[resource+"/"+obj.GetName()] = why
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-engine,+preview):\n%s", diff)
			}
		})
	}
}

func TestAPreviewSaysWhatItDoesNotKnow(t *testing.T) {
	pods := &fakePods{}
	kinds := Kinds(Facts{OurNode: ourNode, ClusterOf: clusterOf, Pods: pods})
	objects := shopful()
	delete(objects, "services")
	preview := NewPreview(testHome, kinds, objects)
	var unread *UnreadError
	if _, err := preview.Stays("endpointslices", objects["endpointslices"][0]); !errors.As(err, &unread) ||
		unread.Resource != "services" {
		t.Errorf("of slices without their Services: %v", err)
	}
	if why, err := preview.Stays("configmaps", objects["configmaps"][0]); why != "" || err != nil {
		t.Errorf("of what depends on nothing: %q, %v", why, err)
	}
}

func TestCustomResourcesArePreviewedByTheirMetadata(t *testing.T) {
	widget := func(annotation string) client.Object {
		return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Name: "w", Namespace: testHome, Annotations: map[string]string{annotation: ""},
		}}
	}
	const resource = "widgets.example.com"
	for name, tc := range map[string]struct {
		policy     Policy
		annotation string
		stays      bool
	}{
		"a plain one":                    {PolicyDenyList, "x", false},
		"one that says no":               {PolicyDenyList, v1beta1.AnnotationSkipReflection, true},
		"one that says nothing":          {PolicyAllowList, "x", true},
		"one that says yes":              {PolicyAllowList, v1beta1.AnnotationAllowReflection, false},
		"none of the kind are reflected": {PolicyNone, v1beta1.AnnotationAllowReflection, true},
	} {
		t.Run(name, func(t *testing.T) {
			obj := widget(tc.annotation)
			preview := NewPreview(testHome, []Reflected{Custom(resource).Under(tc.policy)},
				map[string][]client.Object{resource: {obj}})
			why, err := preview.Stays(resource, obj)
			if err != nil || (why != "") != tc.stays {
				t.Errorf("stays because %q, %v", why, err)
			}
		})
	}
}
