package schedplugin

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// benchPods are the pods that the plugins treat differently, each in the view of [benchFixture].
func benchPods() map[string]*build.PodBuilder {
	return map[string]*build.PodBuilder{
		"ordinary":             build.Pod("web").Namespace("ordinary"),
		"ordinary, tolerating": build.Pod("web").Namespace("ordinary").Tolerate(everywhere()),
		"LocalAndRemote":       build.Pod("web").Namespace("both"),
		"Remote":               build.Pod("web").Namespace("remote"),
	}
}

// benchFixture returns a view with three virtual nodes among n.
func benchFixture(t *testing.T, n int) (*fixture, []fwk.NodeInfo) {
	f := newFixture(t, namespace("ordinary"), namespace("both"), namespace("remote"))
	f.see(offload("both", v1beta1.LocalAndRemote), offload("remote", v1beta1.Remote))
	f.ctx = klog.NewContext(f.ctx, logr.Discard()) // or the test's log is what is measured
	var infos []fwk.NodeInfo
	for i := range n {
		node := build.Node(fmt.Sprintf("worker-%d", i))
		if i%(n/3) == 0 && i/(n/3) < 3 {
			cluster := fmt.Sprintf("provider-%d", i)
			node = virtual(cluster, "eu")
			f.see(build.Map(cluster).Has("both", "both-home", v1beta1.MappingAccepted).
				Has("remote", "remote-home", v1beta1.MappingAccepted).Obj())
		}
		f.see(node)
		info := framework.NewNodeInfo()
		info.SetNode(node)
		infos = append(infos, info)
	}
	return f, infos
}

// filter looks at a node as the profiles that are shipped do.
func (a *attempt) filter(info fwk.NodeInfo) *fwk.Status {
	if !a.skip {
		if status := a.offloading.Filter(a.ctx, a.state, a.pod, info); !status.IsSuccess() {
			return status
		}
	}
	return a.taints.Filter(a.ctx, a.state, a.pod, info)
}

// BenchmarkAttempt measures what the plugins cost a pod once, in "pod", and for each node, in "node", beside what the
// in-tree plugin costs there that one of them replaces.
func BenchmarkAttempt(b *testing.B) {
	f, infos := benchFixture(&testing.T{}, 1000)
	perNode := func(b *testing.B, filter func(fwk.NodeInfo) *fwk.Status) {
		b.ReportAllocs()
		start := time.Now()
		for b.Loop() {
			for _, info := range infos {
				filter(info)
			}
		}
		b.ReportMetric(float64(time.Since(start).Nanoseconds())/float64(b.N*len(infos)), "ns/node")
	}
	for name, builder := range benchPods() {
		pod := builder.Obj()
		b.Run("pod/"+name, func(b *testing.B) {
			b.ReportAllocs()
			state := framework.NewCycleState()
			for b.Loop() {
				f.offloading.PreFilter(f.ctx, state, pod, nil)
			}
		})
		b.Run("sign/"+name, func(b *testing.B) {
			for b.Loop() {
				f.offloading.SignPod(f.ctx, pod)
			}
		})
		b.Run("node/"+name, func(b *testing.B) { perNode(b, f.try(pod).filter) })
	}
	ordinary := f.try(benchPods()["ordinary"].Obj())
	b.Run("node/in-tree taints alone", func(b *testing.B) {
		perNode(b, func(info fwk.NodeInfo) *fwk.Status {
			return f.taints.TaintToleration.Filter(f.ctx, ordinary.state, ordinary.pod, info)
		})
	})
}

// TestOrdinaryNodesAreCheap holds the plugins to what scheduling at scale needs: ordinary nodes, of which there are
// thousands, leave nothing behind for the garbage collector when they may take a pod, and one status when they may not.
func TestOrdinaryNodesAreCheap(t *testing.T) {
	f, _ := benchFixture(t, 3)
	info := framework.NewNodeInfo()
	info.SetNode(build.Node("worker"))
	const status = 2 // and its list of reasons
	for name, want := range map[string]float64{
		"ordinary": 0, "ordinary, tolerating": 0, "LocalAndRemote": 0, "Remote": status,
	} {
		t.Run(name, func(t *testing.T) {
			a := f.try(benchPods()[name].Obj())
			if permitted := a.filter(info).IsSuccess(); permitted != (want == 0) {
				t.Fatalf("permitted: %v", permitted)
			}
			if got := testing.AllocsPerRun(100, func() { a.filter(info) }); got > want {
				t.Errorf("%v allocations, want %v", got, want)
			}
		})
	}
}
