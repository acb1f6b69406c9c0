package reflection_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/reflection"
)

// TestCustomResourcesBetweenAPIServers: a definition that is missing on one side, comes, goes and comes again.
func TestCustomResourcesBetweenAPIServers(t *testing.T) {
	t.Parallel()
	planes := env.Planes(t, 2)
	w := &world{t: t, home: planes[0], away: planes[1], pods: &pods{}, events: record.NewFakeRecorder(1000)}
	w.prepare()
	w.start()
	defer func() { w.stop() }()
	home, away := w.offload("custom")
	w.mayReflectWidgets(home, away)
	defer w.reflectWidgets()()

	w.misses(home, "the home cluster", "nobody knows the kind")
	w.define(w.home)
	w.create(w.home, widget(home, "w", 1))
	w.misses(home, destination, "the provider does not know the kind")
	w.define(w.away)
	w.misses(home, "", "both know the kind")
	w.widget(w.away, away, "the copy is there", map[string]any{"size": int64(1)}, nil)

	copied := w.widget(w.away, away, "the copy is there", map[string]any{"size": int64(1)}, nil)
	copied.Object["status"] = map[string]any{"ready": true}
	if err := w.away.Client().Status().Update(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	w.widget(w.home, home, "the status came home", map[string]any{"size": int64(1)}, map[string]any{"ready": true})
	change(w, w.home, widget(home, "w", 0), func(obj *unstructured.Unstructured) {
		obj.Object["spec"] = map[string]any{"size": int64(2)}
	})
	w.widget(w.away, away, "the spec went away", map[string]any{"size": int64(2)}, map[string]any{"ready": true})

	crd := &apiextensionsv1.CustomResourceDefinition{}
	crd.Name = "widgets.example.com"
	w.delete(w.away, crd)
	w.misses(home, destination, "the provider does not know the kind any more")
	w.create(w.home, widget(home, "late", 1))
	w.create(w.home, configMap(home, "settings", one("a", "1")))
	eventually(w, &corev1.ConfigMap{}, at(away, "settings"), "reflected meanwhile", is("a", "1"))
	w.define(w.away)
	w.misses(home, "", "the provider knows it again")
	w.widget(w.away, away, "the copy is there again", map[string]any{"size": int64(2)}, nil)
	eventually(w, widget(away, "", 0), at(away, "late"), "reflected",
		func(*unstructured.Unstructured) bool { return true })

	w.delete(w.home, widget(home, "late", 0))
	w.eventuallyGone(widget(away, "", 0), away, "late")
}

// reflectWidgets has them reflected, as an agent does, until the returned function is called.
func (w *world) reflectWidgets() (stop func()) {
	w.t.Helper()
	ask, err := discovery.NewDiscoveryClientForConfig(w.agent)
	if err != nil {
		w.t.Fatal(err)
	}
	custom := reflection.NewCustomResources(reflection.CustomResourcesOptions{
		Discover: ask.ServerResourcesForGroupVersion, Reflect: w.mirror.Reflect,
		Speaks: func(*unstructured.Unstructured) bool { return true },
		Tell:   func(message string) { w.t.Errorf("told: %s", message) },
	})
	custom.Want([]string{"widgets.v1.example.com"})
	ctx, cancel := context.WithCancel(log.IntoContext(context.Background(), logr.Discard()))
	var running sync.WaitGroup
	running.Go(func() { _ = custom.Start(ctx) })
	return func() {
		cancel()
		running.Wait()
	}
}

// mayReflectWidgets gives both identities what docs/customresources.md tells to give them. Here nothing aggregates
// roles, so they are bound as they are.
func (w *world) mayReflectWidgets(home, away string) {
	w.t.Helper()
	role := func(verbs ...string) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "widgets"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"example.com"}, Resources: []string{"widgets"}, Verbs: verbs},
			{APIGroups: []string{"example.com"}, Resources: []string{"widgets/status"}, Verbs: []string{"patch"}},
		}}
	}
	w.create(w.home, role("get", "list", "watch"),
		binding(home, "widgets", v1beta1.TenantNamespace(destination), v1beta1.AgentServiceAccount))
	w.create(w.away, role("get", "list", "watch", "create", "patch", "delete"),
		binding(away, "widgets", v1beta1.TenantNamespace(origin), v1beta1.PeerServiceAccount))
}

func (w *world) define(c *env.Cluster) {
	w.t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "widgets.example.com"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: "example.com", Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "widgets", Singular: "widget", Kind: "Widget"},
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
	}
	// One of that name may still be going.
	err := wait.PollUntilContextTimeout(w.t.Context(), 100*time.Millisecond, patience, true,
		func(ctx context.Context) (bool, error) { return c.Client().Create(ctx, crd.DeepCopy()) == nil, nil })
	if err != nil {
		w.t.Fatal(err)
	}
	err = wait.PollUntilContextTimeout(w.t.Context(), 100*time.Millisecond, patience, true,
		func(ctx context.Context) (bool, error) {
			list := &unstructured.UnstructuredList{}
			list.SetGroupVersionKind(widget("", "", 0).GroupVersionKind())
			return c.Client().List(ctx, list) == nil, nil
		})
	if err != nil {
		w.t.Fatalf("%s does not serve widgets: %v", c.Name, err)
	}
}

func widget(namespace, name string, size int64) *unstructured.Unstructured {
	obj := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "example.com/v1", "kind": "Widget", "spec": map[string]any{"size": size},
	}}
	obj.SetNamespace(namespace)
	obj.SetName(name)
	return obj
}

// widget waits until the one called w is as it should be.
func (w *world) widget(c *env.Cluster, namespace, what string, spec, status map[string]any) *unstructured.Unstructured {
	w.t.Helper()
	obj := widget(namespace, "w", 0)
	err := wait.PollUntilContextTimeout(w.t.Context(), 50*time.Millisecond, patience, true,
		func(ctx context.Context) (bool, error) {
			err := c.Client().Get(ctx, client.ObjectKeyFromObject(obj), obj)
			got, _, _ := unstructured.NestedMap(obj.Object, "status")
			return err == nil && cmp.Equal(any(spec), obj.Object["spec"]) && cmp.Equal(status, got), nil
		})
	if err != nil {
		w.t.Fatalf("%s: not so: %v", what, obj.Object)
	}
	return obj
}

// misses waits until the namespace's problem is that a cluster misses the kind, or, without a cluster, that none does.
func (w *world) misses(home, cluster, what string) {
	w.t.Helper()
	var got []v1beta1.ReflectionProblem
	err := wait.PollUntilContextTimeout(w.t.Context(), 100*time.Millisecond, patience, true,
		func(context.Context) (bool, error) {
			got = w.mirror.Problems(home)
			if cluster == "" {
				return len(got) == 0, nil
			}
			for _, problem := range got {
				if problem.Resource == "widgets.example.com" && problem.Reason == v1beta1.ProblemMissingKind &&
					len(problem.Message) > len(cluster) && problem.Message[:len(cluster)] == cluster {
					return true, nil
				}
			}
			return false, nil
		})
	if err != nil {
		w.t.Fatalf("%s: the problems are %+v", what, got)
	}
}
