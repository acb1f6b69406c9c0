package reflection

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// feedBack writes to the home object what its copy has come to, if that is news there.
func (l *look) feedBack(ctx context.Context, copied client.Object) error {
	if l.kind.feedback == nil {
		return nil
	}
	want := l.src.DeepCopyObject().(client.Object)
	l.kind.feedback(want, copied)
	if equality.Semantic.DeepEqual(l.src, want) {
		return nil
	}
	if err := fits(want); err != nil {
		return err
	}
	patch, _, err := patchOf(l.src, want)
	if err != nil {
		return err
	}
	if err := l.patchStatus(ctx, want, patch); err != nil {
		return fmt.Errorf("write status at home: %w", err)
	}
	told := want.DeepCopyObject().(client.Object)
	if l.kind.feedback(told, copied); !equality.Semantic.DeepEqual(told, want) {
		l.bare.Store(false)
		return errNoStatus
	}
	l.state.source = edition(want)
	l.opts.Metrics.count(l.opts.Destination, l.kind.resource, outcomeFeedback)
	return nil
}

// maxStatus is how large a status may be that a provider has written at home (SEC-12), in bytes.
const maxStatus = 256 << 10

// errLargeStatus: a status is not written at home.
var errLargeStatus = fmt.Errorf("the status of its copy is larger than %d KiB and stays there", maxStatus>>10)

func fits(obj client.Object) error {
	fields, err := fieldsOf(obj)
	if err != nil {
		return err
	}
	_, size, err := hashOf(fields["status"])
	if err == nil && size > maxStatus {
		return errLargeStatus
	}
	return err
}

// errNoStatus: the kind had no subresource for its status, and has one now.
var errNoStatus = errors.New("the status was not taken")

// patchStatus writes the status of a home object, through the subresource if the kind has one: kinds of custom
// resources can be without, and get one later. It returns the answer in obj.
func (l *look) patchStatus(ctx context.Context, obj client.Object, patch client.Patch) error {
	home := l.opts.Home.client
	if !l.bare.Load() {
		err := call(ctx, func(ctx context.Context) error {
			return home.Status().Patch(ctx, obj, patch, client.FieldOwner(v1beta1.FieldManager))
		})
		if !apierrors.IsNotFound(err) {
			return err
		}
	}
	err := call(ctx, func(ctx context.Context) error {
		return home.Patch(ctx, obj, patch, client.FieldOwner(v1beta1.FieldManager))
	})
	l.bare.Store(err == nil)
	return err
}
