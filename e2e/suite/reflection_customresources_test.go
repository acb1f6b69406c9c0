package suite

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// Custom resources: rights come by a label, the name by a VirtualNode, and a definition that the provider lacks is a
// condition until it is there.
func TestCustomResourcesAreReflectedOnceBothSidesKnowThem(t *testing.T) {
	w := newWorld(t, "custom")
	w.remoteOn("provider-1")
	there := away("provider-1")
	w.lent(w.home, "offloading.liqo.io/aggregate-to-offloaded-namespace", "get", "list", "watch", "patch")
	w.lent(there, "offloading.liqo.io/aggregate-to-twin", "get", "list", "watch", "create", "patch", "delete")
	w.defined(w.home)
	w.named("sprockets.v1.suite.example.com")

	sprocket := sprocketIn(w.ns)
	sprocket.Object["spec"] = map[string]any{"teeth": int64(12)}
	w.Eventually(func() error { return w.home.Create(w.ctx, sprocket) }).Should(Succeed())
	w.Eventually(w.notReflected).Should(ContainSubstring("sprockets.suite.example.com"), "the provider lacks it")

	w.defined(there)
	copied := sprocketIn(w.twin())
	w.Eventually(func() error {
		return there.Get(w.ctx, client.ObjectKeyFromObject(copied), copied)
	}, outage).Should(Succeed())
	w.Expect(copied.Object["spec"]).To(Equal(map[string]any{"teeth": int64(12)}))
	w.Eventually(w.notReflected, outage).Should(BeEmpty(), "nothing stands in the way any more")

	copied.Object["status"] = map[string]any{"turning": true}
	w.Expect(there.Status().Update(w.ctx, copied)).To(Succeed())
	w.Eventually(func() (any, error) {
		err := w.home.Get(w.ctx, client.ObjectKeyFromObject(sprocket), sprocket)
		return sprocket.Object["status"], err
	}).Should(Equal(map[string]any{"turning": true}), "the status came home")

	w.Expect(w.home.Delete(w.ctx, sprocket)).To(Succeed())
	w.Eventually(func() error {
		return there.Get(w.ctx, client.ObjectKeyFromObject(copied), copied)
	}).Should(MatchError(ContainSubstring("not found")))
}

func sprocketIn(namespace string) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{}
	obj.SetAPIVersion("suite.example.com/v1")
	obj.SetKind("Sprocket")
	obj.SetNamespace(namespace)
	obj.SetName("big")
	return obj
}

// meanwhile makes an object, and takes it away after the scenario.
func (w *world) meanwhile(c client.Client, obj client.Object) {
	w.t.Helper()
	w.Expect(c.Create(w.ctx, obj)).To(Succeed())
	w.t.Cleanup(func() { _ = c.Delete(context.Background(), obj) })
}

// lent makes a role that adds rights to sprockets to the one that goes by the label.
func (w *world) lent(c client.Client, label string, verbs ...string) {
	w.t.Helper()
	w.meanwhile(c, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "reflect-sprockets", Labels: map[string]string{label: "true"}},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"suite.example.com"}, Verbs: verbs,
			Resources: []string{"sprockets", "sprockets/status"},
		}},
	})
}

// defined has a cluster know sprockets.
func (w *world) defined(c client.Client) {
	w.t.Helper()
	w.meanwhile(c, &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "sprockets.suite.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "suite.example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Plural: "sprockets", Singular: "sprocket", Kind: "Sprocket",
			},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Subresources: &apiextensionsv1.CustomResourceSubresources{
					Status: &apiextensionsv1.CustomResourceSubresourceStatus{},
				},
				Schema: &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &apiextensionsv1.JSONSchemaProps{
					Type: "object", XPreserveUnknownFields: ptr.To(true),
				}},
			}},
		},
	})
}

// named has the VirtualNode of provider-1 name what is reflected besides, for as long as the scenario lasts.
func (w *world) named(resources ...string) {
	w.t.Helper()
	vn := build.VirtualNode("provider-1", "provider-1")
	w.Expect(w.home.Get(w.ctx, client.ObjectKeyFromObject(vn), vn)).To(Succeed())
	set := func(ctx context.Context, resources []string) error {
		before := vn.DeepCopy()
		vn.Spec.ReflectedResources = resources
		return w.home.Patch(ctx, vn, client.MergeFrom(before))
	}
	w.Expect(set(w.ctx, resources)).To(Succeed())
	w.t.Cleanup(func() {
		if err := set(context.Background(), nil); err != nil {
			w.t.Errorf("take %v off the list: %v", resources, err)
		}
	})
}

// notReflected returns what condition NotReflected says of provider-1; "" when there is none.
func (w *world) notReflected() string {
	var off v1beta1.NamespaceOffloading
	_ = w.get(w.home, w.ns, v1beta1.OffloadingName, &off)
	for _, condition := range off.Status.RemoteNamespacesConditions["provider-1"] {
		if condition.Type == v1beta1.ConditionNotReflected && condition.Status == "True" {
			return condition.Message
		}
	}
	return ""
}
