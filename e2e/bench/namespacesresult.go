package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/twinspace/twinspace/e2e/env"
)

// direction is what it took to bring all namespaces from one state to the other.
type direction struct {
	// Asked is when the benchmark had asked for all, Seconds when the last was done.
	Asked, Seconds float64
	// Writes are our components' by side, verb and resource.
	Writes map[string]int
	// CPU is seconds by process.
	CPU map[string]float64
}

// mapSize is the size of a NamespaceMap as JSON, and how often home wrote it.
type mapSize struct {
	Cluster              string
	Bytes, ManagedFields int
	Versions             int64
}

// namespacesResult is what measureNamespaces found.
type namespacesResult struct {
	Namespaces, Providers int
	Up, Down              direction
	Maps                  []mapSize
	Memory                []memory
	Leftovers             map[string]int
}

// floorUp is what offloading a namespace must write: per provider a desired entry, a twin, a binding in it and a status
// entry; and the NamespaceOffloading's status.
func (r *namespacesResult) floorUp() float64 { return float64(4*r.Providers + 1) }

// floorDown is what taking it back must write: per provider a desired entry, a twin and a status entry; and the
// NamespaceOffloading's finalizer. The binding goes with the twin.
func (r *namespacesResult) floorDown() float64 { return float64(3*r.Providers + 1) }

func (r *namespacesResult) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "%d namespaces on %d providers\tseconds\tper second\twrites per namespace\tfloor\tratio\n",
		r.Namespaces, r.Providers)
	r.row(t, "offloaded, all twins ready", r.Up, r.floorUp())
	r.row(t, "un-offloaded, nothing left", r.Down, r.floorDown())
	_ = t.Flush() // the writer's errors are the terminal's
	r.writes(w, "offloading", r.Up)
	r.writes(w, "un-offloading", r.Down)
	fmt.Fprintf(w, "\nNamespaceMaps with all namespaces:\n")
	for _, m := range r.Maps {
		fmt.Fprintf(w, "  %s: %.0f KiB, %d bytes per namespace, of it managedFields %d; home wrote it %d times\n",
			m.Cluster, float64(m.Bytes)/1024, m.Bytes/r.Namespaces, m.ManagedFields/r.Namespaces, m.Versions)
	}
	fmt.Fprintf(w, "\nWhat each process used:\n")
	t = tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  process\tCPU s, offloading\tCPU s, un-offloading\tpeak MiB\n")
	for _, m := range r.Memory {
		process := m.Cluster + " " + m.Component
		if m.Component == env.Etcd || m.Component == env.APIServer || m.Cluster == env.Consumer {
			fmt.Fprintf(t, "  %s\t%.2f\t%.2f\t%d\n", process, r.Up.CPU[process], r.Down.CPU[process], m.Bytes>>20)
		}
	}
	_ = t.Flush() // as above
	fmt.Fprintf(w, "\nLeft over in the end: %s\n", counted(r.Leftovers))
}

func (r *namespacesResult) row(w io.Writer, what string, d direction, floor float64) {
	writes := total(d.Writes) / float64(r.Namespaces)
	fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.2f\t%.0f\t%.2f\n",
		what, d.Seconds, float64(r.Namespaces)/d.Seconds, writes, floor, writes/floor)
}

func (r *namespacesResult) writes(w io.Writer, what string, d direction) {
	fmt.Fprintf(w, "\nWho wrote what per namespace, %s:\n", what)
	for _, kind := range slices.SortedFunc(maps.Keys(d.Writes), byCount(d.Writes)) {
		fmt.Fprintf(w, "  %6.2f  %s\n", float64(d.Writes[kind])/float64(r.Namespaces), kind)
	}
}

// counted says how many there are of what, without what there is none of.
func counted(things map[string]int) string {
	var some []string
	for _, thing := range slices.Sorted(maps.Keys(things)) {
		if things[thing] > 0 {
			some = append(some, fmt.Sprintf("%d %s", things[thing], thing))
		}
	}
	if len(some) == 0 {
		return "nothing"
	}
	return strings.Join(some, ", ")
}
