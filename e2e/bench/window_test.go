package main

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	authnv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/e2e/env"
)

const (
	agentAtHome = "system:serviceaccount:liqo-tenant-provider-1:virtual-kubelet"
	agentAway   = "system:serviceaccount:liqo-tenant-consumer:liqo-consumer"
)

// request is an answered one.
func request(user, verb, resource, namespace string) auditv1.Event {
	return auditv1.Event{
		Stage: auditv1.StageResponseComplete, Verb: verb, User: authnv1.UserInfo{Username: user},
		ObjectRef:      &auditv1.ObjectReference{Resource: resource, Namespace: namespace, Name: "pod-0"},
		ResponseStatus: &metav1.Status{Code: 200},
	}
}

func TestEveryRequestHasACause(t *testing.T) {
	for user, want := range map[string]string{
		agentAtHome: byAgent,
		agentAway:   byAgent,
		"system:serviceaccount:liqo:controller-manager":           byManager,
		"system:kube-scheduler":                                   byScheduler,
		"system:kube-controller-manager":                          byControllers,
		"system:serviceaccount:kube-system:replicaset-controller": byControllers,
		"kwok":             byKubelets,
		"admin":            byBenchmark,
		"system:apiserver": "system:apiserver",
		// A user's own ServiceAccount is none of ours, whatever it is called.
		"system:serviceaccount:liqours:controller-manager": "system:serviceaccount:liqours:controller-manager",
	} {
		if got := who(user); got != want {
			t.Errorf("who(%q) = %q, want %q", user, got, want)
		}
	}
}

func TestCallsAreToldApart(t *testing.T) {
	status := request(agentAtHome, "patch", "pods", "shop")
	status.ObjectRef.Subresource = "status"
	lost := request(agentAway, "create", "pods", "shop-consumer")
	lost.ResponseStatus.Code = 409
	early := request("kwok", "get", "pods", "shop")
	early.Stage = auditv1.StageRequestReceived
	for name, test := range map[string]struct {
		cluster string
		event   auditv1.Event
		want    *call
	}{
		"a read": {
			env.Consumer, request("kwok", "get", "pods", "shop"), &call{home, "get", "pods", byKubelets, 0},
		},
		"a subresource":    {env.Consumer, status, &call{home, "patch", "pods/status", byAgent, 0}},
		"a refusal":        {"provider-1", lost, &call{away, "create", "pods", byAgent, 409}},
		"a watch":          {env.Consumer, request("kwok", "watch", "pods", "shop"), nil},
		"only its begin":   {env.Consumer, early, nil},
		"no object at all": {env.Consumer, auditv1.Event{Stage: auditv1.StageResponseComplete, Verb: "get"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := calledBy(test.cluster, test.event)
			if ok != (test.want != nil) {
				t.Fatalf("counts: %v", ok)
			}
			if ok {
				if diff := cmp.Diff(*test.want, got); diff != "" {
					t.Errorf("call (-want,+got):\n%s", diff)
				}
			}
		})
	}
}

func TestWhatAPodCosts(t *testing.T) {
	wanted := about("shop")
	for name, test := range map[string]struct {
		event auditv1.Event
		want  bool
	}{
		"the user's pod":                         {request("admin", "create", "pods", "shop"), true},
		"what the benchmark looks at":            {request("admin", "get", "pods", "shop"), false},
		"what the benchmark does elsewhere":      {request("admin", "create", "namespaces", ""), false},
		"the scheduler's event":                  {request("system:kube-scheduler", "create", "events", "shop"), true},
		"the scheduler, for something else":      {request("system:kube-scheduler", "list", "nodes", ""), false},
		"the agent in the twin":                  {request(agentAway, "create", "pods", "shop-consumer"), true},
		"the agent elsewhere, for these perhaps": {request(agentAtHome, "get", "configmaps", "kube-system"), true},
		"the agent's lease":                      {request(agentAtHome, "update", "leases", "liqo"), false},
		"another namespace with such a name":     {request("kwok", "patch", "pods", "shop-2"), false},
	} {
		t.Run(name, func(t *testing.T) {
			c, ok := calledBy(env.Consumer, test.event)
			if got := ok && wanted(c, test.event); got != test.want {
				t.Errorf("counts: %v, want %v", got, test.want)
			}
		})
	}
}

func TestTheMostFrequentCallsComeFirst(t *testing.T) {
	create, get := call{home, "create", "pods", byBenchmark, 0}, call{away, "get", "pods", byAgent, 404}
	patch := call{away, "patch", "pods", byKubelets, 0}
	all := tally{create: 5, get: 9, patch: 5}.list()
	want := []tallied{{get, 9}, {patch, 5}, {create, 5}}
	if !slices.Equal(want, all) {
		t.Errorf("list %v, want %v", all, want)
	}
	if got := sumOf(all, call.isWrite); got != 10 {
		t.Errorf("%v writes, want 10", got)
	}
	if got := get.String(); got != "get pods (answered 404)" {
		t.Errorf("a refused call says %q", got)
	}
}
