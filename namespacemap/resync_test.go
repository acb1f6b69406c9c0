package namespacemap

import (
	"fmt"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

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
			again := a.mustVisit(t, "shop").RequeueAfter
			if most := tc.want + tc.want/2; again < tc.want || again > most {
				t.Errorf("looks again after %v, want between %v and %v", again, tc.want, most)
			}
		})
	}
}
