package peering_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/peering"
	"github.com/twinspace/twinspace/reflection/remote"
)

// side is one cluster of a story that needs no API server.
type side struct {
	objects []client.Object
	// without names a kind that the cluster does not serve.
	without string
	// forbidden is a "verb resource" that the human may not do.
	forbidden string
	// broken is what every request fails with.
	broken error
	// managed shows who applied what.
	managed bool
	// writes counts what was written.
	writes int
}

// cluster returns a side on which peering has what it needs.
func cluster(uid string, objects ...client.Object) *side {
	system := namespace("kube-system", nil)
	system.UID = types.UID(uid)
	objects = append(objects, system)
	for _, name := range []string{
		"liqo-virtual-kubelet", "liqo-virtual-kubelet-cluster",
		"liqo-virtual-kubelet-tenant", "liqo-virtual-kubelet-lease",
	} {
		objects = append(objects, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	return &side{objects: objects}
}

func (s *side) client(t *testing.T) client.Client {
	t.Helper()
	all := scheme(t)
	mapper := apimeta.NewDefaultRESTMapper(nil)
	for kind := range all.AllKnownTypes() {
		if kind.Kind != s.without && mapped(kind.GroupVersion()) {
			mapper.Add(kind, scope(kind.Kind))
		}
	}
	builder := fake.NewClientBuilder().WithScheme(all).WithRESTMapper(mapper).WithObjects(s.objects...)
	if s.managed {
		builder = builder.WithReturnManagedFields()
	}
	return builder.
		WithInterceptorFuncs(interceptor.Funcs{
			Get: func(
				ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object,
				opts ...client.GetOption,
			) error {
				if s.broken != nil {
					return s.broken
				}
				return c.Get(ctx, key, o, opts...)
			},
			Create: s.create,
			Patch: func(
				ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption,
			) error {
				s.writes++
				return c.Patch(ctx, o, p, opts...)
			},
			Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
				s.writes++
				return c.Delete(ctx, o, opts...)
			},
		}).Build()
}

// create answers reviews of rights.
func (s *side) create(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
	if s.broken != nil {
		return s.broken
	}
	if review, ok := o.(*authorizationv1.SelfSubjectAccessReview); ok {
		asked := review.Spec.ResourceAttributes
		review.Status.Allowed = asked.Verb+" "+asked.Resource != s.forbidden
		return nil
	}
	s.writes++
	return c.Create(ctx, o, opts...)
}

func mapped(gv schema.GroupVersion) bool {
	for _, known := range []schema.GroupVersion{
		corev1.SchemeGroupVersion, rbacv1.SchemeGroupVersion, admissionv1.SchemeGroupVersion, v1beta1.GroupVersion,
	} {
		if gv == known {
			return true
		}
	}
	return false
}

func scope(kind string) apimeta.RESTScope {
	for _, cluster := range []string{"Namespace", "Node", "ClusterRole", "Validating"} {
		if strings.HasPrefix(kind, cluster) {
			return apimeta.RESTScopeRoot
		}
	}
	return apimeta.RESTScopeNamespace
}

// fenced is a client of the identity whose trespasses are refused.
func fenced(t *testing.T) func(string) (client.Client, error) {
	return func(string) (client.Client, error) {
		return fake.NewClientBuilder().WithScheme(scheme(t)).WithInterceptorFuncs(interceptor.Funcs{
			Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
				policy := "'liqo-fence'"
				if _, ok := o.(*corev1.Namespace); ok {
					policy = "'liqo-twins'"
				}
				return apierrors.NewForbidden(schema.GroupResource{}, o.GetName(),
					errors.New("ValidatingAdmissionPolicy "+policy+" denied request"))
			},
		}).Build(), nil
	}
}

// story returns a peering of consumer a and provider b.
func story(t *testing.T, home, away *side, reports *said) *peering.Peering {
	t.Helper()
	return &peering.Peering{
		Home: home.client(t), Away: away.client(t), HomeID: "a", AwayID: "b", NodeName: "b",
		Endpoint: remote.Credential{Server: "https://provider.example", CA: authority(t)},
		AsPeer:   fenced(t), TokenTTL: time.Hour, Report: reports.report,
	}
}

func idOf(id string) *corev1.ConfigMap {
	return &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: v1beta1.SystemNamespace, Name: v1beta1.ClusterIDConfigMap},
		Data:       map[string]string{v1beta1.ClusterIDKey: id},
	}
}

// tenantOf returns the tenant namespace for a cluster.
func tenantOf(id, uid string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: v1beta1.TenantNamespace(id), Labels: map[string]string{tenant: "true", origin: id},
		Annotations: map[string]string{v1beta1.AnnotationClusterUID: uid},
	}}
}
