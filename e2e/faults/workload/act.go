package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/history"
)

// How long users wait before they try again, at first and at most.
const (
	soonest = 200 * time.Millisecond
	latest  = 3 * time.Second
)

// fieldOwner is who users are to server-side apply.
const fieldOwner = "workload"

// errLeaving says that something of that name is still on its way out.
var errLeaving = errors.New("what has this name is still being deleted")

// carryOut does a step, however often that takes. It returns false when ctx ends before.
func (w *Workload) carryOut(ctx context.Context, s Step) bool {
	w.note(history.Note{Kind: history.Action, Name: s.Does, Cluster: env.Consumer, Object: s.About})
	for _, d := range s.Delete {
		if !w.insist(ctx, s.Slot, w.deletion(d)) {
			return false
		}
	}
	for _, obj := range s.Apply {
		if !w.insist(ctx, s.Slot, func(ctx context.Context) error { return w.apply(ctx, obj) }) {
			return false
		}
	}
	return true
}

func (w *Workload) note(n history.Note) {
	if w.opts.Notes != nil {
		w.opts.Notes.Note(n)
	}
}

// insist tries until it succeeds.
func (w *Workload) insist(ctx context.Context, slot int, try func(context.Context) error) bool {
	for pause := soonest; ; pause = min(2*pause, latest) {
		err := try(ctx)
		if err == nil {
			return ctx.Err() == nil
		}
		w.change(func() { w.queues[slot].trouble = err })
		select {
		case <-ctx.Done():
			return false
		case <-w.opts.Clock.After(pause):
		}
	}
}

// apply asks for an object as kubectl apply --server-side does, so that doing it twice is doing it once. What is on its
// way out takes what is applied and goes all the same, so its end is waited for.
func (w *Workload) apply(ctx context.Context, obj client.Object) error {
	want, err := configuration(obj, w.opts.Home.Scheme())
	if err != nil {
		return err
	}
	err = w.opts.Home.Apply(ctx, client.ApplyConfigurationFromUnstructured(want),
		client.FieldOwner(fieldOwner), client.ForceOwnership)
	if err != nil {
		return fmt.Errorf("apply %s %s: %w", want.GetKind(), client.ObjectKeyFromObject(obj), err)
	}
	if want.GetDeletionTimestamp() != nil {
		return fmt.Errorf("apply %s %s: %w", want.GetKind(), client.ObjectKeyFromObject(obj), errLeaving)
	}
	return nil
}

// configuration returns an object as a user would write it: without what only servers say.
func configuration(obj client.Object, scheme *runtime.Scheme) (*unstructured.Unstructured, error) {
	gvk, err := apiutil.GVKForObject(obj, scheme)
	if err != nil {
		return nil, fmt.Errorf("find the kind of %T: %w", obj, err)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return nil, fmt.Errorf("convert %T: %w", obj, err)
	}
	delete(content, "status")
	out := &unstructured.Unstructured{Object: content}
	out.SetGroupVersionKind(gvk)
	unstructured.RemoveNestedField(out.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(out.Object, "spec", "template", "metadata", "creationTimestamp")
	return out, nil
}

// deletion returns what asks for an end. The object is found once, so that nobody else's is deleted when the answer
// gets lost and the question is repeated.
func (w *Workload) deletion(d Deletion) func(context.Context) error {
	var found client.Object
	return func(ctx context.Context) error {
		if found == nil {
			obj, err := w.find(ctx, d)
			if err != nil || obj == nil {
				return err
			}
			found = obj
			w.noteForce(d, found)
		}
		uid := found.GetUID()
		opts := []client.DeleteOption{client.PropagationPolicy("Background"), client.Preconditions{UID: &uid}}
		if d.Grace != nil {
			opts = append(opts, client.GracePeriodSeconds(*d.Grace))
		}
		err := w.opts.Home.Delete(ctx, found, opts...)
		if err == nil || apierrors.IsNotFound(err) || replaced(err) {
			return nil
		}
		return fmt.Errorf("delete %T %s: %w", found, client.ObjectKeyFromObject(found), err)
	}
}

// noteForce says which pod is deleted by force, before it is: that excuses what nobody can keep then.
func (w *Workload) noteForce(d Deletion, obj client.Object) {
	if d.Grace != nil && *d.Grace == 0 {
		w.note(history.Note{
			Kind: history.Action, Name: history.ForceDelete, Cluster: env.Consumer, Resource: "pods",
			Object: obj.GetNamespace() + "/" + obj.GetName(), UID: obj.GetUID(),
		})
	}
}

// replaced says that a deletion was refused since the object with this UID is gone. API servers say so in two ways: as
// they look at the object, and as they write.
func replaced(err error) bool {
	refusal := fmt.Sprint(err)
	return apierrors.IsConflict(err) &&
		(strings.Contains(refusal, "UID in the precondition") || strings.Contains(refusal, "UID in precondition"))
}

// find returns the object to delete as it is now, or nil when there is none.
func (w *Workload) find(ctx context.Context, d Deletion) (client.Object, error) {
	if d.Nth != nil {
		return w.nth(ctx, d)
	}
	obj, ok := d.Object.DeepCopyObject().(client.Object)
	if !ok {
		return nil, fmt.Errorf("%T is no object", d.Object)
	}
	err := w.opts.Home.Get(ctx, client.ObjectKeyFromObject(obj), obj)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for %T %s: %w", obj, client.ObjectKeyFromObject(obj), err)
	}
	return obj, nil
}

// nth returns the n-th of the app's pods that nobody has deleted.
func (w *Workload) nth(ctx context.Context, d Deletion) (client.Object, error) {
	var pods corev1.PodList
	app := d.Object.GetLabels()[labelApp]
	err := w.opts.Home.List(ctx, &pods,
		client.InNamespace(d.Object.GetNamespace()), client.MatchingLabels{labelApp: app})
	if err != nil {
		return nil, fmt.Errorf("list pods of %s: %w", app, err)
	}
	live := slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil })
	if len(live) == 0 {
		return nil, nil
	}
	slices.SortFunc(live, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return &live[*d.Nth%len(live)], nil
}
