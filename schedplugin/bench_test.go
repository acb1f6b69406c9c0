package schedplugin

import (
	"testing"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// BenchmarkAttempt measures what the plugins cost a pod once, and per node.
func BenchmarkAttempt(b *testing.B) {
	f := newFixture(&testing.T{}, namespace("ordinary"), namespace("shop"), virtual("provider-1", "eu"))
	f.see(offload("shop", v1beta1.LocalAndRemote), ready("provider-1", "shop"))
	f.ctx = klog.NewContext(f.ctx, logr.Discard()) // or the test's log is what is measured
	nodes := map[string]fwk.NodeInfo{}
	for name, node := range map[string]*corev1.Node{
		"ordinary node": build.Node("worker-1"), "virtual node": virtual("provider-1", "eu"),
	} {
		info := framework.NewNodeInfo()
		info.SetNode(node)
		nodes[name] = info
	}
	for _, ns := range []string{"ordinary", "shop"} {
		pod := build.Pod("web").Namespace(ns).Obj()
		b.Run(ns+"/once", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				f.offloading.PreFilter(f.ctx, framework.NewCycleState(), pod, nil)
			}
		})
		for name, node := range nodes {
			a := f.try(pod)
			b.Run(ns+"/taints per "+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f.taints.Filter(f.ctx, a.state, pod, node)
				}
			})
			b.Run(ns+"/in-tree taints per "+name, func(b *testing.B) {
				for b.Loop() {
					f.taints.TaintToleration.Filter(f.ctx, a.state, pod, node)
				}
			})
			if !a.skip {
				b.Run(ns+"/policy per "+name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						f.offloading.Filter(f.ctx, a.state, pod, node)
					}
				})
			}
		}
	}
}
