package leader

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestWhenAReplicaMayAct(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	type does func(*term, *clocktesting.FakeClock)
	after := func(d time.Duration) does {
		return func(_ *term, c *clocktesting.FakeClock) { c.Step(d) }
	}
	renews := func(t *term, c *clocktesting.FakeClock) { t.renewed(c.Now()) }
	hears := func(d time.Duration) does { // the answer takes that long
		return func(t *term, c *clocktesting.FakeClock) {
			asked := c.Now()
			c.Step(d)
			t.renewed(asked)
		}
	}
	gives := func(t *term, _ *clocktesting.FakeClock) { t.ended() }
	sees := func(t *term, _ *clocktesting.FakeClock) { t.taken() }
	for name, test := range map[string]struct {
		story              []does
		wantOpen, wantLost bool
	}{
		"who stands by may not":           {},
		"who sees another lead stands by": {story: []does{sees}},
		"who has the lease may":           {story: []does{renews}, wantOpen: true},
		"and has stood by before":         {story: []does{sees, renews}, wantOpen: true},
		"for as long as the term is":      {story: []does{renews, after(10*time.Second - 1)}, wantOpen: true},
		"not any longer":                  {story: []does{renews, after(10 * time.Second)}},
		"from before it asked":            {story: []does{hears(4 * time.Second), after(6 * time.Second)}},
		"longer when it renews": {
			story: []does{renews, after(9 * time.Second), renews, after(9 * time.Second)}, wantOpen: true,
		},
		"again when the lease was still ours": {story: []does{renews, after(time.Hour), renews}, wantOpen: true},
		"not when it gives the lease back":    {story: []does{renews, gives}},
		"never again when another has it":     {story: []does{renews, after(time.Hour), sees}, wantLost: true},
		"not even if it gets it back":         {story: []does{renews, sees, renews, sees}, wantLost: true},
		"nor after it gave the lease back":    {story: []does{renews, gives, sees}, wantLost: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := clocktesting.NewFakeClock(start)
			term := newTerm(c, DefaultTimes().term())
			for _, does := range test.story {
				does(term, c)
			}
			if got := term.open(); got != test.wantOpen {
				t.Errorf("may act: %t", got)
			}
			lost := false
			select {
			case <-term.lost:
				lost = true
			default:
			}
			if lost != test.wantLost {
				t.Errorf("has lost: %t", lost)
			}
		})
	}
}

func TestTheLongerOfTwoClocksCounts(t *testing.T) {
	since := time.Now()
	asleep := since.Round(0).Add(time.Minute) // no monotonic reading: it compares by the wall
	if got := passed(since, asleep); got != time.Minute {
		t.Errorf("%s of a minute", got)
	}
	if got := passed(since, since.Add(time.Second)); got != time.Second {
		t.Errorf("%s of a second", got)
	}
}

func TestTimes(t *testing.T) {
	if term := DefaultTimes().term(); term != 10*time.Second {
		t.Errorf("the leader may act for %s, between 8 s and 12 s", term)
	}
	for name, test := range map[string]struct {
		times Times
		wants int
	}{
		"the defaults":                 {DefaultTimes(), 0},
		"those of Kubernetes":          {Times{15 * time.Second, 10 * time.Second, 2 * time.Second}, 0},
		"no time for requests":         {Times{10 * time.Second, 9 * time.Second, time.Second}, 1},
		"what a lease cannot say":      {Times{1500 * time.Millisecond, time.Second, 100 * time.Millisecond}, 2},
		"never tried again":            {Times{12 * time.Second, 8 * time.Second, 8 * time.Second}, 1},
		"tried without a pause":        {Times{12 * time.Second, 8 * time.Second, 0}, 1},
		"nothing of it was thought of": {Times{}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if errs := test.times.Validate(); len(errs) != test.wants {
				t.Errorf("%d mistakes: %v", len(errs), errs)
			}
		})
	}
	// A standby that sees the last renewal as late as can be, and looks as late as can be when the lease is over.
	d := DefaultTimes()
	if worst := d.Lease + 2*d.Retry*22/10; worst > 17*time.Second {
		t.Errorf("it may take %s until another leads, of the 20 s that are promised", worst)
	}
}
