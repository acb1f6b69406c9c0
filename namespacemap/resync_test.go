package namespacemap

import (
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

func TestManyTwinsAreLookedAtLessOften(t *testing.T) {
	tests := map[string]struct {
		twins  int
		resync time.Duration
		want   time.Duration
	}{
		"one":                                {twins: 1, want: time.Minute},
		"as many as a minute has room for":   {twins: 600, want: time.Minute},
		"a full map: ten a second":           {twins: 2400, want: 4 * time.Minute},
		"few, and told to look often":        {twins: 1, resync: time.Second, want: time.Second},
		"many, however often it was told to": {twins: 50, resync: time.Second, want: 5 * time.Second},
		"few, and told to look seldom":       {twins: 50, resync: time.Hour, want: time.Hour},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			m := build.Map("b").Want("shop", "shop-a")
			for i := range tc.twins - 1 {
				m = m.Want(fmt.Sprintf("other-%d", i), fmt.Sprintf("other-%d-a", i))
			}
			a := newAgent(t, []client.Object{build.Namespace("shop").UID("uid-1").Obj(), m.Obj()})
			a.Resync = tc.resync
			wantAbout(t, tc.want, a.mustVisit(t, "shop"))
		})
	}
}

func TestManyTwinsThatLeaveAreLookedAtLessOften(t *testing.T) {
	for name, tc := range map[string]struct {
		twins int
		want  time.Duration
	}{
		"one":                             {twins: 1, want: retryTerminating},
		"hundreds that were un-offloaded": {twins: 600, want: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			twin := twinOf("uid-1").Obj()
			twin.Finalizers = []string{"example.com/hold"}
			objects := leaveShop()
			for _, object := range objects {
				if m, ok := object.(*v1beta1.NamespaceMap); ok {
					for i := range tc.twins - 1 {
						m.Status.CurrentMapping[fmt.Sprintf("other-%d", i)] = v1beta1.TwinStatus{
							RemoteNamespace: fmt.Sprintf("other-%d-a", i), Phase: v1beta1.MappingTerminating,
						}
					}
				}
			}
			wantAbout(t, tc.want, newAgent(t, objects, twin).mustVisit(t, "shop"))
		})
	}
}

// wantAbout fails unless the next look is after the given time, or up to half as much later.
func wantAbout(t *testing.T, want time.Duration, got reconcile.Result) {
	t.Helper()
	if most := want + want/2; got.RequeueAfter < want || got.RequeueAfter > most {
		t.Errorf("looks again after %v, want between %v and %v", got.RequeueAfter, want, most)
	}
}
