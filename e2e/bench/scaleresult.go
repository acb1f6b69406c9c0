package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/e2e/env"
)

// watchCounts are watches by API server and resource.
type watchCounts = map[string]map[string]float64

// agentMemory is what an agent has.
type agentMemory struct {
	Component string
	footprint
}

// scaled is what was measured of one number of virtual nodes in one way.
type scaled struct {
	Providers int
	Shared    bool
	// Ready is when all virtual nodes were ready, InStep when all work was done, in seconds from the first peering.
	Ready, InStep float64
	// Before and After are the watches without peerings and with them, and with offloaded namespaces.
	Before, After watchCounts
	// CPU is seconds by process, while everything was left alone.
	CPU    map[string]float64
	Agents []agentMemory
	// Servers have what API servers have at the end.
	Servers []memory
}

// scaleResult is what measureScale found.
type scaleResult struct {
	// Servers are the clusters behind all virtual nodes, Pods those of each namespace on each of these, Objects those
	// of each namespace besides.
	Servers, Namespaces, Pods, Objects int
	Scope                              string
	// Minutes is how long everything was left alone.
	Minutes float64
	Runs    []scaled
}

func (s *scaled) title() string {
	if s.Shared {
		return fmt.Sprintf("%d virtual nodes, one agent for all", s.Providers)
	}
	return fmt.Sprintf("%d virtual nodes, an agent each", s.Providers)
}

// scaleMeasure is one thing that is measured, for each provider.
type scaleMeasure struct {
	// name and column, which is shorter, end in the unit; short has none.
	name, column, short string
	kind                kind
	of                  func(*scaleResult, *scaled) float64
	// promised is what docs/scaling.md says; nil where it says nothing.
	promised func(*scaleResult, *scaled) float64
}

func scaleMeasures() []scaleMeasure {
	return []scaleMeasure{
		{
			"resident memory of agents for each, MiB", "resident MiB", "resident", ofMemory,
			(*scaleResult).resident, nil,
		},
		{"live heap of agents for each, MiB", "live MiB", "live", ofMemory, (*scaleResult).live, nil},
		{
			"watches at home for each", "watches at home", "watches at home", ofCount,
			(*scaleResult).atHome, (*scaleResult).homeFormula,
		},
		{
			"watches on providers for each", "watches there", "watches there", ofCount,
			(*scaleResult).onProviders, (*scaleResult).providerFormula,
		},
		{"CPU of agents for each per minute, s", "CPU s per minute", "CPU", ofCPU, (*scaleResult).idle, nil},
	}
}

func (r *scaleResult) resident(s *scaled) float64 {
	return s.eachOf(func(a agentMemory) int64 { return a.RSS })
}

func (r *scaleResult) live(s *scaled) float64 {
	return s.eachOf(func(a agentMemory) int64 { return a.Live })
}

// eachOf returns MiB of all agents for each provider.
func (s *scaled) eachOf(of func(agentMemory) int64) float64 {
	var bytes int64
	for _, a := range s.Agents {
		bytes += of(a)
	}
	return mib(bytes) / float64(s.Providers)
}

func (r *scaleResult) atHome(s *scaled) float64 {
	return s.added(func(cluster string) bool { return cluster == env.Consumer })
}

func (r *scaleResult) onProviders(s *scaled) float64 {
	return s.added(func(cluster string) bool { return cluster != env.Consumer })
}

// added returns how many watches began on some of the API servers for each provider.
func (s *scaled) added(on func(cluster string) bool) float64 {
	n := 0.0
	for cluster := range s.After {
		if on(cluster) {
			n += sum(s.After[cluster]) - sum(s.Before[cluster])
		}
	}
	return n / float64(s.Providers)
}

func (r *scaleResult) idle(s *scaled) float64 {
	seconds := 0.0
	for _, a := range s.Agents {
		seconds += s.CPU[env.Consumer+" "+a.Component]
	}
	return seconds / r.Minutes / float64(s.Providers)
}

// homeFormula is how many watches docs/scaling.md says that there are at home for each provider, where nothing refers
// to a Secret.
func (r *scaleResult) homeFormula(s *scaled) float64 {
	each, providers := float64(6*r.Namespaces), float64(s.Providers)
	switch {
	case r.Scope == scopeCluster && s.Shared:
		return (8 + 4*providers) / providers
	case r.Scope == scopeCluster:
		return 12
	case s.Shared:
		return (3 + 4*providers + each) / providers
	default:
		return 7 + each
	}
}

// providerFormula is the same of the provider.
func (r *scaleResult) providerFormula(*scaled) float64 {
	if r.Scope == scopeCluster {
		return 9
	}
	return float64(2 + 8*r.Namespaces)
}

// figures are what runs of part scale are compared by.
func (r *scaleResult) figures() []figure {
	var all []figure
	for i := range r.Runs {
		s := &r.Runs[i]
		for _, m := range scaleMeasures() {
			f := figure{Name: r.name(s, m.name), Kind: m.kind, Value: m.of(r, s)}
			if m.promised != nil {
				f.Target = ptr.To(m.promised(r, s))
			}
			all = append(all, f)
		}
	}
	for _, pair := range r.pairs() {
		for _, m := range scaleMeasures() {
			what := fmt.Sprintf("one agent for all as a multiple of an agent each, %d virtual nodes, %d namespaces, "+
				"scope %s: %s", pair[1].Providers, r.Namespaces, r.Scope, m.short)
			all = append(all, figure{Name: what, Kind: ofRatio, Value: quotient(m.of(r, pair[1]), m.of(r, pair[0]))})
		}
	}
	return all
}

// name makes runs with other work other figures.
func (r *scaleResult) name(s *scaled, what string) string {
	return fmt.Sprintf("%s, %d namespaces, scope %s: %s", s.title(), r.Namespaces, r.Scope, what)
}

// pairs returns the runs of one number of virtual nodes, an agent each first.
func (r *scaleResult) pairs() [][2]*scaled {
	var all [][2]*scaled
	for i := 1; i < len(r.Runs); i++ {
		own, shared := &r.Runs[i-1], &r.Runs[i]
		if own.Providers == shared.Providers && !own.Shared && shared.Shared {
			all = append(all, [2]*scaled{own, shared})
		}
	}
	return all
}

func quotient(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func (r *scaleResult) print(w io.Writer) {
	fmt.Fprintf(w, "%d namespaces with %d objects, offloaded to all virtual nodes, %d pods in each on each; "+
		"%d clusters behind these; scope %s; of all agents, for each provider:\n",
		r.Namespaces, r.Objects, r.Pods, r.Servers, r.Scope)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "virtual nodes\tprocesses\t")
	for _, m := range scaleMeasures() {
		fmt.Fprintf(t, "%s\t", m.column)
		if m.promised != nil {
			fmt.Fprintf(t, "by formula\t")
		}
	}
	fmt.Fprintf(t, "home API server MiB\tready after s\tin step after s\n")
	for i := range r.Runs {
		r.row(t, &r.Runs[i])
	}
	for _, pair := range r.pairs() {
		r.ratios(t, pair[0], pair[1])
	}
	_ = t.Flush() // the writer's errors are the terminal's
}

func (r *scaleResult) row(w io.Writer, s *scaled) {
	fmt.Fprintf(w, "%s\t%d\t", strings.Replace(s.title(), " virtual nodes", "", 1), len(s.Agents))
	for _, m := range scaleMeasures() {
		fmt.Fprintf(w, "%s\t", plain(m.of(r, s)))
		if m.promised != nil {
			fmt.Fprintf(w, "%s\t", plain(m.promised(r, s)))
		}
	}
	fmt.Fprintf(w, "%.0f\t%.0f\t%.0f\n", mib(s.server(env.Consumer)), s.Ready, s.InStep)
}

// ratios shows what one agent for all needs as multiples of what an agent each does.
func (r *scaleResult) ratios(w io.Writer, own, shared *scaled) {
	fmt.Fprintf(w, "%d, for all / each\t%s\t", own.Providers,
		plain(quotient(float64(len(shared.Agents)), float64(len(own.Agents)))))
	for _, m := range scaleMeasures() {
		fmt.Fprintf(w, "%s\t", plain(quotient(m.of(r, shared), m.of(r, own))))
		if m.promised != nil {
			fmt.Fprintf(w, "%s\t", plain(quotient(m.promised(r, shared), m.promised(r, own))))
		}
	}
	of := func(s *scaled) float64 { return float64(s.server(env.Consumer)) }
	fmt.Fprintf(w, "%s\t%s\t%s\n", plain(quotient(of(shared), of(own))), plain(quotient(shared.Ready, own.Ready)),
		plain(quotient(shared.InStep, own.InStep)))
}

// server returns what the API server of a cluster has.
func (s *scaled) server(cluster string) int64 {
	for _, m := range s.Servers {
		if m.Cluster == cluster {
			return m.Bytes
		}
	}
	return 0
}
