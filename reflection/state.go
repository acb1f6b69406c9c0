package reflection

// Settled says that everything in a namespace at home was looked at since its reflection began, so that there are no
// more problems than those that [Mirror.Problems] returns.
func (m *Mirror) Settled(home string) bool {
	t := m.twin(home)
	if t == nil {
		return false
	}
	for _, r := range m.all() {
		p := t.pair(r.kind.resource)
		switch {
		case p == nil && r.onDemand():
			// Nothing refers to an object of the kind.
		case p == nil:
			return false
		case p.home.blind() || p.away.blind():
			// That is a problem of its own, and there are no others of the kind.
		case !p.ready.Load() || r.queue.Len() > 0:
			return false
		}
	}
	return true
}

// Policies returns which objects of which kinds are reflected, [PolicyNone] included.
func (m *Mirror) Policies() Policies {
	out := Policies{}
	for _, kind := range m.opts.Kinds {
		out[kind.resource] = kind.policy
		if policy, ok := m.opts.Policies[kind.resource]; ok {
			out[kind.resource] = policy
		}
	}
	for _, r := range m.all() {
		out[r.kind.resource] = r.kind.policy
	}
	return out
}

// all returns the reflectors as they are now.
func (m *Mirror) all() []*reflector {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]*reflector(nil), m.reflectors...)
}
