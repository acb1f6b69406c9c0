package translate

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestOneWishPerTopologyKey(t *testing.T) {
	must := func(key string, skew int32) corev1.TopologySpreadConstraint {
		return corev1.TopologySpreadConstraint{
			TopologyKey: key, MaxSkew: skew, WhenUnsatisfiable: corev1.DoNotSchedule,
		}
	}
	wish := func(key string, skew int32) corev1.TopologySpreadConstraint {
		return corev1.TopologySpreadConstraint{
			TopologyKey: key, MaxSkew: skew, WhenUnsatisfiable: corev1.ScheduleAnyway,
		}
	}
	type list = []corev1.TopologySpreadConstraint
	for name, test := range map[string]struct{ home, want list }{
		"none":                             {nil, nil},
		"a constraint becomes a wish":      {list{must("zone", 1)}, list{wish("zone", 1)}},
		"the wish of a pair is the user's": {list{must("zone", 5), wish("zone", 1)}, list{wish("zone", 1)}},
		"in either order":                  {list{wish("zone", 1), must("zone", 5)}, list{wish("zone", 1)}},
		"keys do not mix": {
			list{must("zone", 1), wish("host", 2)}, list{wish("zone", 1), wish("host", 2)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, wishes(test.home)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAContainerThatIsNotMentionedKeepsItsStatus(t *testing.T) {
	known := final{"app": false, "log": false}
	had := []corev1.ContainerStatus{
		{Name: "app", RestartCount: 3}, {Name: "log", RestartCount: 1}, {Name: "stranger"},
	}
	for name, test := range map[string]struct{ says, want []corev1.ContainerStatus }{
		"none is mentioned": {nil, had[:2]},
		"one is mentioned": {
			[]corev1.ContainerStatus{{Name: "log", RestartCount: 2}},
			[]corev1.ContainerStatus{{Name: "log", RestartCount: 2}, {Name: "app", RestartCount: 3}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, statuses(known, had, test.says)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
