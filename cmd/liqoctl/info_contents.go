package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection"
)

// homeContents is what there is in a namespace at home. What is the same for all clusters it reads once.
type homeContents struct {
	home      *cluster
	namespace string
	declared  []v1beta1.VirtualNode // nil when they may not be read

	read    bool
	objects map[string][]client.Object // by resource
	unread  map[string]string          // by resource, why not
	pods    []*corev1.Pod
	podsWhy string // why they are not known
	volumes map[string]*corev1.PersistentVolume
	notes   []string
}

// kinds judges everything in the namespace for one cluster, under the policies that its agent published.
func (h *homeContents) kinds(ctx context.Context, clusterID string, policies map[string]string) ([]kindReport, error) {
	if h.declared == nil {
		return nil, nil // what goes where follows from whose the nodes are; there is a note
	}
	if len(policies) == 0 {
		h.notes = append(h.notes,
			fmt.Sprintf("the agent of cluster %s has not said yet what it reflects: is it running?", clusterID))
		return nil, nil
	}
	view := &podView{of: h, clusterID: clusterID}
	kinds := h.known(view, policies)
	if err := h.readAll(ctx, kinds); err != nil {
		return nil, err
	}
	preview := reflection.NewPreview(h.namespace, kinds, h.objects)
	var out []kindReport
	for _, kind := range kinds {
		resource := kind.Resource()
		report := kindReport{Resource: resource, Policy: policies[resource], AtHome: []stayReport{}}
		if reflection.Policy(report.Policy) == reflection.PolicyNone {
			continue // nobody asked for it
		}
		report.Unknown = h.unread[resource]
		for _, object := range h.objects[resource] {
			why, err := preview.Stays(resource, object)
			switch {
			case err != nil:
				report.Unknown = err.Error()
			case why != "":
				report.AtHome = append(report.AtHome, stayReport{object.GetName(), why})
			default:
				report.Reflected++
			}
		}
		out = append(out, report)
	}
	return out, nil
}

// known returns the kinds of the policies, sorted as the agent sorts them and custom resources last.
func (h *homeContents) known(view *podView, policies map[string]string) []reflection.Reflected {
	var out []reflection.Reflected
	custom := maps.Clone(policies)
	for _, kind := range reflection.Kinds(reflection.Facts{
		OurNode: view.ours, Pods: view, Volumes: volumeView{view},
		ClusterOf: func(string) string { return "" }, // for what copies say, which nobody looks at here
	}) {
		if policy, published := policies[kind.Resource()]; published {
			out = append(out, kind.Under(reflection.Policy(policy)))
			delete(custom, kind.Resource())
		}
	}
	for _, resource := range slices.Sorted(maps.Keys(custom)) {
		if reflection.Policy(custom[resource]) == reflection.PolicyNone {
			continue
		}
		if strings.Contains(resource, ".") {
			out = append(out, reflection.Custom(resource).Under(reflection.Policy(custom[resource])))
			continue
		}
		h.notes = append(h.notes, fmt.Sprintf("the agent reflects %s, which this liqoctl does not know", resource))
	}
	return out
}

// readAll reads all objects of the kinds that were not read before.
func (h *homeContents) readAll(ctx context.Context, kinds []reflection.Reflected) error {
	if !h.read {
		h.read, h.objects, h.unread = true, map[string][]client.Object{}, map[string]string{}
		if err := h.readPods(ctx); err != nil {
			return err
		}
		if err := h.readVolumes(ctx); err != nil {
			return err
		}
	}
	for _, kind := range kinds {
		if _, known := h.objects[kind.Resource()]; known || h.unread[kind.Resource()] != "" {
			continue
		}
		if err := h.readKind(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

func (h *homeContents) readPods(ctx context.Context) error {
	var pods corev1.PodList
	why, err := h.list(ctx, "pods", &pods)
	if err != nil {
		return err
	}
	h.podsWhy = why
	if why != "" {
		h.notes = append(h.notes, why)
	}
	for i := range pods.Items {
		h.pods = append(h.pods, &pods.Items[i])
	}
	return nil
}

func (h *homeContents) readKind(ctx context.Context, kind reflection.Reflected) error {
	resource := kind.Resource()
	list, err := h.listOf(kind)
	if err != nil {
		h.unread[resource] = "this cluster does not know the kind"
		return nil
	}
	why, err := h.list(ctx, resource, list)
	if err != nil {
		return err
	}
	if why != "" {
		h.unread[resource] = why
		return nil
	}
	h.objects[resource] = []client.Object{}
	err = meta.EachListItem(list, func(object runtime.Object) error {
		if known, ok := object.(client.Object); ok {
			h.objects[resource] = append(h.objects[resource], known)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list %s: %w", resource, err)
	}
	return nil
}

// listOf returns an empty list of a kind: of its metadata, if it is one of custom resources.
func (h *homeContents) listOf(kind reflection.Reflected) (client.ObjectList, error) {
	if _, custom := kind.New().(*metav1.PartialObjectMetadata); custom {
		of := schema.ParseGroupResource(kind.Resource())
		gvk, err := h.home.RESTMapper().KindFor(of.WithVersion(""))
		if err != nil {
			return nil, err
		}
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
		return list, nil
	}
	gvk, err := apiutil.GVKForObject(kind.New(), h.home.Scheme())
	if err != nil {
		return nil, err
	}
	object, err := h.home.Scheme().New(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err != nil {
		return nil, err
	}
	list, ok := object.(client.ObjectList)
	if !ok {
		return nil, fmt.Errorf("%s has no list", gvk)
	}
	return list, nil
}

// list reads what the user may, or says that they may not.
func (h *homeContents) list(ctx context.Context, resource string, into client.ObjectList) (why string, err error) {
	err = h.home.List(ctx, into, client.InNamespace(h.namespace))
	switch {
	case apierrors.IsForbidden(err):
		return "you may not list " + resource, nil
	case err != nil:
		return "", fmt.Errorf("list %s: %w", resource, err)
	}
	return "", nil
}

// podView shows the kinds the pods of the namespace as the agent of one cluster sees them.
type podView struct {
	of        *homeContents
	clusterID string
}

// List returns the pods, and whether they are known.
func (v *podView) List(string) ([]*corev1.Pod, bool) { return v.of.pods, v.of.podsWhy == "" }

// OnChange does nothing: what is shown does not change.
func (v *podView) OnChange(func(*corev1.Pod)) {}

// ours says whether a node is one of the cluster's virtual nodes.
func (v *podView) ours(node string) bool {
	return slices.ContainsFunc(v.of.declared, func(d v1beta1.VirtualNode) bool {
		return d.Name == node && d.Spec.ClusterID == v.clusterID && (d.Spec.CreateNode == nil || *d.Spec.CreateNode)
	})
}
