package eviction

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// webAway are n pods of web on node b-1.
func webAway(n int) []corev1.Pod {
	var pods []corev1.Pod
	for i := range n {
		pods = append(pods, webPod(fmt.Sprintf("web-%03d", i), "b-1"))
	}
	return pods
}

func TestDecide(t *testing.T) {
	small := func(room string) []corev1.Node {
		nodes := cluster()
		for i := range nodes {
			nodes[i].Status.Allocatable = nodes[i].Status.Allocatable.DeepCopy()
			nodes[i].Status.Allocatable[corev1.ResourceCPU] = resource.MustParse(room)
		}
		return nodes
	}
	hungry := func(pod corev1.Pod) corev1.Pod {
		return with(pod, func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
		})
	}
	of := func(owner, name, node string) corev1.Pod { return podOf("ReplicaSet", owner, name, node) }
	tests := map[string]struct {
		pods  []corev1.Pod
		nodes []corev1.Node
		want  []string
	}{
		"one pod of a controller at a time": {
			pods: webAway(3), want: []string{"web-000 next", "web-001 queued", "web-002 queued"},
		},
		"pods of different controllers at once": {
			pods: []corev1.Pod{of("web", "a", "b-1"), of("db", "b", "b-1")}, want: []string{"a next", "b next"},
		},
		"no second one before the first is gone": {
			pods: []corev1.Pod{with(webPod("a", "b-1"), deleted), webPod("b", "b-1")},
			want: []string{"a leaving", "b queued"},
		},
		"no second one before the replacement is scheduled": {
			pods: []corev1.Pod{with(webPod("new", ""), unready), webPod("b", "b-1")}, want: []string{"b queued"},
		},
		"no second one before the replacement is ready": {
			pods: []corev1.Pod{with(webPod("new", "home-1"), unready), webPod("b", "b-1")}, want: []string{"b queued"},
		},
		"the next one after that": {
			pods: []corev1.Pod{webPod("new", "home-1"), webPod("b", "b-1")}, want: []string{"b next"},
		},
		"one that is not ready where it may not be is no replacement": {
			pods: []corev1.Pod{with(webPod("a", "b-1"), unready), webPod("b", "b-1")},
			want: []string{"a next", "b queued"},
		},
		"another application's trouble is not this one's": {
			pods: []corev1.Pod{with(of("db", "new", "home-1"), unready), webPod("b", "b-1")}, want: []string{"b next"},
		},
		"five of a small namespace at once": {
			pods: []corev1.Pod{
				of("1", "a", "b-1"), of("2", "b", "b-1"), of("3", "c", "b-1"), of("4", "d", "b-1"),
				of("5", "e", "b-1"), of("6", "f", "b-1"),
			},
			want: []string{"a next", "b next", "c next", "d next", "e next", "f queued"},
		},
		"pods without controller are not counted on": {
			pods: []corev1.Pod{podOf("", "", "a", "b-1"), webPod("b", "b-1")}, want: []string{"a single", "b next"},
		},
		"nobody is evicted whom no node could take": {
			pods:  []corev1.Pod{hungry(webPod("a", "b-1")), hungry(webPod("b", "b-1"))},
			nodes: small("500m"), want: []string{"a stuck", "b stuck"},
		},
		"the same room is promised once": {
			pods: []corev1.Pod{
				hungry(of("1", "a", "b-1")), hungry(of("2", "b", "b-1")), hungry(of("3", "c", "b-1")),
			},
			nodes: small("1500m"), want: []string{"a next", "b next", "c stuck"},
		},
		"what waits for a node comes first": {
			pods: []corev1.Pod{
				hungry(of("1", "waiting", "")), hungry(of("2", "a", "b-1")), hungry(of("3", "b", "b-1")),
			},
			nodes: small("1500m"), want: []string{"a next", "b stuck"},
		},
		"what runs already has its room": {
			pods: []corev1.Pod{
				hungry(of("1", "runs", "home-1")), hungry(of("2", "a", "b-1")), hungry(of("3", "b", "b-1")),
			},
			nodes: small("1500m"), want: []string{"a next", "b stuck"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if tc.nodes == nil {
				tc.nodes = cluster()
			}
			got := decided(t, rulesOf(local()), tc.nodes, tc.pods)
			if diff := cmp.Diff(tc.want, states(got)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

// A twentieth of many is more than one.
func TestThePaceGrowsWithTheApplication(t *testing.T) {
	evicted := map[int]int{}
	for _, pods := range []int{1, 20, 40, 100} {
		for _, v := range decided(t, rulesOf(local()), cluster(), webAway(pods)) {
			if v.state == next {
				evicted[pods]++
			}
		}
	}
	if diff := cmp.Diff(map[int]int{1: 1, 20: 1, 40: 2, 100: 5}, evicted); diff != "" {
		t.Errorf("evicted at once, by pods (-want,+got):\n%s", diff)
	}
}

// Applications of one pod have none left where it may not be once it is evicted: they count until they are well again.
func TestTheNamespaceWaitsForWhatWasEvicted(t *testing.T) {
	one := func(app int, change func(*corev1.Pod)) corev1.Pod {
		return with(podOf("ReplicaSet", fmt.Sprint("app-", app), fmt.Sprint("new-", app), "home-1"), change)
	}
	pending := func(p *corev1.Pod) { p.Spec.NodeName, p.Status.Conditions = "", nil }
	for name, tc := range map[string]struct {
		change func(*corev1.Pod)
		want   string
	}{
		"that looks for a node":     {change: pending, want: "last queued"},
		"that is not ready":         {change: unready, want: "last queued"},
		"that is being deleted":     {change: deleted, want: "last queued"},
		"unless that is well again": {change: func(*corev1.Pod) {}, want: "last next"},
	} {
		t.Run(name, func(t *testing.T) {
			pods := []corev1.Pod{podOf("ReplicaSet", "last", "last", "b-1")}
			moved := map[types.UID]bool{"uid-gone": true}
			for app := range DefaultPace().Namespace {
				moved[types.UID(fmt.Sprint("uid-app-", app))] = true
				pods = append(pods, one(app, tc.change))
			}
			of := rulesOf(local())
			found := violations(pods, of, byName(cluster()), ours())
			if err := decide(found, pods, moved, DefaultPace(), roomIn(of, cluster(), pods...)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tc.want}, states(found)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestWhyAPodWaits(t *testing.T) {
	found := decided(t, rulesOf(local()), cluster(),
		[]corev1.Pod{with(webPod("new", "home-1"), unready), webPod("b", "b-1")})
	if diff := cmp.Diff("waiting for new", found[0].why); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
	var many []corev1.Pod
	for i := range 6 {
		name := fmt.Sprint(i)
		many = append(many, podOf("ReplicaSet", "app-"+name, "pod-"+name, "b-1"))
	}
	if diff := cmp.Diff("5 pods of this namespace are on their way",
		decided(t, rulesOf(local()), cluster(), many)[5].why); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}

// A controller whose pods cannot go anywhere is asked about once, not for each pod; one with volumes for each.
func TestPodsOfAControllerAreAlike(t *testing.T) {
	claim := func(p *corev1.Pod) {
		p.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data-" + p.Name},
		}}}
	}
	for name, tc := range map[string]struct {
		pods []corev1.Pod
		want int
	}{
		"without volumes": {pods: webAway(3), want: 1},
		"with volumes": {pods: []corev1.Pod{
			with(webPod("a", "b-1"), claim), with(webPod("b", "b-1"), claim), with(webPod("c", "b-1"), claim),
		}, want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := cluster()[:1]
			of := rulesOf(local())
			found := violations(tc.pods, of, byName(nodes), ours())
			room, looks := roomIn(of, nodes, tc.pods...), 0
			pins := room.pins
			room.pins = func(pod *corev1.Pod) ([]*nodeaffinity.NodeSelector, error) {
				looks++
				return pins(pod)
			}
			if err := decide(found, tc.pods, nil, DefaultPace(), room); err != nil {
				t.Fatal(err)
			}
			if looks != tc.want {
				t.Errorf("looked %d times, want %d", looks, tc.want)
			}
			for _, v := range found {
				if v.state != stuck || v.why != "there is no other node" {
					t.Errorf("%s is %s: %s", v.pod.Name, words[v.state], v.why)
				}
			}
		})
	}
}

func TestNothingIsDecidedInTheDark(t *testing.T) {
	dark := errors.New("the lights are out")
	for name, pods := range map[string][]corev1.Pod{
		"about a pod": webAway(1), "about what waits": {webPod("new", ""), podOf("ReplicaSet", "db", "db", "b-1")},
	} {
		of := rulesOf(local())
		room := roomIn(of, cluster())
		room.bound = func(string) ([]corev1.Pod, error) { return nil, dark }
		found := violations(pods, of, byName(cluster()), ours())
		if err := decide(found, pods, nil, DefaultPace(), room); !errors.Is(err, dark) || has(found, next) {
			t.Errorf("%s: error %v, %s", name, err, strings.Join(states(found), ", "))
		}
	}
}
