package reflection

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Awaited names something that a pod at home refers to, that goes to the provider and is not there yet as home has it;
// or "". What cannot come is not awaited.
func (m *Mirror) Awaited(pod *corev1.Pod) string {
	t, kinds := m.begun(pod.Namespace)
	if t == nil {
		return ""
	}
	needs := baggageOf(&pod.Spec)
	for _, r := range kinds {
		for _, name := range sets.List(needs.of(r.kind.resource)) {
			if r.awaits(t, name) {
				return r.kind.resource + "/" + name
			}
		}
	}
	return ""
}

// begun returns the twin of a namespace and who works for it.
func (m *Mirror) begun(home string) (*twin, []*reflector) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.twins[home], m.reflectors
}

// of returns the names of the objects of one kind.
func (b baggage) of(resource string) sets.Set[string] {
	return map[string]sets.Set[string]{"secrets": b.secrets, "configmaps": b.configMaps}[resource]
}

func (r *reflector) awaits(t *twin, name string) bool {
	p := t.readyPair(r.kind.resource)
	if p == nil {
		return true
	}
	src := p.home.get(name)
	if src == nil {
		return false // then it is missing at home too
	}
	if v, _, err := r.admit(context.Background(), t, src); err != nil || v.why != "" {
		return err != nil
	}
	copied := r.kind.name(src, r.opts.Origin)
	if fresh, troubled := p.standing(copied); !fresh || troubled {
		return !troubled
	}
	seen := p.seen(copied)
	return seen == nil || seen.Annotations[v1beta1.AnnotationHomeUID] != string(src.GetUID())
}

// standing says whether a copy is not behind what home is known to have, and whether something keeps it from that.
func (p *pair) standing(name string) (fresh, troubled bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, behind := p.changed[name]
	_, troubled = p.problems[name]
	return !behind, troubled
}
