package reflection

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Reflect says which kinds are reflected besides those in the options, from now on: what an earlier call named and this
// one does not is not watched any more, and its copies are left. A kind that an API server does not know is asked for
// again and again, and is one of the [Mirror.Problems] meanwhile. When there is an error, nothing changes.
func (m *Mirror) Reflect(kinds ...Reflected) error {
	kinds, err := m.opts.Policies.over(kinds)
	if err != nil {
		return err
	}
	homes, err := m.reflect(kinds)
	for _, home := range homes {
		m.opts.ProblemsChanged(home)
	}
	return err
}

// reflect returns the namespaces in which there were kinds that are not reflected any more: their problems are over.
func (m *Mirror) reflect(kinds []Reflected) (homes []string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	wanted := map[string]*reflector{}
	var errs []error
	for _, kind := range kinds {
		r, err := m.extraReflector(kind)
		if err != nil {
			errs = append(errs, fmt.Errorf("reflect %s: %w", kind.resource, err))
			continue
		}
		wanted[kind.resource] = r
	}
	if err := errors.Join(errs...); err != nil {
		for resource, r := range wanted {
			if m.extra[resource] != r {
				r.queue.ShutDown()
			}
		}
		return nil, err
	}
	for resource, r := range m.extra {
		if wanted[resource] != r {
			m.dismiss(r)
			homes = slices.Collect(maps.Keys(m.twins))
		}
	}
	for resource, r := range wanted {
		if m.extra[resource] != r {
			m.engage(r)
		}
	}
	m.extra = wanted
	return homes, nil
}

// extraReflector returns the reflector of a kind that may be there already. The caller holds the lock.
func (m *Mirror) extraReflector(kind Reflected) (*reflector, error) {
	if kind.follows != "" || kind.refers != nil {
		return nil, errors.New("kinds that follow or refer to others must be in the options")
	}
	known := m.extra[kind.resource]
	if known == nil && slices.ContainsFunc(m.reflectors, func(r *reflector) bool {
		return r.kind.resource == kind.resource
	}) {
		return nil, errors.New("the options have it already")
	}
	r, err := newReflector(m, kind)
	if err != nil {
		return nil, err
	}
	if known != nil && known.gvk == r.gvk {
		r.queue.ShutDown()
		return known, nil
	}
	return r, nil
}

// engage begins with a kind. The caller holds the lock.
func (m *Mirror) engage(r *reflector) {
	m.reflectors = append(m.reflectors, r)
	r.kind.watch(r.again)
	if !m.working() {
		return // Start does the rest, or is over
	}
	m.employ(r)
	for _, t := range m.twins {
		m.attach(t, r)
	}
}

// dismiss ends with a kind. The caller holds the lock.
func (m *Mirror) dismiss(r *reflector) {
	for _, t := range m.twins {
		m.detach(t, r)
	}
	r.queue.ShutDown()
	m.reflectors = slices.DeleteFunc(slices.Clone(m.reflectors), func(other *reflector) bool { return other == r })
}
