package placement_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/types"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// telling returns provider-1's Node, whose provider has so much left and took no pods of some controllers.
func telling(largest, unfit string) *corev1.Node {
	node := virtual("provider-1", "eu")
	node.Annotations = map[string]string{v1beta1.AnnotationLargestFree: largest, v1beta1.AnnotationUnfit: unfit}
	return node
}

func replica(uid string) *build.PodBuilder {
	return build.Pod("web").Controller("ReplicaSet", "web-5d", uid)
}

// said puts verdicts in one line each.
func said(all []placement.Verdict) []string {
	var out []string
	for _, v := range all {
		out = append(out, v.Outcome.String()+", "+string(v.Reason)+": "+v.Message)
	}
	return out
}

func TestWhatAProviderHasLeft(t *testing.T) {
	const large = "refused, TooLargeForProvider: largest free node has "
	sidecar := corev1.Container{
		Name: "sidecar", Image: build.Image, RestartPolicy: new(corev1.ContainerRestartPolicy),
		Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("3")}},
	}
	*sidecar.RestartPolicy = corev1.ContainerRestartPolicyAlways
	for name, test := range map[string]struct {
		largest, unfit string
		pod            *build.PodBuilder
		want           []string
	}{
		"a node that says nothing takes any pod": {pod: replica("1").Request("cpu", "1000")},
		"a pod that asks for nothing fits nothing": {
			largest: `{"cpu":"0","memory":"0"}`, pod: build.Pod("web"),
		},
		"less than there is": {largest: `{"cpu":"2"}`, pod: build.Pod("web").Request("cpu", "1999m")},
		"all there is":       {largest: `{"cpu":"2"}`, pod: build.Pod("web").Request("cpu", "2")},
		"more CPUs": {
			largest: `{"cpu":"2"}`, pod: build.Pod("web").Request("cpu", "4"),
			want: []string{large + "2 CPUs, the pod asks for 4"},
		},
		"more than one CPU": {
			largest: `{"cpu":"1"}`, pod: build.Pod("web").Request("cpu", "1500m"),
			want: []string{large + "1 CPU, the pod asks for 1500m"},
		},
		"more than part of a CPU": {
			largest: `{"cpu":"1500m"}`, pod: build.Pod("web").Request("cpu", "2"),
			want: []string{large + "1500m CPU, the pod asks for 2"},
		},
		"more memory": {
			largest: `{"memory":"4Gi"}`, pod: build.Pod("web").Request("memory", "8Gi"),
			want: []string{large + "4Gi of memory, the pod asks for 8Gi"},
		},
		"more of everything, each said": {
			largest: `{"memory":"4Gi","cpu":"2","example.com/gpu":"1"}`,
			pod:     build.Pod("web").Request("memory", "8Gi").Request("cpu", "4").Request("example.com/gpu", "2"),
			want: []string{
				large + "2 CPUs, the pod asks for 4", large + "1 example.com/gpu, the pod asks for 2",
				large + "4Gi of memory, the pod asks for 8Gi",
			},
		},
		"a resource that the node does not speak of": {
			largest: `{"cpu":"2"}`, pod: build.Pod("web").Request("example.com/gpu", "2"),
		},
		"a number instead of a text": {
			largest: `{"cpu":2}`, pod: build.Pod("web").Request("cpu", "4"),
			want: []string{large + "2 CPUs, the pod asks for 4"},
		},
		"more taken than there is": {
			largest: `{"cpu":"-3"}`, pod: build.Pod("web").Request("cpu", "1"),
			want: []string{large + "0 CPUs, the pod asks for 1"},
		},
		"no place for a pod": {
			largest: `{"pods":"0"}`, pod: build.Pod("web"),
			want: []string{"refused, TooLargeForProvider: no node of the provider takes one more pod"},
		},
		"a place for a pod": {largest: `{"pods":"1"}`, pod: build.Pod("web")},
		"a sidecar counts with the containers": {
			largest: `{"cpu":"4"}`, pod: build.Pod("web").Request("cpu", "2").Spec(func(s *corev1.PodSpec) {
				s.InitContainers = []corev1.Container{sidecar}
			}),
			want: []string{large + "4 CPUs, the pod asks for 5"},
		},
		"the overhead of home's RuntimeClass is not the provider's": {
			largest: `{"cpu":"2"}`, pod: build.Pod("web").Request("cpu", "2").Spec(func(s *corev1.PodSpec) {
				s.Overhead = corev1.ResourceList{"cpu": resource.MustParse("1")}
			}),
		},

		"text that is no JSON": {largest: `cpu: 2`, unfit: `1`, pod: replica("1").Request("cpu", "4")},
		"JSON that is no object": {
			largest: `["cpu"]`, unfit: `"1"`, pod: replica("1").Request("cpu", "4"),
		},
		"an object that is cut off": {largest: `{"cpu":"2"`, pod: build.Pod("web").Request("cpu", "4")},
		"a quantity that is none, beside one that is": {
			largest: `{"cpu":"two","memory":"4Gi"}`,
			pod:     build.Pod("web").Request("cpu", "4").Request("memory", "8Gi"),
			want:    []string{large + "4Gi of memory, the pod asks for 8Gi"},
		},
		"null is not nothing": {
			largest: `{"cpu":null}`, unfit: `{"1":null}`, pod: replica("1").Request("cpu", "4"),
		},

		"a controller whose pods found no node": {
			unfit: `{"1":"2026-11-21T18:00:00Z"}`, pod: replica("1"),
			want: []string{"waits, RecentlyUnfit: no node of the provider took pods of ReplicaSet web-5d: none is " +
				"sent there before 2026-11-21T18:00:00Z"},
		},
		"the time is told in UTC": {
			unfit: `{"1":"2026-11-21T19:00:00+01:00"}`, pod: replica("1"),
			want: []string{"waits, RecentlyUnfit: no node of the provider took pods of ReplicaSet web-5d: none is " +
				"sent there before 2026-11-21T18:00:00Z"},
		},
		"another controller":     {unfit: `{"1":"2026-11-21T18:00:00Z"}`, pod: replica("2")},
		"no controller":          {unfit: `{"":"2026-11-21T18:00:00Z"}`, pod: build.Pod("web")},
		"a time that is none":    {unfit: `{"1":"tomorrow"}`, pod: replica("1")},
		"a time of another kind": {unfit: `{"1":1795284000}`, pod: replica("1")},
		"too large, and unfit: both": {
			largest: `{"cpu":"2"}`, unfit: `{"1":"2026-11-21T18:00:00Z"}`, pod: replica("1").Request("cpu", "4"),
			want: []string{
				large + "2 CPUs, the pod asks for 4",
				"waits, RecentlyUnfit: no node of the provider took pods of ReplicaSet web-5d: none is sent there " +
					"before 2026-11-21T18:00:00Z",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := said(placement.Misfits(test.pod.Obj(), placement.ReadRoom(telling(test.largest, test.unfit))))
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

// What a provider has left is the last that is asked, only of virtual nodes, and only about a pod.
func TestThePolicySpeaksFirst(t *testing.T) {
	full := telling(`{"cpu":"2"}`, "")
	elsewhere := telling(`{"cpu":"2"}`, "")
	elsewhere.Labels[corev1.LabelTopologyRegion] = "us"
	onItsWay := telling(`{"cpu":"2"}`, "")
	onItsWay.Labels[v1beta1.LabelRemoteClusterID] = "provider-2"
	ordinary := build.Node("worker-1")
	ordinary.Annotations = full.Annotations
	large := build.Pod("web").Request("cpu", "4").Obj()
	remotely, both, atHome := offloading(v1beta1.Remote).Obj(), offloading(v1beta1.LocalAndRemote).Obj(),
		offloading(v1beta1.Local).Obj()
	const tooLarge = "largest free node has 2 CPUs, the pod asks for 4"
	for name, test := range map[string]struct {
		off   *v1beta1.NamespaceOffloading
		class string
		pod   *corev1.Pod
		node  *corev1.Node
		want  string
	}{
		"permitted, and too large": {off: remotely, pod: large, node: full, want: tooLarge},
		"permitted, and it fits": {
			off: remotely, pod: build.Pod("web").Request("cpu", "2").Obj(), node: full, want: yes,
		},
		"nobody asks about a pod": {off: remotely, node: full, want: yes},
		"not offloaded":           {pod: large, node: full, want: notOffloaded},
		"not selected":            {off: remotely, pod: large, node: elsewhere, want: notSelected},
		"twin on its way":         {off: remotely, pod: large, node: onItsWay, want: twinWaits},
		"an ordinary node":        {off: both, pod: large, node: ordinary, want: yes},
		"Local":                   {off: atHome, pod: large, node: full, want: local},
		"Local, and the class asks out": {
			off: atHome, class: "liqo", pod: large, node: full, want: tooLarge,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rule := placement.Decide(placement.Facts{
				Policy: placement.Compile(test.off), Twin: twins, RuntimeClass: test.class, Pod: test.pod,
			})
			if got := rule.On(test.node).Message; got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if got := rule.Policy(test.node).Message; got == tooLarge {
				t.Errorf("the policy alone says %q", got)
			}
		})
	}
}

func TestWhatWasReadBeforeIsNotReadAgain(t *testing.T) {
	asked := 0
	rule := placement.Decide(placement.Facts{
		Policy: placement.Compile(offloading(v1beta1.Remote).Obj()), Twin: twins,
		Pod: build.Pod("web").Request("cpu", "4").Obj(),
		Room: func(*corev1.Node) placement.Room {
			asked++
			return placement.ReadRoom(telling(`{"cpu":"2"}`, ""))
		},
	})
	if got := rule.On(telling("", "")); got.Reason != placement.ReasonTooLarge || asked != 1 {
		t.Errorf("got %+v after %d looks, want what Room returned", got, asked)
	}
}

func TestTheUnfitAreWrittenAndRead(t *testing.T) {
	at := time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC)
	for name, test := range map[string]struct {
		unfit map[types.UID]time.Time
		text  string
	}{
		"nobody": {map[types.UID]time.Time{}, ""},
		"two, in order": {
			map[types.UID]time.Time{"b": at, "a": at.Add(time.Minute)},
			`{"a":"2026-11-21T18:01:00Z","b":"2026-11-21T18:00:00Z"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := placement.FormatUnfit(test.unfit)
			if text != test.text || err != nil {
				t.Errorf("wrote %s, %v; want %s", text, err, test.text)
			}
			if diff := cmp.Diff(test.unfit, placement.ParseUnfit(text)); diff != "" {
				t.Errorf("read (-want,+got):\n%s", diff)
			}
		})
	}
	fine := at.Add(123 * time.Millisecond).In(time.FixedZone("east", 3600))
	want := `{"a":"2026-11-21T18:00:00Z"}`
	if got, err := placement.FormatUnfit(map[types.UID]time.Time{"a": fine}); got != want || err != nil {
		t.Errorf("wrote %s, %v; want %s", got, err, want)
	}
}
