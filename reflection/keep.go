package reflection

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// apply makes dst, new or live, what the home object asks for.
func (l *look) apply(dst client.Object) {
	stamp(dst, l.src, l.opts.Origin, l.opts.Destination)
	dst.SetLabels(labels.Merge(dst.GetLabels(), l.kind.labels))
	l.kind.mirror(dst, l.src)
}

// right says whether the copy is as it was when it was last seen right.
func (l *look) right(seen *metav1.PartialObjectMetadata) bool {
	return seen != nil && l.state.version == seen.ResourceVersion
}

// fresh returns the copy as it is created.
func (l *look) fresh() client.Object {
	out := l.kind.create()
	out.SetNamespace(l.t.away)
	out.SetName(l.name)
	l.apply(out)
	return out
}

// keep creates or corrects the copy.
func (l *look) keep(ctx context.Context) (time.Duration, error) {
	var err error
	if l.hash, l.size, err = hashOf(l.fresh()); err != nil {
		return 0, err
	}
	seen := l.p.seen(l.name)
	if l.right(seen) && l.state.hash == l.hash && (l.kind.feedback == nil || !l.news) {
		l.done(outcomeNoop, l.state.version)
		return 0, nil
	}
	if left := l.refusedFor(seen); left > 0 {
		return left, nil
	}
	// What is written must not share memory with the cache: answers are decoded into it.
	l.src = l.src.DeepCopyObject().(client.Object)
	if seen == nil && l.state.version == "" && !l.state.foreign {
		after, err := l.create(ctx)
		if !apierrors.IsAlreadyExists(err) {
			return after, err
		}
	}
	return l.correct(ctx)
}

func (l *look) create(ctx context.Context) (time.Duration, error) {
	if wait := l.budget(); wait > 0 {
		return wait, &conflictError{"somebody keeps deleting it"}
	}
	dst := l.fresh()
	err := l.write(ctx, func(ctx context.Context) error {
		return l.opts.Away.client.Create(ctx, dst, client.FieldOwner(v1beta1.FieldManager))
	})
	if err != nil {
		return 0, fmt.Errorf("create: %w", err)
	}
	return 0, l.finish(ctx, outcomeCreate, dst)
}

// correct looks at what is really there before it writes anything.
func (l *look) correct(ctx context.Context) (time.Duration, error) {
	live := l.kind.create()
	err := call(ctx, func(ctx context.Context) error {
		return l.opts.Away.client.Get(ctx, client.ObjectKey{Namespace: l.t.away, Name: l.name}, live)
	})
	if apierrors.IsNotFound(err) {
		l.state.foreign = false
		return l.create(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	if !ours(live, l.opts.Origin) {
		*l.state = copyState{foreign: true}
		return retryEach, errForeign
	}
	if since := live.GetDeletionTimestamp(); since != nil {
		if l.opts.Clock.Since(since.Time) < heldAfter {
			return time.Second, errLeaving
		}
		return retryEach, &heldError{live.GetFinalizers()} // and at once when it has gone
	}
	dst := live.DeepCopyObject().(client.Object)
	l.apply(dst)
	if equality.Semantic.DeepEqual(live, dst) {
		return 0, l.finish(ctx, outcomeNoop, live)
	}
	return l.change(ctx, live, dst)
}

// change makes dst of live, which is ours.
func (l *look) change(ctx context.Context, live, dst client.Object) (time.Duration, error) {
	patch, mark, err := patchOf(live, dst)
	if err != nil {
		return 0, err
	}
	if l.state.vain == mark {
		return 0, l.finish(ctx, outcomeNoop, live)
	}
	if wait := l.budget(); wait > 0 {
		return wait, &conflictError{otherManager(live) + " keeps changing it"}
	}
	if l.kind.replace(live, dst) {
		if err := l.delete(ctx, live); err != nil {
			return 0, err
		}
		return l.create(ctx)
	}
	err = l.write(ctx, func(ctx context.Context) error {
		return l.opts.Away.client.Patch(ctx, dst, patch, client.FieldOwner(v1beta1.FieldManager))
	})
	if err != nil {
		return 0, fmt.Errorf("patch: %w", err)
	}
	if dst.GetResourceVersion() == live.GetResourceVersion() { // the provider's own defaults have undone it
		l.state.vain = mark
		return 0, l.finish(ctx, outcomeNoop, dst)
	}
	return 0, l.finish(ctx, outcomePatch, dst)
}

// hashOf tells one desired copy, or change, from another, in memory only. It also returns how large it is.
func hashOf(what any) (hash uint64, size int, err error) {
	text, err := json.Marshal(what)
	if err != nil {
		return 0, 0, fmt.Errorf("encode copy: %w", err)
	}
	sum := fnv.New64a()
	sum.Write(text)
	return sum.Sum64(), len(text), nil
}

// No call blocks for longer than maxPatience. An API server that is busy needs more than callTimeout to note the
// owners of thousands of keys; then the same call again would not get further.
const (
	callTimeout = 10 * time.Second
	maxPatience = 40 * time.Second
	sizePerTick = 16 << 10 // for which an API server gets another second
)

// call bounds one call.
func call(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return f(ctx)
}

// write bounds one write of the copy.
func (l *look) write(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, min(maxPatience, callTimeout+time.Duration(l.size/sizePerTick)*time.Second))
	defer cancel()
	return f(ctx)
}
