package main

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/twinspace/twinspace/api/v1beta1"
)

func TestOneClusterHasTheWordAboutAStatus(t *testing.T) {
	offloaded := func(required ...string) *v1beta1.NamespaceOffloading {
		off := &v1beta1.NamespaceOffloading{}
		off.Status.RemoteNamespacesConditions = map[string][]v1beta1.ClusterCondition{
			"aachen": {{Type: v1beta1.ConditionOffloadingRequired, Status: corev1.ConditionFalse}},
		}
		for _, cluster := range required {
			off.Status.RemoteNamespacesConditions[cluster] = []v1beta1.ClusterCondition{
				{Type: "Ready", Status: corev1.ConditionFalse},
				{Type: v1beta1.ConditionOffloadingRequired, Status: corev1.ConditionTrue},
			}
		}
		return off
	}
	for name, c := range map[string]struct {
		annotation string
		off        *v1beta1.NamespaceOffloading
		want       string
	}{
		"the only one":                      {off: offloaded("milan"), want: "milan"},
		"the first of several":              {off: offloaded("turin", "milan", "rome"), want: "milan"},
		"the one that the object names":     {annotation: "rome", off: offloaded("milan", "rome"), want: "rome"},
		"nobody, as long as none is chosen": {off: offloaded()},
	} {
		t.Run(name, func(t *testing.T) {
			obj := &metav1.ObjectMeta{}
			if c.annotation != "" {
				obj.Annotations = map[string]string{"offloading.liqo.io/status-from": c.annotation}
			}
			for range 20 { // maps have no order
				if got := speaker(obj, c.off); got != c.want {
					t.Fatalf("got %q, want %q", got, c.want)
				}
			}
		})
	}
}
