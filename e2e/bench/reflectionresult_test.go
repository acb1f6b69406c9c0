package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authnv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/twinspace/twinspace/e2e/env"
)

func TestTheReportOnReflectionHasEveryFigure(t *testing.T) {
	r := &reflectionResult{
		Latencies: []latency{{
			Resource: "configmaps", Rate: 200, Seconds: 10, Changes: 2000, Writes: 2000, Reads: 1000, CPU: 1,
			P50: 12 * time.Millisecond, P99: 34500 * time.Microsecond, Max: 80 * time.Millisecond,
		}},
		Restart: &restart{
			Namespaces: 25, Objects: 5000, Seconds: 21.5, Writes: map[string]int{"away patch secrets": 3}, Reads: 5000,
			Others: map[string]int{"home create events": 1},
			Empty:  footprint{40 << 20, 80 << 20, 100 << 20}, Full: footprint{60 << 20, 120 << 20, 130 << 20},
		},
		Watches: []watches{{
			Scope: scopeNamespace, Namespaces: 10, Providers: 2,
			Before: map[string]map[string]float64{
				env.Consumer: {"pods": 3, "gone": 1}, "provider-1": {"pods": 4},
			},
			After: map[string]map[string]float64{
				env.Consumer: {"pods": 3, "services": 40}, "provider-1": {"pods": 14},
			},
			Memory: []memory{{env.Consumer, env.APIServer, 300 << 20}, {env.Consumer, env.Kwok, 1 << 20}},
		}},
	}
	var out strings.Builder
	r.print(&out)
	for _, want := range []string{
		"configmaps                    200          200       2000      1.00                0.50    0              " +
			"12.0     34.5     80.0     0.50",
		"Agent killed with 5000 reflected objects in 25 namespaces: 3 writes there after its restart; 1.00 reads per " +
			"object; all looked at 21.5 s after the kill",
		"     3  away patch secrets",
		"     1  home create events, which is not about these objects",
		"in use                     40.0          60.0               4.00",
		"resident                   80.0          120.0              8.00",
		"Watches, scope namespace, 10 namespaces on 2 providers:",
		"consumer     4         43     39      120       1.95",
		"provider-1   4         14     10      80        1.00",
		"consumer: +40 services\n",
		"consumer kube-apiserver: 300 MiB",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), env.Kwok) {
		t.Errorf("what plays nodes has nothing to do with it:\n%s", out.String())
	}
}

func TestWhatARestartWritesIsCountedWhereTheObjectsAre(t *testing.T) {
	event := func(verb, namespace, resource string) auditv1.Event {
		return auditv1.Event{
			Stage: auditv1.StageResponseComplete, Verb: verb,
			User:      authnv1.UserInfo{Username: "system:serviceaccount:liqo-tenant-provider-1:virtual-kubelet"},
			ObjectRef: &auditv1.ObjectReference{Namespace: namespace, Resource: resource, Name: "load-0001"},
		}
	}
	byHand := event("patch", roomOf(1), "configmaps")
	byHand.User.Username = "admin"
	r := &restart{Writes: map[string]int{}, Others: map[string]int{}}
	for _, e := range []auditv1.Event{
		event("patch", roomOf(1)+"-"+env.Consumer, "configmaps"), event("create", "liqo", "events"),
		event("get", roomOf(1), "secrets"), event("get", "liqo", "secrets"),
		event("update", "", "nodes"), byHand,
	} {
		r.add("provider-1", e)
	}
	want := &restart{
		Writes: map[string]int{"away patch configmaps": 1}, Others: map[string]int{"away create events": 1}, Reads: 1,
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

func TestTheFormulaOfWatchesGrowsWithNamespacesInOneScopeOnly(t *testing.T) {
	for scope, want := range map[string]map[string]int{
		scopeNamespace: {env.Consumer: 3600, "provider-1": 1600},
		scopeCluster:   {env.Consumer: 15, "provider-1": 6},
	} {
		w := &watches{Scope: scope, Namespaces: 200, Providers: 3}
		for cluster, n := range want {
			if got := w.formula(cluster); got != n {
				t.Errorf("scope %s adds %d on %s, want %d", scope, got, cluster, n)
			}
		}
	}
}

func TestSamples(t *testing.T) {
	const text = `# HELP requests of all kinds
# TYPE requests gauge
requests{resource="pods",verb="WATCH",} 3
requests{resource="pods",scope="a, \"b\"",verb="LIST"} 1 1900000000000
requests_total{resource="pods"} 9
plain 1.5e+06
`
	for metric, want := range map[string][]sample{
		"requests": {
			{map[string]string{"resource": "pods", "verb": "WATCH"}, 3},
			{map[string]string{"resource": "pods", "scope": `a, \"b\"`, "verb": "LIST"}, 1},
		},
		"plain":   {{map[string]string{}, 1.5e6}},
		"nothing": nil,
	} {
		got, err := samples(text, metric)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(sample{})); diff != "" {
			t.Errorf("%s (-want,+got):\n%s", metric, diff)
		}
	}
	if _, err := samples("broken{} many\n", "broken"); err == nil {
		t.Error("a value that is no number is read without an error")
	}
}

// A change that changes nothing would make the count of writes look better than it is.
func TestNoTwoChangesOfASpecimenAreAlike(t *testing.T) {
	for _, s := range specimens() {
		seen := map[string]int{}
		for n := range 10_000 {
			change := s.change(n)
			if other, twice := seen[change]; twice {
				t.Fatalf("%s: changes %d and %d are alike: %s", s.resource, other, n, change)
			}
			seen[change] = n
		}
		var patch map[string]any
		if err := json.Unmarshal([]byte(s.change(7)), &patch); err != nil {
			t.Errorf("%s: %v", s.resource, err)
		}
		obj := s.make(metav1.ObjectMeta{Namespace: "rates", Name: specimenName(7)})
		if obj.GetNamespace() != "rates" || obj.GetName() != "load-0007" {
			t.Errorf("%s: made %s/%s", s.resource, obj.GetNamespace(), obj.GetName())
		}
		if kind := fmt.Sprintf("*v1.%s", s.kind.Kind); fmt.Sprintf("%T", obj) != kind {
			t.Errorf("%s: made a %T, want %s", s.resource, obj, kind)
		}
	}
}

func TestWhatRefersToSecretsAndClaimsRefersToAllOfThem(t *testing.T) {
	pod := holder("rates", 3, 2)
	if env, volumes := pod.Spec.Containers[0].EnvFrom, pod.Spec.Volumes; len(env) != 3 || len(volumes) != 2 ||
		env[2].SecretRef.Name != specimenName(2) || volumes[1].PersistentVolumeClaim.ClaimName != specimenName(1) {
		t.Errorf("it refers to %v and %v", env, volumes)
	}
}

func TestOptionsOfReflection(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		bad  bool
	}{
		"the defaults":       {nil, false},
		"a small run":        {[]string{"-kinds", "configmaps", "-rates", "5", "-scopes", "cluster"}, false},
		"nothing of it":      {[]string{"-kinds", "-", "-scopes", "-", "-reflected", "0"}, false},
		"an unknown kind":    {[]string{"-kinds", "pods"}, true},
		"a kind twice":       {[]string{"-kinds", "services,services"}, true},
		"an unknown scope":   {[]string{"-scopes", "galaxy"}, true},
		"falling rates":      {[]string{"-rates", "200,10"}, true},
		"no time":            {[]string{"-rate-seconds", "0"}, true},
		"a negative number":  {[]string{"-reflected", "-1"}, true},
		"nothing to look at": {[]string{"-watched", "0"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := parse(test.args)
			if (err != nil) != test.bad {
				t.Errorf("error is %v", err)
			}
			kinds, scopes := o.reflection.specimens, o.reflection.scopes
			if name == "the defaults" && (len(kinds) != len(specimens()) || len(scopes) != 2) {
				t.Errorf("by default there are %d kinds and scopes %v", len(kinds), scopes)
			}
			if name == "nothing of it" && len(kinds)+len(scopes) > 0 {
				t.Error("something of it is left")
			}
		})
	}
}
