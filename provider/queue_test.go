package provider

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

func named(name string) key { return key{Namespace: "shop", Name: name} }

func TestTurnsToCallTheProvider(t *testing.T) {
	const away, clean = laneAway, laneCleanUp
	type step struct {
		enter lane   // or, when none,
		leave string // who leaves
		name  string
		want  string // "go", "wait", or who is next
	}
	for name, tc := range map[string]struct {
		slots int
		steps []step
	}{
		"whoever finds room goes": {2, []step{
			{enter: away, name: "a", want: "go"}, {enter: clean, name: "b", want: "go"},
			{leave: "a", want: ""}, {leave: "b", want: ""},
		}},
		"the others wait, and are called in order": {2, []step{
			{enter: away, name: "a", want: "go"}, {enter: away, name: "b", want: "go"},
			{enter: away, name: "c", want: "wait"}, {enter: away, name: "d", want: "wait"},
			{leave: "b", want: "c"}, {leave: "a", want: "d"},
			{enter: away, name: "c", want: "go"}, {leave: "c", want: ""},
		}},
		"who asks twice waits once": {1, []step{
			{enter: away, name: "a", want: "go"}, {enter: away, name: "b", want: "wait"},
			{enter: away, name: "b", want: "wait"}, {leave: "a", want: "b"}, {leave: "b", want: ""},
		}},
		"creations come before clean-up": {1, []step{
			{enter: away, name: "a", want: "go"}, {enter: clean, name: "old", want: "wait"},
			{enter: away, name: "new", want: "wait"}, {leave: "a", want: "new"}, {leave: "new", want: "old"},
		}},
		"one turn is left for clean-up": {2, []step{
			{enter: away, name: "a", want: "go"}, {enter: away, name: "b", want: "go"},
			{enter: away, name: "c", want: "wait"}, {enter: away, name: "d", want: "wait"},
			{enter: clean, name: "old", want: "wait"}, {enter: clean, name: "older", want: "wait"},
			{leave: "a", want: "old"}, {leave: "b", want: "c"}, {leave: "c", want: "d"},
			{leave: "old", want: "older"}, {leave: "d", want: ""},
		}},
		"a turn that was given counts until it is left": {1, []step{
			{enter: away, name: "a", want: "go"}, {enter: clean, name: "b", want: "wait"},
			{leave: "a", want: "b"}, {enter: away, name: "c", want: "wait"},
			{enter: away, name: "b", want: "go"}, {leave: "b", want: "c"},
		}},
		"who has no turn cannot leave": {1, []step{
			{enter: away, name: "a", want: "go"}, {enter: away, name: "b", want: "wait"},
			{leave: "x", want: ""}, {leave: "b", want: ""}, {leave: "a", want: "b"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLanes(2)
			l.slots = tc.slots
			for i, s := range tc.steps {
				var got string
				if s.leave != "" {
					next, _ := l.leave(named(s.leave))
					got = next.Name
				} else {
					got = map[bool]string{true: "go", false: "wait"}[l.enter(named(s.name), s.enter)]
				}
				if got != s.want {
					t.Fatalf("step %d, %s%s: want %q, got %q", i, s.name, s.leave, s.want, got)
				}
			}
		})
	}
}

// Nothing is left of pods that came and went, in whatever order.
func TestTurnsAreEmptyInTheEnd(t *testing.T) {
	l := newLanes(4)
	going := map[string]bool{}
	for i := range 1000 {
		name := strconv.Itoa(i % 37)
		want := laneAway
		if i%3 == 0 {
			want = laneCleanUp
		}
		if l.enter(named(name), want) {
			going[name] = true
		}
		if len(l.held) > l.slots {
			t.Fatalf("%d pods call the provider, want at most %d", len(l.held), l.slots)
		}
		for name := range going {
			if i%2 == 0 {
				delete(going, name)
				if next, ok := l.leave(named(name)); ok {
					going[next.Name] = true
				}
			}
			break
		}
	}
	for len(going) > 0 {
		for name := range going {
			delete(going, name)
			if next, ok := l.leave(named(name)); ok {
				going[next.Name] = true
			}
		}
	}
	if len(l.held)+len(l.parked)+l.cleaning != 0 || len(l.waiting[laneAway])+len(l.waiting[laneCleanUp]) > 40 {
		t.Errorf("left: %+v", l)
	}
}

func TestSomeWorkersAreLeftToHome(t *testing.T) {
	for workers, want := range map[int]int{1: 1, 2: 1, 8: 7, 16: 14, 64: 56} {
		if got := newLanes(workers).slots; got != want {
			t.Errorf("%d workers: want %d turns, got %d", workers, want, got)
		}
	}
}

func TestLaneOfEveryAction(t *testing.T) {
	want := map[lane][]action{
		laneHome:    {doForget, doHold, doMirror, doWait},
		laneAway:    {doConfirm, doCreate, doLose, doReplace},
		laneCleanUp: {doFinish, doOrphan, doRemove, doStop},
	}
	got := map[lane][]action{}
	for _, do := range []action{doConfirm, doCreate, doFinish, doForget, doHold, doLose, doMirror, doOrphan, doRemove,
		doReplace, doStop, doWait} {
		got[laneOf(do)] = append(got[laneOf(do)], do)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

// answers is a transport that gives an answer.
type answers struct{ answer *http.Response }

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	if a.answer == nil {
		return nil, io.ErrUnexpectedEOF
	}
	return a.answer, nil
}

func TestThrottle(t *testing.T) {
	for name, tc := range map[string]struct {
		code  int // 0: no answer
		after string
		want  time.Duration
	}{
		"busy for a while":       {http.StatusTooManyRequests, "7", 7 * time.Second},
		"starting":               {http.StatusServiceUnavailable, "2", 2 * time.Second},
		"busy, and says no more": {http.StatusTooManyRequests, "", 0},
		"within reason":          {http.StatusTooManyRequests, "100000", maxRetryAfter},
		"nonsense":               {http.StatusTooManyRequests, "-1", 0},
		"a date":                 {http.StatusTooManyRequests, "Wed, 21 Oct 2015 07:28:00 GMT", 0},
		"an answer":              {http.StatusOK, "7", 0},
		"a refusal":              {http.StatusForbidden, "7", 0},
		"no answer":              {0, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
			throttle := NewThrottle(clock)
			var answer *http.Response
			if tc.code != 0 {
				answer = &http.Response{StatusCode: tc.code, Header: http.Header{"Retry-After": {tc.after}},
					Body: io.NopCloser(strings.NewReader(""))}
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://provider.example", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := throttle.Wrap(answers{answer}).RoundTrip(req)
			if resp != answer || (err == nil) != (answer != nil) {
				t.Errorf("the answer was changed: %v, %v", resp, err)
			}
			if got := throttle.Rest(); got != tc.want {
				t.Errorf("want %s, got %s", tc.want, got)
			}
			clock.Step(tc.want)
			if got := throttle.Rest(); got != 0 {
				t.Errorf("%s are left afterwards", got)
			}
			if tc.want > 0 {
				_ = resp.Body.Close()
				if resp.Header.Get("Retry-After") != "" {
					t.Error("client-go would wait inside the call")
				}
			}
		})
	}
}

func TestTheLongestWishCounts(t *testing.T) {
	throttle := NewThrottle(clocktesting.NewFakeClock(time.Unix(1000, 0)))
	for _, seconds := range []int{3, 9, 1} {
		throttle.heard(http.Header{"Retry-After": {fmt.Sprint(seconds)}})
	}
	if got := throttle.Rest(); got != 9*time.Second {
		t.Errorf("want 9s, got %s", got)
	}
	if got := (*Throttle)(nil).Rest(); got != 0 {
		t.Errorf("without a throttle: %s", got)
	}
}
