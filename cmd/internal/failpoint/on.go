//go:build failpoints

package failpoint

import (
	"net/http"
	"os"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"
)

// Variable is the environment variable that is read.
const Variable = "TWINSPACE_FAILPOINTS"

// Faults are what is to go wrong in this process.
type Faults struct {
	armed []*armed
	shift time.Duration
	err   error
}

// Read returns what the environment says.
func Read() Faults { return parse(os.Getenv(Variable)) }

// Err returns what is wrong with what the environment says.
func (f Faults) Err() error { return f.err }

// Clock returns a clock that is as far off as the faults say.
func (f Faults) Clock(real clock.WithTickerAndDelayedExecution) clock.WithTickerAndDelayedExecution {
	if f.shift == 0 {
		return real
	}
	return shifted{WithTickerAndDelayedExecution: real, by: f.shift}
}

// shifted is a clock that is wrong. What it measures is right.
type shifted struct {
	clock.WithTickerAndDelayedExecution
	by time.Duration
}

// Now implements clock.PassiveClock.
func (s shifted) Now() time.Time { return s.WithTickerAndDelayedExecution.Now().Add(s.by) }

// Since implements clock.PassiveClock.
func (s shifted) Since(t time.Time) time.Duration { return s.Now().Sub(t) }

// Transport returns a transport on which armed steps happen.
func (f Faults) Transport(to Side, next http.RoundTripper) http.RoundTripper {
	if len(f.armed) == 0 {
		return next
	}
	return &transport{to: to, next: next, armed: f.armed, does: does(), infos: &request.RequestInfoFactory{
		APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api"),
	}}
}

// Reach makes happen what is armed for a moment, as in "before-home-pod-bound", where others make the requests: those of
// a scheduler are its framework's.
func (f Faults) Reach(moment string) error { return f.reach(moment, does()) }

func (f Faults) reach(moment string, does map[string]func()) error {
	for _, a := range f.armed {
		if a.name != moment || !a.due() {
			continue
		}
		if err := a.happen(does); err != nil {
			return err
		}
	}
	return nil
}

// does are the real actions on this process.
func does() map[string]func() {
	return map[string]func(){
		kill: func() { signal(syscall.SIGKILL); select {} },
		stop: func() { signal(syscall.SIGSTOP) },
	}
}

func signal(s syscall.Signal) {
	if err := syscall.Kill(os.Getpid(), s); err != nil {
		klog.Background().Error(err, "Cannot signal ourselves", "signal", s)
	}
}
