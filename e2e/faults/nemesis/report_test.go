package nemesis

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func resultOf(step string, converged time.Duration) Result {
	return Result{Step: step, Provider: "b", Agreed: true, Bound: 15 * time.Second, Converged: converged}
}

func TestATableSaysWhatBecameOfEachStep(t *testing.T) {
	lost, failed, late := resultOf("a", time.Minute), resultOf("b", 0), resultOf("c", 16*time.Second)
	lost.Agreed, failed.Problem = false, "inject b: no"
	broken := resultOf("d", time.Second)
	broken.Violations = []string{"I1: two"}
	var out strings.Builder
	Table(&out, []Result{lost, failed, late, broken, resultOf("e", 2*time.Second)})
	var verdicts []string
	for line := range strings.Lines(out.String()) {
		columns := regexp.MustCompile(` {3,}`).Split(strings.TrimSpace(line), -1)
		verdicts = append(verdicts, columns[0]+" "+columns[len(columns)-1])
	}
	want := []string{"STEP VERDICT", "a NOT CONVERGED", "b not done", "c late", "d 1 broken promises", "e kept"}
	if diff := cmp.Diff(want, verdicts); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

func TestALineSaysWhatIsWrong(t *testing.T) {
	late := resultOf("a", 16*time.Second)
	late.Left = []string{"pod: differs"}
	if got, want := late.String(), "a: LATE: converged after 16s, bound 15s: pod: differs"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	late.Agreed = false
	if got, want := late.String(), "a: NOT CONVERGED after 16s, bound 15s: pod: differs"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := resultOf("a", time.Second).String(), "a: converged after 1s, bound 15s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRunsAreSummedUp(t *testing.T) {
	dir := t.TempDir()
	never := resultOf("b", time.Minute)
	never.Agreed = false
	files := []string{filepath.Join(dir, "1"), filepath.Join(dir, "2")}
	for i, run := range []Run{
		{Seed: 1, Results: []Result{resultOf("a", time.Second), resultOf("a", 16*time.Second), resultOf("a+b", 0)}},
		{Seed: 2, Results: []Result{resultOf("a", 3*time.Second), never, resultOf("gone", 0)}},
	} {
		if err := Save(files[i], run); err != nil {
			t.Fatal(err)
		}
	}
	runs, err := Load(files...)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	Markdown(&out, []Fault{
		{Name: "a", Does: "a breaks", Hold: time.Minute, Bound: 15 * time.Second, Source: fromAcceptance},
		{Name: "b", Does: "b breaks", Bound: 2 * time.Minute, Source: fromUs},
		{Name: "c", Does: "c breaks", Bound: 90 * time.Second, Source: fromUs},
	}, runs)
	want := `| fault | what happens | lasts | bound | measured, worst | kept |
|---|---|---|---|---|---|
| ` + "`a`" + ` | a breaks | 1 min | 15 s | 16.0 s | 2 of 3 |
| ` + "`b`" + ` | b breaks | a moment | 2 min (set here) | not at all, 1 times | 0 of 1 |
| ` + "`c`" + ` | c breaks | a moment | 90 s (set here) | not yet | - |

Besides, 1 pairs came, and 1 of them were kept.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
	if _, err := Load(filepath.Join(dir, "3")); err == nil {
		t.Error("a file that is not there was read")
	}
}
