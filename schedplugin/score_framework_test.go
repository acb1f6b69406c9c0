package schedplugin

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	fwk "k8s.io/kube-scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/apis/config"
	configscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	configv1 "k8s.io/kubernetes/pkg/scheduler/apis/config/v1"
	schedulercache "k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	"k8s.io/kubernetes/pkg/scheduler/framework/plugins"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"
	schedulermetrics "k8s.io/kubernetes/pkg/scheduler/metrics"
)

// shipped reads the profile of one of the configurations that the project ships.
func shipped(t *testing.T, file string) config.KubeSchedulerProfile {
	t.Helper()
	AddToScheme(configscheme.Scheme, configv1.GetPluginArgConversionScheme())
	data, err := os.ReadFile(filepath.Join("..", "manifests", "scheduler", file))
	if err != nil {
		t.Fatal(err)
	}
	obj, _, err := configscheme.Codecs.UniversalDecoder().Decode(data, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return obj.(*config.KubeSchedulerConfiguration).Profiles[0]
}

// runtimeOf returns kube-scheduler's own runtime of plugins, set up by a shipped profile, over some nodes and pods. The
// plugins of the project are those of the fixture.
func (f *fixture) runtimeOf(file string, pods []*corev1.Pod, nodes ...*corev1.Node) framework.Framework {
	f.Helper()
	schedulermetrics.Register() // once per process, or the runtime finds none
	registry := plugins.NewInTreeRegistry()
	ours := frameworkruntime.Registry{
		Name:      func(context.Context, runtime.Object, fwk.Handle) (fwk.Plugin, error) { return f.offloading, nil },
		TaintName: func(context.Context, runtime.Object, fwk.Handle) (fwk.Plugin, error) { return f.taints, nil },
	}
	if err := registry.Merge(ours); err != nil {
		f.Fatal(err)
	}
	profile := shipped(f.T, file)
	fw, err := frameworkruntime.NewFramework(f.ctx, registry, &profile,
		frameworkruntime.WithClientSet(f.client), frameworkruntime.WithInformerFactory(f.factory),
		frameworkruntime.WithSnapshotSharedLister(schedulercache.NewSnapshot(pods, nodes)))
	if err != nil {
		f.Fatal(err)
	}
	return fw
}

// scored is what became of one attempt to schedule a pod.
type scored struct {
	*fixture
	fw    framework.Framework
	pod   *corev1.Pod
	state fwk.CycleState
	// totals are the scores by node, ours those that this plugin gave, after weighting. A node is missing from totals
	// if a filter refused it, and ours is empty if the plugin had no say.
	totals, ours map[string]int64
}

// schedule runs all plugins up to scoring.
func (f *fixture) schedule(fw framework.Framework, pod *corev1.Pod) *scored {
	f.Helper()
	s := &scored{
		fixture: f, fw: fw, pod: pod, state: framework.NewCycleState(),
		totals: map[string]int64{}, ours: map[string]int64{},
	}
	if _, status, _ := fw.RunPreFilterPlugins(f.ctx, s.state, pod); !status.IsSuccess() {
		f.Fatalf("prefilter of %s: %v", pod.Name, status.AsError())
	}
	all, err := fw.SnapshotSharedLister().NodeInfos().List()
	if err != nil {
		f.Fatal(err)
	}
	feasible := slices.DeleteFunc(slices.Clone(all), func(info fwk.NodeInfo) bool {
		return !fw.RunFilterPlugins(f.ctx, s.state, pod, info).IsSuccess()
	})
	if status := fw.RunPreScorePlugins(f.ctx, s.state, pod, feasible); !status.IsSuccess() {
		f.Fatalf("prescore of %s: %v", pod.Name, status.AsError())
	}
	scores, status := fw.RunScorePlugins(f.ctx, s.state, pod, feasible)
	if !status.IsSuccess() {
		f.Fatalf("score of %s: %v", pod.Name, status.AsError())
	}
	for _, node := range scores {
		s.totals[node.Name] = node.TotalScore
		for _, plugin := range node.Scores {
			if plugin.Name == Name {
				s.ours[node.Name] = plugin.Score
			}
		}
	}
	return s
}

// best returns the node with the highest score; of several, the first by name.
func (s *scored) best() string {
	s.Helper()
	if len(s.totals) == 0 {
		s.Fatalf("no node can take %s", s.pod.Name)
	}
	names := slices.Sorted(maps.Keys(s.totals))
	return slices.MaxFunc(names, func(a, b string) int { return int(s.totals[a] - s.totals[b]) })
}

// take reserves the best node for the pod, and returns the node.
func (s *scored) take() string {
	s.Helper()
	node := s.best()
	if status := s.fw.RunReservePluginsReserve(s.ctx, s.state, s.pod, node); !status.IsSuccess() {
		s.Fatalf("reserve %s for %s: %v", node, s.pod.Name, status.AsError())
	}
	return node
}
