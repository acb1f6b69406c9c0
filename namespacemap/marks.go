package namespacemap

import (
	"context"
	"encoding/json"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// maxSelectorError bounds the annotation: all annotations of an object share 256 KiB.
const maxSelectorError = 1024

// marks sets the finalizer, and the annotation with the selector's syntax error while there is one.
func (o *Offloadings) marks(ctx context.Context, p *pass) error {
	before := p.off.DeepCopy()
	controllerutil.AddFinalizer(p.off, v1beta1.FinalizerOffloading)
	words := ""
	if p.selectorErr != nil {
		words = truncate(p.selectorErr.Error(), maxSelectorError)
	}
	told := p.off.Annotations[v1beta1.AnnotationSelectorError]
	switch words {
	case told:
	case "":
		delete(p.off.Annotations, v1beta1.AnnotationSelectorError)
	default:
		if p.off.Annotations == nil {
			p.off.Annotations = map[string]string{}
		}
		p.off.Annotations[v1beta1.AnnotationSelectorError] = words
	}
	if controllerutil.ContainsFinalizer(before, v1beta1.FinalizerOffloading) && words == told {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := o.Home.Patch(ctx, p.off, patch); err != nil {
		return fmt.Errorf("mark offloading of %s: %w", p.home, err)
	}
	o.own.wrote(p.off)
	if words != told && words != "" {
		o.Events.Eventf(p.off, nil, corev1.EventTypeWarning, "InvalidClusterSelector", "Select", "%s", words)
	}
	return nil
}

// unmark removes the finalizer, and with it the NamespaceOffloading.
func (o *Offloadings) unmark(ctx context.Context, p *pass) error {
	before := p.off.DeepCopy()
	if !controllerutil.RemoveFinalizer(p.off, v1beta1.FinalizerOffloading) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := o.Home.Patch(ctx, p.off, patch); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("release offloading of %s: %w", p.home, err)
	}
	o.own.wrote(p.off)
	return nil
}

// label keeps the namespace labelled for as long as its pods may leave home.
func (o *Offloadings) label(ctx context.Context, p *pass) error {
	if p.namespace == nil {
		return nil
	}
	abroad := !p.leaving() && p.off.Spec.PodOffloadingStrategy != v1beta1.Local
	value, labelled := p.namespace.Labels[v1beta1.LabelSchedulingEnabled]
	if labelled == abroad && (!abroad || value == "true") {
		return nil
	}
	var want any
	if abroad {
		want = "true"
	}
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": map[string]any{v1beta1.LabelSchedulingEnabled: want}},
	})
	if err != nil {
		return fmt.Errorf("encode label of namespace %s: %w", p.home, err)
	}
	namespace := namespaceMeta(p.home)
	if err := o.Home.Patch(ctx, namespace, client.RawPatch(types.MergePatchType, data)); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil
		}
		return p.blame("", fmt.Errorf("label namespace %s: %w", p.home, err))
	}
	return nil
}

// truncate cuts a text at a character boundary.
func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for limit > 0 && text[limit]&0xC0 == 0x80 {
		limit--
	}
	return text[:limit]
}
