package translate

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
)

// FuzzStatus is a provider that says anything.
func FuzzStatus(f *testing.F) {
	f.Add([]byte(`{"phase":"Pending"}`), []byte(`{"phase":"Running","podIPs":[{"ip":"10.0.0.1"}],"containerStatuses":`+
		`[{"name":"app","restartCount":-4,"state":{"waiting":{"message":"x"}}}],`+
		`"conditions":[{"type":"Ready","status":"True"}]}`), true)
	f.Add([]byte(`{"phase":"Failed"}`), []byte(`{"phase":"Running","hostIP":"1.2.3.4","podIP":"127.0.0.1"}`), false)
	f.Add([]byte(`{"phase":"Running","resources":{"limits":{"cpu":"1"}},"podIPs":[{"ip":"10.0.0.1"}]}`),
		[]byte(`{"phase":"Succeeded","resources":{"limits":{"memory":"1"}},"podIPs":[{"ip":"10.0.0.2"}]}`), true)
	f.Fuzz(func(t *testing.T, had, says []byte, taken bool) {
		home, away := pod(nil), pod(nil)
		if json.Unmarshal(had, &home.Status) != nil || json.Unmarshal(says, &away.Status) != nil {
			t.Skip()
		}
		if taken {
			away.DeletionTimestamp = &now
		}
		got := view.Status(home, away)
		if Finished(home.Status.Phase) && !equality.Semantic.DeepEqual(got, home.Status) {
			t.Error("a finished pod changed")
		}
		if home.Status.Phase == corev1.PodRunning && got.Phase == corev1.PodPending {
			t.Error("a running pod became pending")
		}
		if len(got.PodIPs) > 2 && !Finished(home.Status.Phase) || got.QOSClass != home.Status.QOSClass {
			t.Errorf("out of bounds: %v %s", got.PodIPs, got.QOSClass)
		}
		if !Finished(home.Status.Phase) && (len(got.Message) > maxMessage || len(got.ContainerStatuses) > 1) {
			t.Error("out of bounds")
		}
		next := home.DeepCopy()
		next.Status = got
		if again := view.Status(next, away); !equality.Semantic.DeepEqual(got, again) {
			t.Errorf("not idempotent, -first,+second:\n%s", cmp.Diff(got, again))
		}
		checkPatch(t, home, &got)
	})
}

func TestStatusPatch(t *testing.T) {
	cpu := corev1.ResourceList{corev1.ResourceCPU: {}}
	full := corev1.PodStatus{
		Phase: corev1.PodRunning, Reason: "r", Message: "m", StartTime: &now, HostIP: "192.0.2.1",
		HostIPs: []corev1.HostIP{{IP: "192.0.2.1"}}, PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}},
		ObservedGeneration: 2, AllocatedResources: cpu, Resources: &corev1.ResourceRequirements{Limits: cpu},
		Resize:                     corev1.PodResizeStatusDeferred,
		ContainerStatuses:          []corev1.ContainerStatus{{Name: "app", Ready: true}},
		InitContainerStatuses:      []corev1.ContainerStatus{{Name: "init"}},
		EphemeralContainerStatuses: []corev1.ContainerStatus{{Name: "debug"}},
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: "True", Reason: "r", Message: "m", LastTransitionTime: now,
				LastProbeTime:      now,
				ObservedGeneration: 1},
			{Type: "other", Status: "True", LastTransitionTime: now},
		},
	}
	changed := *full.DeepCopy()
	changed.PodIP, changed.PodIPs = "10.0.0.2", []corev1.PodIP{{IP: "10.0.0.2"}, {IP: "fd00::2"}}
	changed.Resources = &corev1.ResourceRequirements{Requests: cpu}
	changed.AllocatedResources = corev1.ResourceList{corev1.ResourceMemory: {}}
	changed.ContainerStatuses = []corev1.ContainerStatus{{Name: "app"}}
	changed.Conditions = []corev1.PodCondition{
		{Type: corev1.PodReady, Status: "False", LastTransitionTime: before}, full.Conditions[1],
		{Type: Offloaded, Status: "True", LastTransitionTime: now},
	}
	for name, tc := range map[string]struct{ src, dst corev1.PodStatus }{
		"from nothing":     {corev1.PodStatus{}, full},
		"to nothing":       {full, corev1.PodStatus{}},
		"one to the other": {full, changed},
		"and back":         {changed, full},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(nil)
			home.Status = tc.src
			checkPatch(t, home, &tc.dst)
		})
	}
	if patch, err := StatusPatch("u", &full, full.DeepCopy()); patch != nil || err != nil {
		t.Errorf("a no-op is written: %s, %v", patch, err)
	}
}

// checkPatch applies the patch as an API server does.
func checkPatch(t *testing.T, home *corev1.Pod, want *corev1.PodStatus) {
	t.Helper()
	patch, err := StatusPatch(home.UID, &home.Status, want)
	if err != nil {
		t.Fatal(err)
	}
	if patch == nil {
		return
	}
	original, err := json.Marshal(home)
	if err != nil {
		t.Fatal(err)
	}
	merged, err := strategicpatch.StrategicMergePatch(original, patch, &corev1.Pod{})
	if err != nil {
		t.Fatalf("%v: %s", err, patch)
	}
	var got corev1.Pod
	if err := json.Unmarshal(merged, &got); err != nil {
		t.Fatal(err)
	}
	inOrder := cmp.Transformer("conditions",
		func(list []corev1.PodCondition) map[corev1.PodConditionType]corev1.PodCondition {
			out := map[corev1.PodConditionType]corev1.PodCondition{}
			for _, c := range list {
				out[c.Type] = c
			}
			return out
		})
	var canonical corev1.PodStatus
	roundTrip(t, want, &canonical)
	if diff := cmp.Diff(canonical, got.Status, inOrder); diff != "" {
		t.Errorf("the patch %s does not give what was wanted, -want,+got:\n%s", patch, diff)
	}
}

func roundTrip(t *testing.T, src, dst *corev1.PodStatus) {
	t.Helper()
	data, err := json.Marshal(src)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, dst); err != nil {
		t.Fatal(err)
	}
}

// One runs per pod and change, so what it costs belongs to the cost of a pod.
func BenchmarkMirror(b *testing.B) {
	conditions := func(types ...corev1.PodConditionType) (list []corev1.PodCondition) {
		for _, t := range types {
			list = append(list, corev1.PodCondition{Type: t, Status: "True", LastTransitionTime: now})
		}
		return list
	}
	home := pod(func(p *corev1.Pod) {
		p.Status = corev1.PodStatus{
			Phase: corev1.PodPending, QOSClass: corev1.PodQOSBurstable, Conditions: conditions(corev1.PodScheduled),
		}
	})
	away := pod(func(p *corev1.Pod) {
		p.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, QOSClass: corev1.PodQOSBurstable, StartTime: &now,
			PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}},
			HostIP: "192.0.2.1", HostIPs: []corev1.HostIP{{IP: "192.0.2.1"}},
			Conditions: conditions(corev1.PodScheduled, corev1.PodReadyToStartContainers, corev1.PodInitialized,
				corev1.ContainersReady, corev1.PodReady),
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "app", Ready: true, Image: "nginx:1.29", ImageID: "nginx@sha256:0", ContainerID: "containerd://0",
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
			}},
		}
	})
	for b.Loop() {
		dst := view.Status(home, away)
		if _, err := StatusPatch(home.UID, &home.Status, &dst); err != nil {
			b.Fatal(err)
		}
	}
}
