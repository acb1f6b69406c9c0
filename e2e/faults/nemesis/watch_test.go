package nemesis

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhenHomeAndProvidersAgree(t *testing.T) {
	at := func(seconds int) time.Time { return time.Unix(int64(seconds), 0) }
	// looks are what is complained about, second by second after the healing, at second 0.
	for what, test := range map[string]struct {
		looks     []string
		agree     bool
		converged time.Duration
		stale     []string
	}{
		"nothing is ever wrong": {
			looks: []string{"", "", "", ""}, agree: true,
		},
		"nobody is believed at once": {
			looks: []string{"", ""}, agree: false,
		},
		"what was wrong before takes two seconds": {
			looks: []string{"a", "a", "a", "", "", ""}, agree: true, converged: 2 * time.Second,
		},
		"what comes and goes is work": {
			looks: []string{"", "a", "b", "c"}, agree: true,
		},
		"what stays is left by the fault, though it came later": {
			looks: []string{"", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a"},
			agree: false, converged: 11 * time.Second, stale: []string{"a: differs"},
		},
		"what was wrong before never ends": {
			looks: []string{"a", "a", "a", "a"}, agree: false, converged: 3 * time.Second,
			stale: []string{"a: differs"},
		},
		"what ended begins anew": {
			looks: []string{"a", "", "a", ""}, agree: true, converged: 0,
		},
	} {
		t.Run(what, func(t *testing.T) {
			w := newWatch(at(0))
			agree := false
			last := at(len(test.looks) - 1)
			for second, about := range test.looks {
				var complaints []Complaint
				if about != "" {
					complaints = []Complaint{{about, "differs"}}
				}
				agree = w.look(at(second), complaints)
			}
			if agree != test.agree || w.converged() != test.converged {
				t.Errorf("agree: %t after %s, want %t after %s", agree, w.converged(), test.agree, test.converged)
			}
			if diff := cmp.Diff(test.stale, w.stale(last)); diff != "" {
				t.Errorf("stale (-want,+got):\n%s", diff)
			}
		})
	}
}
