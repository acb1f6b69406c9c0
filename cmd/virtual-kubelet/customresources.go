package main

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection"
)

// customResources has those reflected that the command line or a VirtualNode of the provider names.
func (a *agent) customResources(
	view *homeView, reflect func(kinds ...reflection.Reflected) error, recorder record.EventRecorder,
) error {
	home, err := a.homeClientset()
	if err != nil {
		return err
	}
	custom := reflection.NewCustomResources(reflection.CustomResourcesOptions{
		Discover: home.Discovery().ServerResourcesForGroupVersion, Reflect: reflect, Speaks: view.speaks,
		Tell: func(message string) {
			nodes, _ := view.virtualNodes()
			for i := range nodes {
				about := corev1.ObjectReference{
					APIVersion: v1beta1.GroupVersion.String(), Kind: "VirtualNode",
					Namespace: nodes[i].Namespace, Name: nodes[i].Name, UID: nodes[i].UID,
				}
				recorder.Event(&about, corev1.EventTypeWarning, reflection.ReasonFailed, message)
			}
		},
		Clock: a.opts.Clock(),
	})
	want := func(*v1beta1.VirtualNode) {
		named := offered(view, func(spec *v1beta1.VirtualNodeSpec) []string { return spec.ReflectedResources })
		custom.Want(slices.Concat(a.opts.reflectResources, named))
	}
	want(nil) // until a VirtualNode is seen
	return errors.Join(a.mgr.Add(custom), onChange(a.mgr, &v1beta1.VirtualNode{}, want))
}

// speaks says whether the status of a home object is this provider's to tell: where a namespace has several twins, only
// one has the word, or they would contradict each other for ever.
func (v *homeView) speaks(obj *unstructured.Unstructured) bool {
	var off v1beta1.NamespaceOffloading
	at := client.ObjectKey{Namespace: obj.GetNamespace(), Name: v1beta1.OffloadingName}
	if err := v.home.Get(context.Background(), at, &off, client.UnsafeDisableDeepCopy); err != nil {
		return false
	}
	return speaker(obj, &off) == v.clusterID
}

// speaker is the cluster that an object is annotated with or, of those that a namespace is offloaded to, the first by
// name.
func speaker(obj metav1.Object, off *v1beta1.NamespaceOffloading) string {
	if chosen := obj.GetAnnotations()[v1beta1.AnnotationStatusFrom]; chosen != "" {
		return chosen
	}
	var clusters []string
	for cluster, conditions := range off.Status.RemoteNamespacesConditions {
		if slices.ContainsFunc(conditions, func(c v1beta1.ClusterCondition) bool {
			return c.Type == v1beta1.ConditionOffloadingRequired && c.Status == corev1.ConditionTrue
		}) {
			clusters = append(clusters, cluster)
		}
	}
	if len(clusters) == 0 {
		return ""
	}
	return slices.Min(clusters)
}
