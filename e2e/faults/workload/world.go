package workload

import (
	"fmt"
	"slices"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// world is what users have asked for so far.
type world struct {
	seed      uint64
	providers []string
	// pods is how many pods they may ask for together.
	pods int
	// slots are the namespaces; nil is none. names are those of the last ones.
	slots []*namespace
	names []string
	// left are the names of namespaces that were deleted and not made again.
	left map[string]bool
}

// namespace is one namespace and all in it.
type namespace struct {
	name string
	// offload is nil where it is not offloaded.
	offload *offloading
	// settings and password count the changes of what all its pods refer to; notes are further ConfigMaps.
	settings, password int
	notes              []*note
	apps               []*app
}

// offloading is how a namespace is offloaded.
type offloading struct {
	strategy v1beta1.PodOffloadingStrategy
	mapping  v1beta1.NamespaceMappingStrategy
	// selects are the providers that the selector names; nil is the default selector, which takes all of them.
	selects []string
}

// note is a ConfigMap that nothing refers to.
type note struct {
	name    string
	version int
}

// kind is what makes pods.
type kind string

const (
	deployment  kind = "Deployment"
	statefulSet kind = "StatefulSet"
	job         kind = "Job"
	pod         kind = "Pod"
)

// app is something that has pods.
type app struct {
	kind kind
	name string
	// pods is how many it has at once: replicas, or a Job's parallelism.
	pods int32
	// completions of a Job; indexed ones have a pod for each number, and those of index fails never succeed.
	completions int32
	indexed     bool
	fails       *int32
	// version counts the changes of its pods' image.
	version int
	// paused: changes of a Deployment's pods wait.
	paused bool
	// parallel: the pods of a StatefulSet do not wait for each other.
	parallel bool
	// away: its pods have RuntimeClass liqo.
	away bool
	// service counts the changes of its Service, from 1; 0 is none.
	service int
	// takes is how long its pods take to end when they are deleted, and runs how long until those of a Job are done.
	takes, runs string
	// restarts is how often the container of a pod ends and is started again, and ends how it ends in the end.
	restarts int32
	ends     string
}

// site is where something can be done.
type site struct {
	slot int
	app  *app
	note *note
}

// in returns the namespace of a site.
func (w *world) in(s site) *namespace { return w.slots[s.slot] }

// room is how many more pods users may ask for.
func (w *world) room() int32 {
	room := int32(w.pods) //nolint:gosec // G115: small
	for _, ns := range w.slots {
		if ns == nil {
			continue
		}
		for _, a := range ns.apps {
			room -= a.pods
		}
	}
	return room
}

// spaces returns the slots whose namespace, or nil, passes.
func (w *world) spaces(pass func(*namespace) bool) []site {
	var out []site
	for i, ns := range w.slots {
		if pass(ns) {
			out = append(out, site{slot: i})
		}
	}
	return out
}

// apps returns the apps that pass.
func (w *world) apps(pass func(*app) bool) []site {
	var out []site
	for i, ns := range w.slots {
		if ns == nil {
			continue
		}
		for _, a := range ns.apps {
			if pass(a) {
				out = append(out, site{slot: i, app: a})
			}
		}
	}
	return out
}

// allNotes returns the ConfigMaps that nothing refers to.
func (w *world) allNotes() []site {
	var out []site
	for i, ns := range w.slots {
		if ns == nil {
			continue
		}
		for _, n := range ns.notes {
			out = append(out, site{slot: i, note: n})
		}
	}
	return out
}

// clusters returns the providers on which the namespace has a twin.
func (w *world) clusters(ns *namespace) []string {
	switch {
	case ns.offload == nil:
		return nil
	case ns.offload.selects == nil:
		return w.providers
	}
	var out []string
	for _, name := range w.providers {
		if slices.Contains(ns.offload.selects, name) {
			out = append(out, name)
		}
	}
	return out
}

// runs says whether there is a node that may take the pods of the app.
func (w *world) runs(ns *namespace, a *app) bool {
	twins := len(w.clusters(ns)) > 0
	switch {
	case a.away:
		return twins
	case ns.offload != nil && ns.offload.strategy == v1beta1.Remote:
		return twins
	default:
		return true
	}
}

// about names an object of a step.
func about(k kind, ns *namespace, name string) string {
	return fmt.Sprintf("%s %s/%s", k, ns.name, name)
}
