package schedplugin

import (
	"fmt"
	"testing"

	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// BenchmarkSpread is the cost of one pod among 500 nodes, which is what kube-scheduler scores of 5,000 by default, in a
// namespace of 1,000 pods.
func BenchmarkSpread(b *testing.B) {
	for _, test := range []struct {
		name, namespace string
		policy          v1beta1.SpreadPolicy
		label           string
	}{
		{"ordinary namespace", "ordinary", v1beta1.SpreadPreferHome, ""},
		{"None", "shop", v1beta1.SpreadNone, ""},
		{"PreferHome", "shop", v1beta1.SpreadPreferHome, ""},
		{"Even", "shop", v1beta1.SpreadEven, ""},
		{"Weighted", "shop", v1beta1.SpreadWeighted, costLabel},
	} {
		b.Run(test.name, func(b *testing.B) {
			f, _ := shop(&testing.T{}, wishes(test.policy, test.label))
			var infos []fwk.NodeInfo
			for i := range 500 {
				node := build.Node(fmt.Sprint("home-", i))
				if i < 3 {
					node = virtual(fmt.Sprint("provider-", i), "eu")
				}
				f.see(weigh(node, fmt.Sprint(i%10)))
				info := framework.NewNodeInfo()
				info.SetNode(node)
				infos = append(infos, info)
			}
			for i := range 1000 {
				f.see(pod(fmt.Sprint("old-", i)).Node(infos[i%len(infos)].Node().Name).Obj())
			}
			web := build.Pod("web").Namespace(test.namespace).Obj()
			a := f.try(web)
			b.ReportAllocs()
			for b.Loop() {
				if f.offloading.PreScore(f.ctx, a.state, web, infos).IsSkip() {
					continue
				}
				for _, info := range infos {
					f.offloading.Score(f.ctx, a.state, web, info)
				}
			}
		})
	}
}
