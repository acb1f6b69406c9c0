package reflection

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestThatAPodGotItsNodeIsNotRepeatedAtHome(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*corev1.Event)
		want   string
	}{
		"what the provider's scheduler says of each pod": {change: func(*corev1.Event) {}},
		"that it found no node": {
			change: func(e *corev1.Event) { e.Reason, e.Type = "FailedScheduling", corev1.EventTypeWarning },
			want:   "create",
		},
		"a warning of that name": {
			change: func(e *corev1.Event) { e.Type = corev1.EventTypeWarning }, want: "create",
		},
		"what is called so of other kinds": {
			change: func(e *corev1.Event) { e.InvolvedObject.Kind = "Backup" }, want: "create",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newEventRig(t)
			src := occurring("scheduled", 1)
			src.Reason, src.Type, src.InvolvedObject.Kind = "Scheduled", corev1.EventTypeNormal, "Pod"
			test.change(src)
			r.happens(src)
			if got := r.settle(); got != test.want {
				t.Errorf("told by %q, not %q", got, test.want)
			}
			r.restart()
			r.listed(src)
			if got := r.settle(); got != "" {
				t.Errorf("a restart tells it by %q", got)
			}
		})
	}
}
