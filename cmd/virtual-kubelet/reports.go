package main

import (
	"github.com/twinspace/twinspace/namespacemap"
	"github.com/twinspace/twinspace/reflection"
)

// reports says at home what stands in the way of reflection, once it knows of whose.
func (a *agent) reports() *namespacemap.Reports {
	return &namespacemap.Reports{Home: a.mgr.GetClient(), ClusterID: a.opts.remoteClusterID}
}

// reflecting shows reports the engine.
type reflecting struct{ *reflection.Mirror }

// Policies returns what is reflected, in plain words.
func (r reflecting) Policies() map[string]string {
	out := map[string]string{}
	for resource, policy := range r.Mirror.Policies() {
		out[resource] = string(policy)
	}
	return out
}

// published has other kinds reflected, and says at home that they are.
func published(mirror *reflection.Mirror, reports *namespacemap.Reports) func(kinds ...reflection.Reflected) error {
	return func(kinds ...reflection.Reflected) error {
		defer reports.PoliciesChanged()
		return mirror.Reflect(kinds...)
	}
}
