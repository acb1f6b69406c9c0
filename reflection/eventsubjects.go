package reflection

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Subject returns the home object whose copy, in the twin of the namespace, is meant; see [Subjects].
func (m *Mirror) Subject(namespace string, meant corev1.ObjectReference) (corev1.ObjectReference, bool) {
	t := m.twin(namespace)
	r := m.reflectorOf(meant)
	if t == nil || r == nil {
		return corev1.ObjectReference{}, false
	}
	p := t.readyPair(r.kind.resource)
	if p == nil {
		return corev1.ObjectReference{}, false
	}
	copied, src := p.seen(meant.Name), p.source(meant.Name)
	if copied == nil || src == nil || copied.UID != meant.UID ||
		copied.Annotations[v1beta1.AnnotationHomeUID] != string(src.GetUID()) {
		return corev1.ObjectReference{}, false
	}
	return corev1.ObjectReference{
		APIVersion: r.gvk.GroupVersion().String(), Kind: r.gvk.Kind,
		Namespace: src.GetNamespace(), Name: src.GetName(), UID: src.GetUID(),
	}, true
}

// reflectorOf returns the reflector of the kind that is meant, in whatever version; or nil.
func (m *Mirror) reflectorOf(meant corev1.ObjectReference) *reflector {
	m.mu.Lock()
	defer m.mu.Unlock()
	kind := meant.GroupVersionKind().GroupKind()
	for _, r := range m.reflectors {
		if r.gvk.GroupKind() == kind {
			return r
		}
	}
	return nil
}
