package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/e2e/env"
)

// Who makes requests.
const (
	byAgent       = "agent"
	byManager     = "controller-manager"
	byScheduler   = "scheduler"
	byControllers = "Kubernetes' controllers"
	byKubelets    = "kubelets (kwok)"
	byBenchmark   = "benchmark"
)

// who names the cause of a request by its user.
func who(user string) string {
	_, account, _ := strings.Cut(user, "system:serviceaccount:")
	switch {
	case strings.HasPrefix(account, "liqo:"), strings.HasPrefix(account, "liqo-system:"):
		return byManager
	case strings.HasPrefix(account, "liqo-tenant-"), strings.HasPrefix(user, "system:node:provider-"):
		return byAgent
	case user == "system:kube-scheduler":
		return byScheduler
	case user == "system:kube-controller-manager", strings.HasPrefix(account, "kube-system:"):
		return byControllers
	case user == env.Kwok:
		return byKubelets
	case user == "admin":
		return byBenchmark
	default:
		return user
	}
}

// call is one way in which an API server is asked for something.
type call struct {
	// Server is home or away, Resource has the subresource.
	Server, Verb, Resource, By string
	// Refused is how it was answered if not well.
	Refused int `json:",omitempty"`
}

func (c call) String() string {
	text := c.Verb + " " + c.Resource
	if c.Refused > 0 {
		text += fmt.Sprintf(" (answered %d)", c.Refused)
	}
	return text
}

func (c call) isWrite() bool { return env.IsWrite(auditv1.Event{Verb: c.Verb}) }

// isOurs says whether the agent or the controller-manager asked.
func (c call) isOurs() bool { return c.By == byAgent || c.By == byManager }

func isLease(c call) bool { return c.Resource == "leases" }

// calledBy returns what an event is one of; ok is false of what is not a request for objects, or holds a connection
// open.
func calledBy(cluster string, e auditv1.Event) (c call, ok bool) {
	if e.Stage != auditv1.StageResponseComplete || e.ObjectRef == nil || e.Verb == "watch" {
		return call{}, false
	}
	c = call{Server: away, Verb: e.Verb, Resource: e.ObjectRef.Resource, By: who(e.User.Username)}
	if cluster == env.Consumer {
		c.Server = home
	}
	if e.ObjectRef.Subresource != "" {
		c.Resource += "/" + e.ObjectRef.Subresource
	}
	if e.ResponseStatus != nil && e.ResponseStatus.Code >= 300 {
		c.Refused = int(e.ResponseStatus.Code)
	}
	return c, true
}

// tallied is how often something was asked for.
type tallied struct {
	call
	N int
}

// tally counts calls.
type tally map[call]int

// list returns all counts, the largest first.
func (t tally) list() []tallied {
	var all []tallied
	for c, n := range t {
		all = append(all, tallied{c, n})
	}
	slices.SortFunc(all, func(a, b tallied) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Server, b.Server), cmp.Compare(a.String(), b.String()),
			cmp.Compare(a.By, b.By))
	})
	return all
}

// sumOf adds up the counts that are wanted.
func sumOf(all []tallied, wanted func(call) bool) float64 {
	n := 0
	for _, c := range all {
		if wanted(c.call) {
			n += c.N
		}
	}
	return float64(n)
}

// window is a time in which something is measured.
type window struct {
	bench  *bench
	audits map[string]*env.Audit
	cpu    map[string]time.Duration
	start  time.Time
}

// usage is what was used within a window.
type usage struct {
	// Calls are requests.
	Calls []tallied
	// CPU is seconds by process.
	CPU map[string]float64
}

// open begins to measure.
func (b *bench) open() (*window, error) {
	audits, err := b.audits()
	if err != nil {
		return nil, err
	}
	return &window{bench: b, audits: audits, cpu: b.cpu(), start: time.Now()}, nil
}

// close returns what was used since the window was opened: of all requests those that are wanted.
func (w *window) close(wanted func(call, auditv1.Event) bool) (usage, error) {
	u, t := usage{CPU: w.bench.cpuSince(w.cpu)}, tally{}
	for _, cluster := range slices.Sorted(maps.Keys(w.audits)) {
		err := w.audits[cluster].Each(func(e auditv1.Event) {
			if c, ok := calledBy(cluster, e); ok && wanted(c, e) {
				t[c]++
			}
		})
		if err != nil {
			return u, err
		}
	}
	u.Calls = t.list()
	return u, nil
}

// about wants the requests about a namespace and its twin, and whatever else our components ask for but for their signs
// of life. What the benchmark asks for counts only as far as it stands for the user: creating and deleting.
func about(namespace string) func(call, auditv1.Event) bool {
	return func(c call, e auditv1.Event) bool {
		if c.By == byBenchmark {
			return e.ObjectRef.Namespace == namespace && c.isWrite()
		}
		inside := e.ObjectRef.Namespace == namespace || e.ObjectRef.Namespace == namespace+"-"+env.Consumer
		return inside || c.isOurs() && !isLease(c) && c.Resource != "nodes/status"
	}
}

// ours wants everything that our components ask for.
func ours(c call, _ auditv1.Event) bool { return c.isOurs() }

// cpuOf adds up what some of our processes used.
func (u usage) cpuOf(components ...string) float64 {
	seconds := 0.0
	for _, c := range components {
		seconds += u.CPU[env.Consumer+" "+c]
	}
	return seconds
}

// agentName is the component that serves the only provider of most parts.
func agentName() string { return env.AgentOf(env.ProviderName(1)) }
