package nemesis

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/e2e/history"
)

var providersOfTest = []string{"b", "c"}

func names(plan []Step) []string {
	out := make([]string, 0, len(plan))
	for _, s := range plan {
		out = append(out, s.Name()+"@"+s.Provider)
	}
	return out
}

func schedule(seed uint64, d time.Duration) Schedule {
	return Schedule{Seed: seed, For: d, Faults: Catalogue(), Providers: providersOfTest}
}

func TestASeedDecidesEverything(t *testing.T) {
	one, two := schedule(1, time.Hour).Plan(), schedule(1, time.Hour).Plan()
	if diff := cmp.Diff(names(one), names(two)); diff != "" {
		t.Errorf("two plans of one seed (-first,+second):\n%s", diff)
	}
	for i := range one {
		if one[i].Seed != two[i].Seed {
			t.Errorf("step %s has seeds %d and %d", one[i].Name(), one[i].Seed, two[i].Seed)
		}
	}
	if other := schedule(2, time.Hour).Plan(); cmp.Equal(names(one), names(other)) {
		t.Error("another seed makes the same plan")
	}
}

func TestAPlanFillsItsTimeAndNoMore(t *testing.T) {
	for _, d := range []time.Duration{5 * time.Minute, 15 * time.Minute, 2 * time.Hour} {
		var took, longest time.Duration
		plan := schedule(3, d).Plan()
		for _, step := range plan {
			took += costs(step)
			longest = max(longest, costs(step))
		}
		if took > d || took < d-costOfLongest() {
			t.Errorf("a plan for %s takes %s", d, took)
		}
	}
}

func costOfLongest() time.Duration {
	var most time.Duration
	for _, f := range Catalogue() {
		most = max(most, costs(Step{Faults: []Fault{f}}))
	}
	return most
}

func TestAShortPlanHasPairsAndNothingLong(t *testing.T) {
	plan := schedule(4, 15*time.Minute).Plan()
	pairs, seen := 0, map[string]bool{}
	for _, step := range plan {
		if len(step.Faults) == 2 {
			pairs++
		}
		if len(step.Faults) == 1 && seen[step.Name()] {
			t.Errorf("%s comes twice", step.Name())
		}
		seen[step.Name()] = true
		for _, f := range step.Faults {
			if f.Long {
				t.Errorf("%s takes long", f.Name)
			}
		}
	}
	if pairs == 0 || pairs > len(plan)/pairEvery {
		t.Errorf("%d of %d steps are pairs", pairs, len(plan))
	}
}

func TestALongPlanHasEveryFaultAlone(t *testing.T) {
	alone := map[string]bool{}
	for _, step := range schedule(5, 3*time.Hour).Plan() {
		if len(step.Faults) == 1 {
			alone[step.Name()] = true
		}
	}
	for _, f := range Catalogue() {
		if !alone[f.Name] {
			t.Errorf("%s never comes alone", f.Name)
		}
	}
}

func TestWhichFaultsComeTogether(t *testing.T) {
	for what, test := range map[string]struct {
		a, b string
		want bool
	}{
		"a cut link and a killed agent":                      {"cut-10s", "agent-killed", true},
		"a cut link and another trouble of it":               {"cut-10s", "slow-2s", false},
		"a cut link and home's":                              {"cut-10s", "home-cut-10s", true},
		"what is deleted on a server that is down":           {"copies-deleted", "provider-server-killed", false},
		"what is deleted on a server that the agent lost":    {"copies-deleted", "cut-60s", true},
		"servers of both sides":                              {"home-server-killed", "provider-server-killed", true},
		"a standby cannot take over where nobody is reached": {"leader-stopped", "home-cut-10s", false},
		"our kinds are deleted, and anything":                {"kinds-reinstalled", "cut-10s", false},
		"a fault and itself":                                 {"cut-10s", "cut-10s", false},
	} {
		t.Run(what, func(t *testing.T) {
			a, errA := Named(Catalogue(), test.a)
			b, errB := Named(Catalogue(), test.b)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			if Together(a, b) != test.want || Together(b, a) != test.want {
				t.Errorf("together: %t and %t, want %t", Together(a, b), Together(b, a), test.want)
			}
		})
	}
}

func TestPairsAreEachThereOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, pair := range Pairs(Catalogue()) {
		two := []string{pair[0].Name, pair[1].Name}
		slices.Sort(two)
		if key := strings.Join(two, "+"); seen[key] {
			t.Errorf("%s is there twice", key)
		} else {
			seen[key] = true
		}
	}
	if len(seen) == 0 {
		t.Error("there are no pairs")
	}
}

func TestWhatAPersonNames(t *testing.T) {
	for what, test := range map[string]struct {
		text, err string
		want      []string
	}{
		"one":                  {"cut-10s@b", "", []string{"cut-10s@b"}},
		"a pair":               {"cut-10s+agent-killed@c", "", []string{"cut-10s+agent-killed@c"}},
		"several, with spaces": {"cut-10s@b, twin-deleted@b", "", []string{"cut-10s@b", "twin-deleted@b"}},
		"what there is not":    {"cut-11s", `there is no fault "cut-11s"; -list shows all`, nil},
		"a pair that makes no sense": {"cut-10s+cut-60s",
			"cut-10s+cut-60s cannot come together: they break the same, or one needs what another breaks", nil},
		"three": {"cut-10s+agent-killed+twin-deleted", "cut-10s+agent-killed+twin-deleted cannot come together: " +
			"they break the same, or one needs what another breaks", nil},
	} {
		t.Run(what, func(t *testing.T) {
			plan, err := schedule(1, time.Hour).Only(test.text)
			if got := errorText(err); got != test.err {
				t.Fatalf("got error %q, want %q", got, test.err)
			}
			if diff := cmp.Diff(test.want, names(plan)); err == nil && diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestANamedStepDoesWhatItDidInTheRun: its seed does not depend on what came before it.
func TestANamedStepDoesWhatItDidInTheRun(t *testing.T) {
	s := schedule(7, time.Hour)
	for _, step := range s.Plan()[:5] {
		again, err := s.Only(step.Name() + "@" + step.Provider)
		if err != nil {
			t.Fatal(err)
		}
		if again[0].Seed != step.Seed || again[0].Provider != step.Provider {
			t.Errorf("%s has seed %d when it is named, %d in the plan", step.Name(), again[0].Seed, step.Seed)
		}
	}
}

func TestAPairTakesTheWorseOfBoth(t *testing.T) {
	step := Step{Faults: []Fault{
		{Name: "a", Hold: time.Second, Bound: time.Minute, Excuses: []history.Invariant{history.I2}},
		{Name: "b", Hold: time.Minute, Bound: time.Second, Excuses: []history.Invariant{history.I1, history.I2}},
	}}
	if step.Name() != "a+b" || step.Hold() != time.Minute || step.Bound() != time.Minute {
		t.Errorf("%s holds %s with bound %s", step.Name(), step.Hold(), step.Bound())
	}
	want := []history.Invariant{history.I1, history.I2}
	if diff := cmp.Diff(want, step.Excuses()); diff != "" {
		t.Errorf("excuses (-want,+got):\n%s", diff)
	}
}

func TestEveryFaultIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range Catalogue() {
		switch {
		case seen[f.Name]:
			t.Errorf("%s is there twice", f.Name)
		case f.Does == "" || f.Breaks == "" || f.Inject == nil:
			t.Errorf("%s does not say what it does, what it breaks or how", f.Name)
		case f.Bound <= 0 || f.Source == "":
			t.Errorf("%s has no bound, or does not say where it is from", f.Name)
		case strings.ContainsAny(f.Name, "+,@ "):
			t.Errorf("-only cannot name %s", f.Name)
		}
		seen[f.Name] = true
	}
}
