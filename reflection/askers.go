package reflection

import (
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// asker is one of those who look at a source, with as many views.
type asker struct {
	sources *Sources
	views   int
}

// employ counts one more view of an asker. The caller holds the lock.
func (s *source) employ(by *Sources) {
	if i := s.indexOf(by); i >= 0 {
		s.askers[i].views++
		return
	}
	s.askers = append(s.askers, &asker{by, 1})
}

// dismiss counts one less: nothing is asked any more in the name of who has left. The caller holds the lock.
func (s *source) dismiss(by *Sources) {
	i := s.indexOf(by)
	if i < 0 {
		return
	}
	if s.askers[i].views--; s.askers[i].views == 0 {
		s.askers = slices.Delete(s.askers, i, i+1)
	}
}

func (s *source) indexOf(by *Sources) int {
	return slices.IndexFunc(s.askers, func(a *asker) bool { return a.sources == by })
}

// lent returns in whose name to ask now, or nil when nobody looks any more; after a failure it is the next one's turn.
func (s *source) lent(failed bool) client.WithWatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if failed {
		s.turn++
	}
	if len(s.askers) == 0 {
		return nil
	}
	return s.askers[s.turn%len(s.askers)].sources.client
}
