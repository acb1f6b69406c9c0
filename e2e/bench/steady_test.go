package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/e2e/env"
)

func TestASteadySystemIsJudgedByItsWrites(t *testing.T) {
	lease := tallied{call{home, "update", "leases", byAgent, 0}, 60}
	reads := tallied{call{home, "get", "secrets", byAgent, 0}, 10}
	leaseRead := tallied{call{home, "get", "leases", byManager, 0}, 4}
	for name, test := range map[string]struct {
		calls []tallied
		want  map[string]float64
		judge string
	}{
		"leases and reads are life": {
			[]tallied{lease, reads, leaseRead}, map[string]float64{
				"our writes beside leases": 0, "our requests for leases per minute": 32,
				"our reads beside leases, per minute": 5,
			}, verdictMet,
		},
		"one write is too many": {
			[]tallied{lease, {call{away, "patch", "pods", byAgent, 0}, 1}}, map[string]float64{
				"our writes beside leases": 1, "our requests for leases per minute": 30,
				"our reads beside leases, per minute": 0,
			}, verdictMissed,
		},
		"so is a status of a node": {
			[]tallied{{call{home, "patch", "nodes/status", byAgent, 0}, 3}}, map[string]float64{
				"our writes beside leases": 3, "our requests for leases per minute": 0,
				"our reads beside leases, per minute": 0,
			}, verdictMissed,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &steadyResult{Pods: 100, Minutes: 2, usage: usage{
				Calls: test.calls,
				CPU:   map[string]float64{env.Consumer + " " + agentName(): 3, env.Consumer + " " + env.Manager: 1},
			}}
			const start = "100 pods left alone for 2 min: "
			test.want["CPU of the agent per minute, s"] = 1.5
			test.want["CPU of the controller-manager per minute, s"] = 0.5
			got := map[string]float64{}
			for _, f := range r.figures() {
				got[strings.TrimPrefix(f.Name, start)] = f.Value
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("figures (-want,+got):\n%s", diff)
			}
			if got := verdict(r.figures()[0]); got != test.judge {
				t.Errorf("writes are %s, want %s", got, test.judge)
			}
		})
	}
}

func TestOnlySignsOfLifeLeaveASystemQuiet(t *testing.T) {
	for name, test := range map[string]struct {
		call call
		want bool
	}{
		"a lease":          {call{home, "update", "leases", byAgent, 0}, false},
		"a node's status":  {call{home, "patch", "nodes/status", byAgent, 0}, false},
		"a read":           {call{away, "list", "events", byAgent, 0}, false},
		"a pod's status":   {call{home, "patch", "pods/status", byAgent, 0}, true},
		"an event":         {call{home, "create", "events", byAgent, 0}, true},
		"a refused create": {call{away, "create", "pods", byAgent, 403}, true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := busy(test.call); got != test.want {
				t.Errorf("busy: %v, want %v", got, test.want)
			}
		})
	}
}

func TestASteadyTableNamesWhatWasAsked(t *testing.T) {
	r := &steadyResult{
		Pods: 5000, Minutes: 5, Others: 12,
		usage: usage{
			Calls: []tallied{{call{home, "update", "leases", byAgent, 0}, 300}},
			CPU:   map[string]float64{"consumer etcd": 10},
		},
		Memory: []footprintOf{{env.Consumer, env.Etcd, 100 << 20, 200 << 20}},
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{
		"5000 offloaded pods left alone for 5.0 minutes: our components wrote 0 times beside leases; others 12 times",
		"60.00 update leases agent", "consumer etcd 2.00 100 200",
	} {
		if !strings.Contains(squeezed(out.String()), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestARestartIsComparedByHowTheAgentEnded(t *testing.T) {
	r := &podsRestartResult{Pods: 10, Events: 20, Restarts: []again{
		{How: stopped, Ready: 1, Seconds: 2, CPU: 3, Peak: 64 << 20},
		{How: killed, Ready: 1, Seconds: 17, Calls: []tallied{
			{call{home, "patch", "pods/status", byAgent, 0}, 2}, {call{away, "get", "pods", byAgent, 0}, 5},
		}},
	}}
	got := map[string]float64{}
	for _, f := range r.figures() {
		got[f.Name] = f.Value
	}
	for name, want := range map[string]float64{
		"agent stopped with 10 pods, 20 old events: until a new pod runs, s":            2,
		"agent stopped with 10 pods, 20 old events: our writes":                         0,
		"agent stopped with 10 pods, 20 old events: CPU of the next agent, s":           3,
		"agent stopped with 10 pods, 20 old events: peak memory of the next agent, MiB": 64,
		"agent killed with 10 pods, 20 old events: until a new pod runs, s":             17,
		"agent killed with 10 pods, 20 old events: our writes":                          2,
		"agent killed with 10 pods, 20 old events: our reads":                           5,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s: %v %v, want %v", name, value, ok, want)
		}
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{
		"agent killed with 10 pods and 20 old events: the next was ready after 1.0 s, a new pod ran after 17.0 s",
		"5.00 get pods agent",
	} {
		if !strings.Contains(squeezed(out.String()), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestOldEventsAreOld(t *testing.T) {
	pod := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "shop-consumer", Name: "a", UID: "7"}}
	now := time.Unix(10000, 0)
	e := oldEvent(pod, 3, now)
	want := corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "shop-consumer", Name: "a", UID: "7"}
	if diff := cmp.Diff(want, e.InvolvedObject); diff != "" {
		t.Errorf("about (-want,+got):\n%s", diff)
	}
	if age := now.Sub(e.LastTimestamp.Time); age < 10*time.Minute || e.Namespace != want.Namespace {
		t.Errorf("event %s/%s is %s old", e.Namespace, e.Name, age)
	}
	if oldEvent(pod, 4, now).Name == e.Name {
		t.Error("two events have one name")
	}
}
