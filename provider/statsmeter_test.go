package provider

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metricsv1beta1 "k8s.io/metrics/pkg/apis/metrics/v1beta1"

	"github.com/twinspace/twinspace/e2e/build"
)

// statsBegan is when all containers of these tests began, unless one says otherwise.
var statsBegan = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func afterBegan(seconds int) time.Time { return statsBegan.Add(time.Duration(seconds) * time.Second) }

// podRunning is a pod whose containers of these names run on a Node, at home and away.
func podRunning(name, node string, containers ...string) runningPod {
	home := build.Pod(name).Namespace("shop").UID("uid-" + name).Node(node).Obj()
	away := build.Pod(name).Namespace("shop-home").Obj()
	home.Spec.Containers = nil
	away.Status.StartTime = &metav1.Time{Time: statsBegan}
	for _, c := range containers {
		home.Spec.Containers = append(home.Spec.Containers, corev1.Container{Name: c})
		away.Status.ContainerStatuses = append(away.Status.ContainerStatuses, runningStatus(c, statsBegan))
	}
	return runningPod{node: node, home: home, away: away}
}

func runningStatus(name string, since time.Time) corev1.ContainerStatus {
	return corev1.ContainerStatus{Name: name, State: corev1.ContainerState{
		Running: &corev1.ContainerStateRunning{StartedAt: metav1.Time{Time: since}},
	}}
}

// podMetrics is what the provider tells of a pod: pairs of a container and its CPU, all with 64 MiB.
func podMetrics(pod string, at time.Time, cpu ...string) map[string]twinMetrics {
	m := metricsv1beta1.PodMetrics{Timestamp: metav1.Time{Time: at}}
	for i := 0; i < len(cpu); i += 2 {
		m.Containers = append(m.Containers, metricsv1beta1.ContainerMetrics{Name: cpu[i], Usage: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse(cpu[i+1]), corev1.ResourceMemory: resource.MustParse("64Mi"),
		}})
	}
	return map[string]twinMetrics{"shop-home": {pod: m}}
}

// measuredSeconds returns the CPU time of each measured container of a reading.
func measuredSeconds(u usage) map[string]float64 {
	out := map[string]float64{}
	for _, pod := range u.pods {
		for _, c := range pod.containers {
			if c.measured {
				out[pod.name+"/"+c.name] = math.Round(c.seconds*1000) / 1000
			}
		}
	}
	return out
}

func TestRatesBecomeTimeThatOnlyGrows(t *testing.T) {
	type read struct {
		now  int
		pods []runningPod
		told map[string]twinMetrics
	}
	web := podRunning("web", "vn-1", "app")
	restarted := podRunning("web", "vn-1", "app")
	restarted.away.Status.ContainerStatuses[0] = runningStatus("app", afterBegan(50))
	noStart := podRunning("web", "vn-1", "app")
	noStart.away.Status.StartTime = nil
	noStart.away.Status.ContainerStatuses[0] = runningStatus("app", time.Time{})
	other := podRunning("web", "vn-1", "app")
	other.home.UID = "another"
	for name, tc := range map[string]struct {
		reads []read
		want  map[string]float64
	}{
		"the first reading counts since the start": {
			[]read{{20, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "500m")}},
			map[string]float64{"web/app": 10},
		},
		"the next one since the last": {
			[]read{
				{20, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "500m")},
				{40, []runningPod{web}, podMetrics("web", afterBegan(36), "app", "2")},
			},
			map[string]float64{"web/app": 42},
		},
		"the same reading counts once": {
			[]read{
				{20, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "500m")},
				{30, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "500m")},
				{40, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "500m")},
			},
			map[string]float64{"web/app": 10},
		},
		"an older reading takes nothing back": {
			[]read{
				{20, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "500m")},
				{30, []runningPod{web}, podMetrics("web", afterBegan(5), "app", "0")},
			},
			map[string]float64{"web/app": 10},
		},
		"an idle container has used something, or collectors take it for not measured": {
			[]read{{20, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "0")}},
			map[string]float64{"web/app": 0.001},
		},
		"a provider whose clock is ahead is taken at our time": {
			[]read{
				{20, []runningPod{web}, podMetrics("web", afterBegan(9999), "app", "1")},
				{30, []runningPod{web}, podMetrics("web", afterBegan(9999), "app", "1")},
			},
			map[string]float64{"web/app": 30},
		},
		"a restarted container begins anew": {
			[]read{
				{40, []runningPod{web}, podMetrics("web", afterBegan(40), "app", "1")},
				{60, []runningPod{restarted}, podMetrics("web", afterBegan(60), "app", "1")},
			},
			map[string]float64{"web/app": 10},
		},
		"what was measured before the restart is not the new container's": {
			[]read{
				{40, []runningPod{web}, podMetrics("web", afterBegan(40), "app", "1")},
				{60, []runningPod{restarted}, podMetrics("web", afterBegan(45), "app", "1")},
			},
			map[string]float64{},
		},
		"a pod of the same name is another": {
			[]read{
				{40, []runningPod{web}, podMetrics("web", afterBegan(40), "app", "3")},
				{50, []runningPod{other}, podMetrics("web", afterBegan(50), "app", "1")},
			},
			map[string]float64{"web/app": 50},
		},
		"a gap in what is told takes nothing back": {
			[]read{
				{20, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "1")},
				{30, []runningPod{web}, nil},
			},
			map[string]float64{"web/app": 20},
		},
		"a pod that comes back after it was not running begins anew": {
			[]read{
				{20, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "4")},
				{30, nil, nil},
				{40, []runningPod{web}, podMetrics("web", afterBegan(40), "app", "1")},
			},
			map[string]float64{"web/app": 40},
		},
		"a container that does not say since when counts from its first reading": {
			[]read{
				{20, []runningPod{noStart}, podMetrics("web", afterBegan(20), "app", "1")},
				{30, []runningPod{noStart}, podMetrics("web", afterBegan(30), "app", "1")},
			},
			map[string]float64{"web/app": 10.001},
		},
		"a pod that nobody has measured is there without time": {
			[]read{{20, []runningPod{web}, podMetrics("db", afterBegan(20), "app", "1")}}, map[string]float64{},
		},
		"a negative figure is none": {
			[]read{{20, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "-1")}}, map[string]float64{},
		},
		"an absurd figure is none": {
			[]read{{20, []runningPod{web}, podMetrics("web", afterBegan(20), "app", "1e30")}}, map[string]float64{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMeter(statsBegan)
			var got usage
			for _, r := range tc.reads {
				got = m.read(r.pods, r.told, []string{"vn-1"}, afterBegan(r.now))
			}
			if diff := cmp.Diff(tc.want, measuredSeconds(got)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
			if last := tc.reads[len(tc.reads)-1]; len(got.pods) != len(last.pods) {
				t.Errorf("%d pods, want every one that runs", len(got.pods))
			}
		})
	}
}

func TestWhichContainersAreTold(t *testing.T) {
	pod := podRunning("web", "vn-1", "app")
	pod.home.Spec.InitContainers = []corev1.Container{{Name: "migrate"}, {Name: "proxy"}}
	pod.home.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger"},
	}}
	status := &pod.away.Status
	status.InitContainerStatuses = []corev1.ContainerStatus{
		{Name: "migrate", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{}}},
		runningStatus("proxy", afterBegan(-5)),
	}
	status.EphemeralContainerStatuses = []corev1.ContainerStatus{runningStatus("debugger", afterBegan(9))}
	status.ContainerStatuses = append(status.ContainerStatuses,
		runningStatus("smuggled", statsBegan), runningStatus("app", statsBegan))
	want := []containerUsage{
		{name: "proxy", started: statsBegan}, // not before its pod
		{name: "app", started: statsBegan}, {name: "debugger", started: afterBegan(9)},
	}
	if diff := cmp.Diff(want, runningContainers(pod), cmp.AllowUnexported(containerUsage{}, figures{})); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestANodeUsesWhatItsPodsUse(t *testing.T) {
	m := newMeter(statsBegan)
	web, db := podRunning("web", "vn-1", "app", "sidecar"), podRunning("db", "vn-2", "app")
	told := podMetrics("web", afterBegan(10), "app", "500m", "sidecar", "1500m")
	told["shop-home"]["db"] = podMetrics("db", afterBegan(10), "app", "250m")["shop-home"]["db"]
	nodes := []string{"vn-1", "vn-2", "vn-3"}
	m.read([]runningPod{db, web}, told, nodes, afterBegan(10))
	got := m.read([]runningPod{db, web}, told, nodes, afterBegan(20))
	// A node's own counter does not fall when a pod goes.
	last := m.read([]runningPod{db}, told, nodes, afterBegan(30))

	type figure struct{ Cores, Bytes, Seconds float64 }
	read := func(u usage) map[string]figure {
		out := map[string]figure{}
		for _, n := range u.nodes {
			out[n.name] = figure{n.cores, n.bytes, math.Round(n.seconds*1000) / 1000}
		}
		return out
	}
	const size = 64 << 20
	want := map[string]figure{
		"vn-1": {2, 2 * size, 20.001}, "vn-2": {0.25, size, 2.501}, "vn-3": {0, 0, 0.001},
	}
	if diff := cmp.Diff(want, read(got)); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	want["vn-1"], want["vn-2"] = figure{0, 0, 20.001}, figure{0.25, size, 5.001}
	if diff := cmp.Diff(want, read(last)); diff != "" {
		t.Errorf("after a pod went: -want,+got:\n%s", diff)
	}
	if len(m.containers) != 1 {
		t.Errorf("%d containers are remembered, want those of the pod that runs", len(m.containers))
	}
}
