package translate

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

var (
	now    = metav1.NewTime(time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC))
	before = metav1.NewTime(now.Add(-time.Hour))
	view   = View{NodeIPs: []string{"192.0.2.1"}, Now: now}
)

func TestPhase(t *testing.T) {
	deleted := func(p *corev1.Pod) {
		p.DeletionTimestamp = ptr.To(metav1.NewTime(now.Add(30 * time.Second)))
		p.DeletionGracePeriodSeconds = ptr.To[int64](30)
	}
	ended := func(at time.Time) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			deleted(p)
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{
				Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(at)}}}}
		}
	}
	for name, tc := range map[string]struct {
		home, away        corev1.PodPhase
		atHome, overThere func(*corev1.Pod)
		want              corev1.PodPhase
	}{
		"starts":                          {home: "Pending", away: "Running", want: "Running"},
		"ends well":                       {home: "Running", away: "Succeeded", want: "Succeeded"},
		"ends badly":                      {home: "Running", away: "Failed", want: "Failed"},
		"ends before it was seen running": {home: "Pending", away: "Succeeded", want: "Succeeded"},
		"never back to pending":           {home: "Running", away: "Pending", want: "Running"},
		"failed stays failed":             {home: "Failed", away: "Running", want: "Failed"},
		"succeeded stays succeeded":       {home: "Succeeded", away: "Failed", want: "Succeeded"},
		"an unknown phase says nothing":   {home: "Running", away: "Banana", want: "Running"},
		"nor does Unknown":                {home: "Running", away: "Unknown", want: "Running"},
		"nor does none":                   {home: "", away: "", want: "Pending"},
		"taken away, politely": {
			home: "Running", away: "Succeeded", overThere: ended(now.Add(time.Second)), want: "Failed",
		},
		"taken away, nothing known": {home: "Running", away: "Succeeded", overThere: deleted, want: "Failed"},
		"done before it was taken away": {
			home: "Running", away: "Succeeded", overThere: ended(now.Add(-time.Second)), want: "Succeeded",
		},
		"deleted by home, ends well": {
			home: "Running", away: "Succeeded", atHome: deleted, overThere: ended(now.Add(time.Second)),
			want: "Succeeded",
		},
	} {
		t.Run(name, func(t *testing.T) {
			home, away := pod(tc.atHome), pod(tc.overThere)
			home.Status.Phase, away.Status.Phase = tc.home, tc.away
			got := view.Status(home, away)
			if got.Phase != tc.want {
				t.Errorf("want %s, got %s", tc.want, got.Phase)
			}
			disrupted := find(got.Conditions, corev1.DisruptionTarget) != nil
			if want := tc.want == "Failed" && tc.away == "Succeeded" && tc.home == "Running"; disrupted != want {
				t.Errorf("DisruptionTarget: want %v, got %v", want, disrupted)
			}
		})
	}
}

func TestStatusOfARunningPod(t *testing.T) {
	home := pod(func(p *corev1.Pod) {
		p.Status = corev1.PodStatus{
			Phase: corev1.PodPending, QOSClass: corev1.PodQOSBurstable,
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: before},
				{Type: "example.com/gate", Status: corev1.ConditionTrue, LastTransitionTime: before},
			},
		}
	})
	away := pod(func(p *corev1.Pod) {
		p.Namespace, p.UID = "shop-home", "away-1"
		p.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, QOSClass: corev1.PodQOSBestEffort, StartTime: &before, HostIP: "10.0.0.9",
			PodIP: "10.1.0.4", PodIPs: []corev1.PodIP{{IP: "10.1.0.4"}, {IP: "fd00::4"}}, ObservedGeneration: 1,
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: before,
					ObservedGeneration: 1},
				{Type: "example.com/gate", Status: corev1.ConditionFalse, LastTransitionTime: now},
			},
			ContainerStatuses: []corev1.ContainerStatus{
				{Name: "app", Ready: true, RestartCount: 2}, {Name: "stranger"}, {Name: "app", RestartCount: 9},
			},
		}
	})
	want := corev1.PodStatus{
		Phase: corev1.PodRunning, QOSClass: corev1.PodQOSBurstable, StartTime: &before, ObservedGeneration: 3,
		HostIP: "192.0.2.1", HostIPs: []corev1.HostIP{{IP: "192.0.2.1"}},
		PodIP: "10.1.0.4", PodIPs: []corev1.PodIP{{IP: "10.1.0.4"}, {IP: "fd00::4"}},
		Conditions: []corev1.PodCondition{
			home.Status.Conditions[0], home.Status.Conditions[1],
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: before, ObservedGeneration: 3},
			{Type: Offloaded, Status: corev1.ConditionTrue, Reason: "Created", LastTransitionTime: now,
				Message: "remote pod shop-home/web, uid away-1"},
		},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "app", Ready: true, RestartCount: 2}},
	}
	got := view.Status(home, away)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	home.Status = got
	if !Existed(home) {
		t.Error("that the remote pod existed is not remembered")
	}
	later := view
	later.Now = metav1.NewTime(now.Add(time.Hour))
	if diff := cmp.Diff(got, later.Status(home, away)); diff != "" {
		t.Errorf("a no-op changes something, -first,+second:\n%s", diff)
	}
}

func TestReady(t *testing.T) {
	for name, tc := range map[string]struct {
		away, gate  corev1.ConditionStatus
		unreachable bool
		want        corev1.ConditionStatus
	}{
		"ready":                         {away: "True", gate: "True", want: "True"},
		"not ready":                     {away: "False", gate: "True", want: "False"},
		"home's gate is closed":         {away: "True", gate: "False", want: "False"},
		"home's gate was never set":     {away: "True", want: "False"},
		"the provider is unreachable":   {away: "True", gate: "True", unreachable: true, want: "False"},
		"an invented status is ignored": {away: "Perhaps", gate: "True", want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(func(p *corev1.Pod) {
				p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "gate"}}
				if tc.gate != "" {
					p.Status.Conditions = []corev1.PodCondition{{Type: "gate", Status: tc.gate}}
				}
			})
			away := pod(func(p *corev1.Pod) {
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: tc.away}}
			})
			v := view
			v.Unreachable = tc.unreachable
			got := v.Status(home, away)
			c := find(got.Conditions, corev1.PodReady)
			if c == nil && tc.want != "" || c != nil && c.Status != tc.want {
				t.Errorf("want Ready %s, got %v", tc.want, c)
			}
			if c != nil && c.Status == "False" && tc.away == "True" && c.Message == "" {
				t.Error("nobody says why")
			}
		})
	}
}

func TestRemoteSchedulersWordsShow(t *testing.T) {
	away := pod(func(p *corev1.Pod) {
		p.Status.Phase = corev1.PodPending
		p.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable,
			Message: "0/3 nodes are available: 3 Insufficient cpu.",
		}}
	})
	home := pod(func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionTrue}}
	})
	got := view.Status(home, away)
	if got.Reason != ReasonUnschedulable || !strings.Contains(got.Message, "3 Insufficient cpu") {
		t.Errorf("want the remote scheduler's words, got %s: %s", got.Reason, got.Message)
	}
	if c := find(got.Conditions, corev1.PodScheduled); c.Status != corev1.ConditionTrue {
		t.Error("home's pod is bound, and PodScheduled says that it is not")
	}
	home.Status = got
	away.Status = corev1.PodStatus{Phase: corev1.PodRunning}
	if got = view.Status(home, away); got.Reason != "" || find(got.Conditions, Offloaded).Reason != "Created" {
		t.Errorf("the words stay when the pod runs: %s: %s", got.Reason, got.Message)
	}
}

func TestPodIPs(t *testing.T) {
	for name, tc := range map[string]struct {
		from []string
		want []string
	}{
		"both families": {[]string{"10.0.0.1", "fd00::1"}, []string{"10.0.0.1", "fd00::1"}},
		"one of each": {
			[]string{"10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"}, []string{"10.0.0.1", "fd00::1"},
		},
		"home's own loopback": {[]string{"127.0.0.1", "::1"}, nil},
		"metadata service":    {[]string{"169.254.169.254", "fe80::1", "fe80::1%eth0"}, nil},
		"not addresses": {
			[]string{"", "999.1.1.1", "10.0.0.0/8", "::ffff:10.0.0.1", "0.0.0.0", "224.0.0.1"}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			away := pod(nil)
			for _, ip := range tc.from {
				away.Status.PodIPs = append(away.Status.PodIPs, corev1.PodIP{IP: ip})
			}
			got := view.Status(pod(nil), away)
			var ips []string
			for _, ip := range got.PodIPs {
				ips = append(ips, ip.IP)
			}
			if !cmp.Equal(tc.want, ips) || got.PodIP != first(tc.want) {
				t.Errorf("want %v, got %v and %s", tc.want, ips, got.PodIP)
			}
		})
	}
}

func TestContainersOnlyMoveForward(t *testing.T) {
	running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
	ended := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1}}
	always := ptr.To(corev1.ContainerRestartPolicyAlways)
	for name, tc := range map[string]struct {
		policy    corev1.RestartPolicy
		own       *corev1.ContainerRestartPolicy
		had, next corev1.ContainerStatus
		wantHad   bool
	}{
		"restarted": {
			policy: "Always", had: corev1.ContainerStatus{State: ended}, next: corev1.ContainerStatus{State: running,
				RestartCount: 1},
		},
		"an old word": {
			policy: "Always", had: corev1.ContainerStatus{RestartCount: 2},
			next: corev1.ContainerStatus{RestartCount: 1}, wantHad: true,
		},
		"never again": {
			policy: "Never", had: corev1.ContainerStatus{State: ended}, next: corev1.ContainerStatus{State: running},
			wantHad: true,
		},
		"a sidecar of a Job may": {
			policy: "Never", own: always, had: corev1.ContainerStatus{State: ended},
			next: corev1.ContainerStatus{State: running},
		},
		"an ended one may say it anew": {
			policy: "Never", had: corev1.ContainerStatus{State: ended}, next: corev1.ContainerStatus{State: ended,
				Ready: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.had.Name, tc.next.Name = "app", "app"
			home := pod(func(p *corev1.Pod) {
				p.Spec.RestartPolicy = tc.policy
				p.Spec.Containers[0].RestartPolicy = tc.own
				p.Status.ContainerStatuses = []corev1.ContainerStatus{tc.had}
			})
			away := pod(func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{tc.next} })
			want := tc.next
			if tc.wantHad {
				want = tc.had
			}
			if diff := cmp.Diff([]corev1.ContainerStatus{want}, view.Status(home, away).ContainerStatuses); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func TestLost(t *testing.T) {
	home := pod(func(p *corev1.Pod) {
		p.Status = corev1.PodStatus{
			Phase: corev1.PodRunning,
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue,
				LastTransitionTime: before}},
			ContainerStatuses: []corev1.ContainerStatus{{
				Name: "app", Ready: true,
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: before}}}},
		}
	})
	got := view.Lost(home, nil, "RemotePodDeleted", "it went")
	want := corev1.PodStatus{
		Phase: corev1.PodFailed, Reason: "RemotePodDeleted", Message: "it went", ObservedGeneration: 3,
		Conditions: []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionFalse, Reason: "PodFailed", LastTransitionTime: now},
			{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "RemotePodDeleted",
				Message:            "it went",
				LastTransitionTime: now, ObservedGeneration: 3},
		},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "app", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{
				ExitCode: 137, Reason: "ContainerStatusUnknown", StartedAt: before,
				Message: "the container is gone, and how it ended is not known",
			}}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	finished := pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	if got := view.Lost(home, finished, "RemotePodDeleted", "it went"); got.Phase != corev1.PodSucceeded {
		t.Errorf("it had succeeded before it went, and is now %s", got.Phase)
	}
	evicted := pod(func(p *corev1.Pod) { p.Status.Reason, p.Status.Message = "Evicted", "low on memory" })
	if got := view.Lost(home, evicted, "RemotePodDeleted",
		"it went"); got.Message != "it went: Evicted: low on memory" {
		t.Errorf("the provider's words are lost: %s", got.Message)
	}
}

func TestEnded(t *testing.T) {
	for name, tc := range map[string]struct {
		home, last, want corev1.PodPhase
	}{
		"never ran":            {"Pending", "", "Failed"},
		"nobody saw how":       {"Running", "Running", "Failed"},
		"ended well":           {"Running", "Succeeded", "Succeeded"},
		"was finished already": {"Succeeded", "Failed", "Succeeded"},
	} {
		t.Run(name, func(t *testing.T) {
			home := pod(func(p *corev1.Pod) { p.Status.Phase = tc.home; p.DeletionTimestamp = &now })
			var last *corev1.Pod
			if tc.last != "" {
				last = pod(func(p *corev1.Pod) { p.Status.Phase = tc.last })
			}
			if got := view.Ended(home, last); got.Phase != tc.want || find(got.Conditions,
				corev1.DisruptionTarget) != nil {
				t.Errorf("want %s and no disruption, got %+v", tc.want, got)
			}
		})
	}
}

func TestWaiting(t *testing.T) {
	home := pod(nil)
	home.Status = view.Waiting(home, "OffloadingBackOff", strings.Repeat("ä", 2000))
	c := find(home.Status.Conditions, Offloaded)
	if home.Status.Phase != corev1.PodPending || home.Status.Reason != "OffloadingBackOff" || c == nil ||
		c.Status != "False" {
		t.Errorf("got %+v", home.Status)
	}
	if n := len(home.Status.Message); n > maxMessage || !utf8.ValidString(home.Status.Message) {
		t.Errorf("%d bytes of message", n)
	}
	if Existed(home) {
		t.Error("a pod that waits is taken for one that existed")
	}
	later := view
	later.Now = metav1.NewTime(now.Add(time.Hour))
	if diff := cmp.Diff(home.Status, later.Waiting(home, "OffloadingBackOff", strings.Repeat("ä", 2000))); diff != "" {
		t.Errorf("a no-op changes something, -first,+second:\n%s", diff)
	}
}

func TestCreatedBefore(t *testing.T) {
	home := pod(func(p *corev1.Pod) {
		p.Status.Conditions = []corev1.PodCondition{{Type: Offloaded, Status: "True", LastTransitionTime: before}}
	})
	for name, tc := range map[string]struct {
		home *corev1.Pod
		at   metav1.Time
		want bool
	}{
		"namespace is younger": {home, now, true},
		"namespace is older":   {home, metav1.NewTime(before.Add(-time.Hour)), false},
		"never created":        {pod(nil), now, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := CreatedBefore(tc.home, tc.at); got != tc.want {
				t.Errorf("want %v, got %v", tc.want, got)
			}
		})
	}
}
