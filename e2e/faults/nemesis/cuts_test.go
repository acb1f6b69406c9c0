package nemesis

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestWhatANodeMustSayOfACut(t *testing.T) {
	for what, test := range map[string]struct {
		status       corev1.ConditionStatus
		reason       string
		worthTelling bool
		want         string
	}{
		"a short one, and it is ready":   {corev1.ConditionTrue, "KubeletReady", false, ""},
		"a long one, and it says so":     {corev1.ConditionFalse, "RemoteAPIServerUnreachable", true, ""},
		"a long one, and nobody answers": {corev1.ConditionUnknown, "NodeStatusUnknown", true, ""},
		"a short one, and it tells": {
			corev1.ConditionFalse, "RemoteAPIServerUnreachable", false,
			"node b is not ready after a cut that nobody should notice: RemoteAPIServerUnreachable",
		},
		"a long one, and it is ready": {
			corev1.ConditionTrue, "KubeletReady", true, "node b is ready, though its provider cannot be reached",
		},
		"a long one without a reason": {
			corev1.ConditionFalse, "", true, "node b gives no reason for not being ready",
		},
	} {
		t.Run(what, func(t *testing.T) {
			node := &corev1.Node{}
			node.Name = "b"
			node.Status.Conditions = []corev1.NodeCondition{
				{Type: corev1.NodeReady, Status: test.status, Reason: test.reason},
			}
			if got := cutTold(node, test.worthTelling); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhoWaitedForTooLong(t *testing.T) {
	const buckets = `# TYPE twinspace_remote_request_duration_seconds histogram
twinspace_remote_request_duration_seconds_bucket{method="GET",le="20"} 3
twinspace_remote_request_duration_seconds_bucket{method="GET",le="45"} 4
twinspace_remote_request_duration_seconds_bucket{method="GET",le="+Inf"} 6
twinspace_remote_request_duration_seconds_sum{method="GET"} 150
twinspace_remote_request_duration_seconds_count{method="GET"} 6
twinspace_remote_request_duration_seconds_bucket{destination="b",method="PATCH",le="45"} 9
twinspace_remote_request_duration_seconds_bucket{destination="b",method="PATCH",le="+Inf"} 10
liqo_reflection_latency_seconds_bucket{le="+Inf"} 7
`
	for what, test := range map[string]struct {
		metrics string
		want    int
		bad     bool
	}{
		"nobody, of all kinds of requests": {metrics: "", want: 0},
		"some":                             {metrics: buckets, want: 3},
		"the metric cannot be read": {
			metrics: `twinspace_remote_request_duration_seconds_bucket{method="GET",le="45"} many`, bad: true,
		},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := waitedLong(test.metrics)
			if got != test.want || (err != nil) != test.bad {
				t.Errorf("got %d, %v, want %d", got, err, test.want)
			}
		})
	}
}
