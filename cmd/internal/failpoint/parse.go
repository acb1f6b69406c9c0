//go:build failpoints

package failpoint

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// What may happen at a step.
const (
	// kill ends the process at once.
	kill = "kill"
	// stop stops it, until somebody lets it go on.
	stop = "stop"
	// fail makes the request fail; after the step, only its answer is lost.
	fail = "fail"
)

// armed is a fault at a step.
type armed struct {
	step
	when   string // before or after
	name   string
	action string

	mu          sync.Mutex
	skip, times int
}

// due counts one more request of the step, and says whether the fault happens at it.
func (a *armed) due() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.skip > 0:
		a.skip--
	case a.times > 0:
		a.times--
		return true
	}
	return false
}

// parse reads faults: STEP=ACTION[:TIMES][,skip:N] or clock=DURATION, with semicolons between them.
func parse(text string) Faults {
	var f Faults
	for term := range strings.SplitSeq(text, ";") {
		if term = strings.TrimSpace(term); term == "" {
			continue
		}
		if err := f.add(term); err != nil {
			return Faults{err: fmt.Errorf("%s: %q: %w", Variable, term, err)}
		}
	}
	return f
}

func (f *Faults) add(term string) error {
	name, value, found := strings.Cut(term, "=")
	if !found {
		return fmt.Errorf("must be STEP=%s, %s or %s, or clock=DURATION", kill, stop, fail)
	}
	if name == "clock" {
		shift, err := time.ParseDuration(value)
		f.shift = shift
		return err
	}
	when, of, _ := strings.Cut(name, "-")
	step, known := steps()[of]
	if !known || when != before && when != after {
		return fmt.Errorf("must begin with before- or after- and name one of %s",
			strings.Join(slices.Sorted(maps.Keys(steps())), ", "))
	}
	a := &armed{step: step, when: when, name: name, times: 1}
	for i, part := range strings.Split(value, ",") {
		if err := a.set(i, part); err != nil {
			return err
		}
	}
	f.armed = append(f.armed, a)
	return nil
}

// set reads one part of what happens; the first one is the action.
func (a *armed) set(i int, part string) error {
	word, count, counted := strings.Cut(part, ":")
	n := 1
	if counted {
		var err error
		if n, err = strconv.Atoi(count); err != nil || n < 0 {
			return fmt.Errorf("%q: %q is no number", part, count)
		}
	}
	switch {
	case i == 0 && (word == kill || word == stop || word == fail):
		a.action, a.times = word, n
	case i > 0 && word == "skip" && counted:
		a.skip = n
	default:
		return fmt.Errorf("%q: must be %s, %s or %s, and may be followed by skip:N", part, kill, stop, fail)
	}
	return nil
}
