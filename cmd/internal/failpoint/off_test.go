//go:build !failpoints

package failpoint

import (
	"net/http"
	"testing"

	"k8s.io/utils/clock"
)

func TestABuildForUsersHasNoFaults(t *testing.T) {
	t.Setenv("TWINSPACE_FAILPOINTS", "before-remote-pod-created=kill;clock=+10m;nonsense")
	f := Read()
	if err := f.Err(); err != nil {
		t.Error(err)
	}
	next := &http.Transport{}
	if f.Transport(Remote, next) != http.RoundTripper(next) {
		t.Error("it stands in the way of requests")
	}
	if f.Clock(clock.RealClock{}) != clock.WithTickerAndDelayedExecution(clock.RealClock{}) {
		t.Error("it changes the clock")
	}
}
