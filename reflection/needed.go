package reflection

import (
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// needed decides about an object of a kind under [PolicyReferenced]. As long as there is no twin, no copies need it.
func (r *reflector) needed(namespace string, t *twin, name string) (verdict, error) {
	referenced, err := r.kind.referenced(namespace, name)
	for i := 0; i < len(r.referrers) && t != nil && err == nil && !referenced; i++ {
		referenced, err = r.referrers[i].refersTo(t, r.kind.resource, name)
	}
	if err != nil || referenced {
		return verdict{}, err
	}
	return verdict{why: nothingRefers, linger: true}, nil
}

// refersTo says whether an object of this kind that is reflected refers to another.
func (r *reflector) refersTo(t *twin, resource, name string) (bool, error) {
	p := t.readyPair(r.kind.resource)
	if p == nil {
		return false, fmt.Errorf("%s are not known yet", r.kind.resource)
	}
	for _, known := range p.home.all() {
		src := p.whole(known)
		if src == nil {
			if v, _, err := r.admit(t.ctx, t, known); err == nil && v.why != "" {
				continue // it stays, and so it is not read either
			}
			return false, fmt.Errorf("%s are being read", r.kind.resource)
		}
		if !slices.Contains(r.kind.refers(src)[resource], name) {
			continue
		}
		v, err := r.judgeNamed(t.ctx, t, src.GetName())
		if err != nil || v.why == "" {
			return err == nil, err
		}
	}
	return false, nil
}

// lookAtReferred has what objects of this kind refer to looked at.
func (r *reflector) lookAtReferred(home string, objs ...client.Object) {
	if r.kind.refers == nil {
		return
	}
	for _, obj := range objs {
		if obj == nil || stripped(obj) {
			continue // it is done when the object has been read
		}
		for resource, names := range r.kind.refers(obj) {
			peer := r.peers[resource]
			for i := 0; i < len(names) && peer != nil; i++ {
				peer.again(home, names[i])
			}
		}
	}
}
