package schedplugin

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/schedplugin/spread"
)

// leaving returns a pod that is being deleted.
func leaving(b *build.PodBuilder) *corev1.Pod {
	pod := b.Obj()
	pod.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	return pod
}

func TestWhereThePodsOfANamespaceAre(t *testing.T) {
	type places = map[spread.Place]int
	at := func(name, node string) *build.PodBuilder { return pod(name).Node(node) }
	elsewhere := func(name, node string) *corev1.Pod {
		return build.Pod(name).Namespace("ordinary").UID(name).Node(node).Obj()
	}
	for name, test := range map[string]struct {
		seen []client.Object
		// sent are the nodes of pods, by name, that were reserved.
		sent map[string]string
		want places
		// expected is how many pods are waited for afterwards.
		expected int
	}{
		"nobody": {want: places{}},
		"all ordinary nodes are home, all virtual nodes of a provider are the provider": {
			seen: []client.Object{
				build.Node("worker-2"), build.VirtualNodesNode(build.VirtualNode("provider-1-gpu", "provider-1")),
				at("a", "worker-1").Obj(), at("b", "worker-2").Obj(), at("c", "provider-1").Obj(),
				at("d", "provider-1-gpu").Obj(), at("e", "provider-2").Obj(),
			},
			want: places{spread.Home: 2, "provider-1": 2, "provider-2": 1},
		},
		"pods of other namespaces, pending, finished and leaving pods are not counted": {
			seen: []client.Object{
				elsewhere("a", "worker-1"), pod("b").Obj(), at("c", "worker-1").Phase(corev1.PodSucceeded).Obj(),
				at("d", "worker-1").Phase(corev1.PodFailed).Obj(), leaving(at("e", "worker-1")),
				at("f", "worker-1").Phase(corev1.PodRunning).Obj(),
			},
			want: places{spread.Home: 1},
		},
		"pods whose node is gone are not counted": {
			seen: []client.Object{at("a", "worker-9").Obj()}, want: places{},
		},
		"a pod on its way is counted": {
			seen: []client.Object{pod("a").Obj()}, sent: map[string]string{"a": "provider-1"},
			want: places{"provider-1": 1}, expected: 1,
		},
		"a pod that arrived is counted once, and waited for no more": {
			seen: []client.Object{at("a", "provider-1").Obj()}, sent: map[string]string{"a": "provider-1"},
			want: places{"provider-1": 1},
		},
		"a pod that was deleted on its way is not counted": {
			sent: map[string]string{"a": "provider-1"}, want: places{},
		},
		"a pod that is leaving before it arrived is not counted": {
			seen: []client.Object{leaving(pod("a"))}, sent: map[string]string{"a": "provider-1"}, want: places{},
		},
		"a pod that was replaced on its way is not counted": {
			seen: []client.Object{pod("a").UID("new").Obj()}, sent: map[string]string{"a": "provider-1"},
			want: places{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := shop(t, test.seen...)
			counts := f.offloading.counts
			for name, node := range test.sent {
				counts.expect(pod(name).Obj(), node)
			}
			got, err := counts.of("shop")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("pods by place (-want +got):\n%s", diff)
			}
			if n := len(counts.expected); n != test.expected {
				t.Errorf("%d pods are waited for, want %d", n, test.expected)
			}
		})
	}
}

// TestNamespacesThatBecomeQuietAreNotRemembered: whoever counts next cleans up for all.
func TestNamespacesThatBecomeQuietAreNotRemembered(t *testing.T) {
	f, _ := shop(t)
	for i := range 10 {
		p := pod(fmt.Sprint("web-", i)).Obj()
		f.offloading.counts.expect(p, "worker-1")
		p.Spec.NodeName = "worker-1"
		f.see(p)
	}
	got, err := f.offloading.counts.of("ordinary")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 0 {
		t.Errorf("another namespace has pods in %v", got)
	}
	if n := len(f.offloading.counts.expected); n != 0 {
		t.Errorf("%d pods are remembered", n)
	}
}

func TestCountsNeedTheirIndex(t *testing.T) {
	f, _ := shop(t)
	if _, err := newCounts(f.factory); err == nil {
		t.Error("a second index of the same name was added")
	}
	f.offloading.counts.pods = f.factory.Core().V1().Nodes().Informer().GetIndexer()
	if _, err := f.offloading.counts.of("shop"); err == nil {
		t.Error("pods were counted without an index")
	}
}
