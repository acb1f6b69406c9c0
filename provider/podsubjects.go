package provider

import (
	corev1 "k8s.io/api/core/v1"
)

// Subject returns the home pod whose remote pod is meant, by its name and UID in the twin of the namespace; also when
// the remote pod has gone and the home pod has not yet. ok is false when there is none, as far as is known.
func (p *Pods) Subject(namespace string, meant corev1.ObjectReference) (subject corev1.ObjectReference, ok bool) {
	if meant.Kind != "Pod" || meant.APIVersion != "v1" && meant.APIVersion != "" || meant.UID == "" {
		return subject, false
	}
	k := key{Namespace: namespace, Name: meant.Name}
	home, _, _ := p.homePod(k)
	if home == nil {
		return subject, false
	}
	if away := p.shown(home); away == nil || away.UID != meant.UID {
		if p.memory.get(k, home.UID).away != meant.UID {
			return subject, false
		}
	}
	return corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: namespace, Name: home.Name, UID: home.UID,
	}, true
}
