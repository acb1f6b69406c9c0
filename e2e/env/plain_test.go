package env

import (
	"errors"
	"testing"

	"k8s.io/utils/clock"
)

func TestAPlainProviderHasKubernetesOwnScheduler(t *testing.T) {
	for name, tc := range map[string]struct{ plain, wantProfiles bool }{
		"plain":          {true, false},
		"unless told so": {false, true},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(Options{
				Dir: t.TempDir(), Providers: 1, PlainProviders: tc.plain, Clock: clock.RealClock{},
			})
			t.Cleanup(e.ports.releaseAll)
			for n, ours := range []bool{true, tc.wantProfiles} {
				c, err := e.newCluster(n, nil)
				if err := errors.Join(err, c.configuration()); err != nil {
					t.Fatal(err)
				}
				if got := schedulerProfiles(t, c.path("scheduler.yaml")) != nil; got != ours {
					t.Errorf("the scheduler of %s has our profiles: %v, want %v", c.Name, got, ours)
				}
			}
		})
	}
}
