package provider

import (
	corev1 "k8s.io/api/core/v1"
)

// testSubjects: what is said of a remote pod is about the home pod that it is of, and about no other.
func testSubjects(s *shop) {
	p, _ := s.agent(nil)
	p.TwinReady(s.ns, s.twin)
	home, away := s.running("web")
	meant := corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: s.twin, Name: "web", UID: away.UID}
	want := corev1.ObjectReference{Kind: "Pod", APIVersion: "v1", Namespace: s.ns, Name: "web", UID: home.UID}
	if got, ok := p.Subject(s.ns, meant); !ok || got != want {
		s.Errorf("got %+v, %v", got, ok)
	}
	for name, change := range map[string]func(ref *corev1.ObjectReference){
		"the pod before it":     func(ref *corev1.ObjectReference) { ref.UID = "another" },
		"no pod in particular":  func(ref *corev1.ObjectReference) { ref.UID = "" },
		"something else":        func(ref *corev1.ObjectReference) { ref.Kind = "Service" },
		"a pod of another kind": func(ref *corev1.ObjectReference) { ref.APIVersion = "v2" },
		"another pod":           func(ref *corev1.ObjectReference) { ref.Name = "db" },
		"home's own pod":        func(ref *corev1.ObjectReference) { ref.UID = home.UID },
	} {
		other := meant
		change(&other)
		if got, ok := p.Subject(s.ns, other); ok {
			s.Errorf("%s: got %+v", name, got)
		}
	}
	if got, ok := p.Subject(s.ns+"-2", meant); ok {
		s.Errorf("in another namespace: got %+v", got)
	}

	s.end(away)
	s.phase(home, corev1.PodFailed)
	if got, ok := p.Subject(s.ns, meant); !ok || got.UID != home.UID {
		s.Errorf("when the remote pod has gone: got %+v, %v", got, ok)
	}
}
