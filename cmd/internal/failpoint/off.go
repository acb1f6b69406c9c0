//go:build !failpoints

package failpoint

import (
	"net/http"

	"k8s.io/utils/clock"
)

// Faults are none in this build.
type Faults struct{}

// Read returns none, whatever the environment says.
func Read() Faults { return Faults{} }

// Err returns what is wrong with the faults.
func (Faults) Err() error { return nil }

// Transport returns what it is given.
func (Faults) Transport(_ Side, next http.RoundTripper) http.RoundTripper { return next }

// Clock returns what it is given.
func (Faults) Clock(real clock.WithTickerAndDelayedExecution) clock.WithTickerAndDelayedExecution {
	return real
}
