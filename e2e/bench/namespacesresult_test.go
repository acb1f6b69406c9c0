package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authnv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/e2e/env"
)

func TestNamespacesAreComparedToTheFloor(t *testing.T) {
	r := &namespacesResult{
		Namespaces: 100, Providers: 3,
		Up: direction{
			Seconds: 50, Writes: map[string]int{"home patch namespacemaps": 100, "away create namespaces": 1200},
			CPU: map[string]float64{"consumer controller-manager": 4.5},
		},
		Down:      direction{Seconds: 25, Writes: map[string]int{"away delete namespaces": 2000}},
		Maps:      []mapSize{{Cluster: "provider-1", Bytes: 20480, ManagedFields: 1000, Versions: 7}},
		Memory:    []memory{{"consumer", env.Manager, 64 << 20}, {"provider-1", env.Scheduler, 1}},
		Leftovers: map[string]int{"twins": 0, "keys of maps": 2},
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{
		"100 namespaces on 3 providers",
		"offloaded, all twins ready      50.0      2.0          13.00                  13      1.00",
		"un-offloaded, nothing left      25.0      4.0          20.00                  10      2.00",
		" 12.00  away create namespaces",
		"provider-1: 20 KiB, 204 bytes per namespace, of it managedFields 10; home wrote it 7 times",
		"consumer controller-manager   4.50",
		"Left over in the end: 2 keys of maps",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), env.Scheduler) {
		t.Errorf("a provider's scheduler has nothing to do with it:\n%s", out.String())
	}
}

func TestOnlyOurWritesAboutNamespacesCount(t *testing.T) {
	event := func(user, verb, resource, sub string, code int32) auditv1.Event {
		return auditv1.Event{
			Stage: auditv1.StageResponseComplete, Verb: verb, User: authnv1.UserInfo{Username: user},
			ObjectRef:      &auditv1.ObjectReference{Resource: resource, Subresource: sub},
			ResponseStatus: &metav1.Status{Code: code},
		}
	}
	const ours = "system:serviceaccount:liqo-tenant-provider-1:virtual-kubelet"
	counted := map[string]string{}
	for name, e := range map[string]auditv1.Event{
		"a write":         event(ours, "patch", "namespacemaps", "status", 200),
		"a lost race":     event(ours, "patch", "namespaces", "", 409),
		"a read":          event(ours, "get", "namespaces", "", 200),
		"a sign of life":  event(ours, "update", "leases", "", 200),
		"somebody else's": event("system:kube-controller-manager", "create", "configmaps", "", 201),
		"what has no resource": {
			Stage: auditv1.StageResponseComplete, Verb: "create", User: authnv1.UserInfo{Username: ours},
		},
	} {
		if counts(e) {
			counted[name] = described(env.Consumer, e)
		}
	}
	want := map[string]string{
		"a write": "home patch namespacemaps/status", "a lost race": "home patch namespaces (answered 409)",
	}
	if diff := cmp.Diff(want, counted); diff != "" {
		t.Errorf("counted (-want,+got):\n%s", diff)
	}
	if got := described("provider-1", event(ours, "create", "namespaces", "", 201)); got != "away create namespaces" {
		t.Errorf("described as %q", got)
	}
}

func TestLeftoversAreNamed(t *testing.T) {
	for want, things := range map[string]map[string]int{
		"nothing":                  {"twins": 0},
		"3 role bindings, 2 twins": {"twins": 2, "role bindings": 3},
		"1 keys of maps":           {"keys of maps": 1, "labelled namespaces": 0},
	} {
		if got := counted(things); got != want {
			t.Errorf("counted(%v) = %q, want %q", things, got, want)
		}
	}
}
