package reflection

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// verdict is what was decided about a home object: why it stays there, or "" when it goes.
type verdict struct {
	why    string
	linger bool // the copy may be kept for a while
}

// admit decides by what is known of a home object without what is in it: its annotations and the policy, what it
// follows, what refers to it. It also returns whether the object is forced to go, so that only Never can stop it.
func (r *reflector) admit(ctx context.Context, t *twin, src client.Object) (v verdict, forced bool, err error) {
	if forced, why := r.kind.policy.says(src); forced || why != "" {
		return verdict{why: why}, forced, nil
	}
	if r.leader != nil {
		v, err := r.leader.judgeNamed(ctx, t, r.kind.leader(src))
		if err != nil || v.why != "" {
			return v, false, err
		}
	}
	if r.kind.policy == PolicyReferenced {
		v, err := r.needed(t.home, t, src.GetName())
		return v, false, err
	}
	return verdict{}, false, nil
}

// examine decides by what is in a home object.
func (r *reflector) examine(src client.Object, forced bool) (verdict, error) {
	if why := r.kind.never(src); why != "" || forced {
		return verdict{why: why}, nil
	}
	why, err := r.kind.stay(src)
	return verdict{why: why, linger: true}, err
}

// judgeNamed decides about an object that others follow.
func (r *reflector) judgeNamed(ctx context.Context, t *twin, name string) (verdict, error) {
	p := t.readyPair(r.kind.resource)
	if p == nil {
		return verdict{}, fmt.Errorf("%s are not known yet", r.kind.resource)
	}
	src := p.home.get(name)
	if src == nil {
		return verdict{why: belongsToNone(r.kind.resource)}, nil
	}
	v, forced, err := r.admit(ctx, t, src)
	if err != nil || v.why != "" {
		return v, err
	}
	if src, err = r.readWhole(ctx, p, src); err != nil {
		return verdict{}, err
	}
	return r.examine(src, forced)
}

// meetLeader makes sure that what src follows is known when its copy is made, also where that does not decide whether
// there is one.
func (r *reflector) meetLeader(ctx context.Context, t *twin, src client.Object) error {
	if r.leader == nil {
		return nil
	}
	p := t.readyPair(r.leader.kind.resource)
	if p == nil {
		return fmt.Errorf("%s are not known yet", r.leader.kind.resource)
	}
	known := p.home.get(r.kind.leader(src))
	if known == nil {
		return nil
	}
	if _, err := r.leader.readWhole(ctx, p, known); !errors.Is(err, errGone) {
		return err
	}
	return nil
}

// errGone: the object is in the cache, but not there any more; the cache will tell.
var errGone = errors.New("it has just gone at home")

// readWhole returns a home object with everything in it, from the cache or, if that has the metadata alone, from home.
func (r *reflector) readWhole(ctx context.Context, p *pair, known client.Object) (client.Object, error) {
	if whole := p.whole(known); whole != nil {
		return whole, nil
	}
	obj := r.kind.create()
	err := call(ctx, func(ctx context.Context) error {
		return r.opts.Home.client.Get(ctx, client.ObjectKeyFromObject(known), obj)
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, errGone
	case err != nil:
		return nil, fmt.Errorf("read at home: %w", err)
	}
	obj = leanWhole(obj)
	if r.kind.whole {
		p.remember(obj)
		r.lookAtReferred(obj.GetNamespace(), obj)
	}
	return obj, nil
}
