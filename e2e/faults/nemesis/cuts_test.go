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
