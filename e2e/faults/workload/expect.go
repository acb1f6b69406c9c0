package workload

import (
	"fmt"
	"maps"
	"slices"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
)

// Expected is what must be there at rest.
type Expected struct {
	// Namespaces are those that must be there, and Left those that must be gone, with their twins.
	Namespaces []ExpectedNamespace `json:"namespaces"`
	Left       []string            `json:"left,omitempty"`
}

// ExpectedNamespace is a namespace at home and all that users made in it.
type ExpectedNamespace struct {
	Name string `json:"name"`
	// Offloaded says whether there is a NamespaceOffloading; then Twin is the name of the twins, and Clusters are the
	// providers that must have one. No other provider may.
	Offloaded bool     `json:"offloaded,omitempty"`
	Twin      string   `json:"twin,omitempty"`
	Clusters  []string `json:"clusters,omitempty"`
	// ConfigMaps are their contents by their names, Secrets the names alone.
	ConfigMaps map[string]map[string]string `json:"configMaps"`
	Secrets    []string                     `json:"secrets"`
	// Apps are all that has pods.
	Apps []ExpectedApp `json:"apps,omitempty"`
}

// ExpectedApp is something that has pods.
type ExpectedApp struct {
	// Kind is Deployment, StatefulSet, Job or Pod.
	Kind string `json:"kind"`
	Name string `json:"name"`
	// Waits says that no node may take its pods as things are: nothing is asked of them.
	Waits bool `json:"waits,omitempty"`
	// Replicas must be ready, of a Deployment or StatefulSet; unless it is Paused, with the Image that was asked for.
	Replicas int32  `json:"replicas,omitempty"`
	Paused   bool   `json:"paused,omitempty"`
	Image    string `json:"image,omitempty"`
	// Succeeded is how many of a Job's pods must have, and FailedIndexes those that must not, as its status says it.
	Succeeded     int32  `json:"succeeded,omitempty"`
	FailedIndexes string `json:"failedIndexes,omitempty"`
	// Restarts is how often the container of each of its pods was started again.
	Restarts int32 `json:"restarts,omitempty"`
	// Service says that there is one of the same name: all ready pods are behind it, at home and in every twin.
	Service bool `json:"service,omitempty"`
}

func (w *world) expect() Expected {
	out := Expected{Left: slices.Sorted(maps.Keys(w.left))}
	for _, ns := range w.slots {
		if ns != nil {
			out.Namespaces = append(out.Namespaces, w.expectNamespace(ns))
		}
	}
	return out
}

func (w *world) expectNamespace(ns *namespace) ExpectedNamespace {
	out := ExpectedNamespace{
		Name: ns.name, Offloaded: ns.offload != nil, Clusters: w.clusters(ns), Secrets: []string{passwordName},
		ConfigMaps: map[string]map[string]string{settingsName: {"version": fmt.Sprint(ns.settings)}},
	}
	if ns.offload != nil {
		out.Twin = map[v1beta1.NamespaceMappingStrategy]string{
			v1beta1.DefaultName:     ns.name + "-" + env.Consumer,
			v1beta1.EnforceSameName: ns.name,
			v1beta1.SelectedName:    ns.name + "-away",
		}[ns.offload.mapping]
	}
	for _, n := range ns.notes {
		out.ConfigMaps[n.name] = map[string]string{"version": fmt.Sprint(n.version)}
	}
	for _, a := range ns.apps {
		out.Apps = append(out.Apps, w.expectApp(ns, a))
	}
	return out
}

func (w *world) expectApp(ns *namespace, a *app) ExpectedApp {
	out := ExpectedApp{
		Kind: string(a.kind), Name: a.name, Waits: !w.runs(ns, a), Restarts: a.restarts, Service: a.service > 0,
	}
	switch a.kind {
	case deployment, statefulSet:
		out.Replicas, out.Paused, out.Image = a.pods, a.paused, ns.template(a).Spec.Containers[0].Image
	case job:
		out.Succeeded = a.completions
		if a.fails != nil {
			out.Succeeded--
			out.FailedIndexes = fmt.Sprint(*a.fails)
		}
	}
	return out
}
