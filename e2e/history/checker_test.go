package history_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/e2e/history"
)

// A gap is counted, and so is what was looked at: a promise that nobody put to the test was not kept.
func TestAVerdictSaysWhatItIsWorth(t *testing.T) {
	v := begun().at(5).gap(b, "pods", 3).gap(b, "pods", 4).gap(home, "secrets", 4).
		at(6).away(b, "1", running).awayGone(b).home("1", failed, deleting).homeGone().
		at(20).rest(10).check(t)
	if !v.Kept() {
		t.Errorf("got %v", v.Violations)
	}
	if diff := cmp.Diff(map[string]int{"b pods": 2, "home secrets": 1}, v.Gaps); diff != "" {
		t.Errorf("gaps -want,+got:\n%s", diff)
	}
	want := map[history.Invariant]int{
		history.I1: 1, history.I2: 1, history.I5: 1, history.I6: 0, history.I7: 1, history.I8: 1, history.O13: 1,
		history.I9: 2, history.I11: 0, // I9: the virtual nodes
	}
	if diff := cmp.Diff(want, v.Judged); diff != "" {
		t.Errorf("judged -want,+got:\n%s", diff)
	}
}

func TestARecordThatEndsTooEarlySaysSo(t *testing.T) {
	f := forge().at(20).rest(10).at(25).home("1", pending)
	f.short = true
	v := f.check(t)
	want := []string{
		"I9: the record ends before both sides had to agree, 10s after nobody did anything any more",
	}
	if diff := cmp.Diff(want, sentences(v.Unknown)); diff != "" {
		t.Errorf("-want,+got:\n%s", diff)
	}
}

// While a record is written, each window gets what was found in it, once, and the end gets the rest.
func TestARecordIsCheckedWhileItIsWritten(t *testing.T) {
	f := begun().at(5).away(c, "1", pending).at(9).home("1", pending)
	dir := f.record(t)
	checker, err := history.OpenRecord(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := checker.Close(); err != nil {
			t.Error(err)
		}
	}()
	remotes := 0
	until := func(at time.Time, want ...string) {
		t.Helper()
		v, err := checker.Until(at)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, sentences(v.Violations)); diff != "" {
			t.Errorf("-want,+got:\n%s", diff)
		}
		remotes += v.Judged[history.I1]
	}
	until(moment(4))
	until(moment(8), "I1: home pod 1 had two remote pods at once: b shop-home/db-0 and c shop-home/db-0",
		"I2: remote pod shop-home/db-0 of home pod 1 began on c before that of 1 had ended on b")
	until(moment(8))
	// Half a line, then the other half, and a new file.
	path, entry := filepath.Join(dir, "b", "events.jsonl"), line("hello")
	if err := os.WriteFile(path, []byte(entry[:40]), 0o600); err != nil {
		t.Fatal(err)
	}
	until(moment(10), "I5: home pod shop/db-0 went from Running to Pending")
	if err := os.WriteFile(path, []byte(entry+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(time.Time{})
	if remotes != 2 {
		t.Errorf("%d remote pods were looked at, want 2, each in one window", remotes)
	}
}

func TestWhatIsNoRecordIsRefused(t *testing.T) {
	for what, test := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"no record": {
			func(dir string) error { return os.Remove(filepath.Join(dir, "record.json")) }, "record.json: no such file",
		},
		"a line that is none": {
			func(dir string) error {
				return os.WriteFile(filepath.Join(dir, "b", "pods.jsonl"), []byte("{}\nnonsense\n"), 0o600)
			},
			"b/pods.jsonl, line 2: invalid character",
		},
		"a cluster that nobody knows": {
			func(dir string) error {
				return os.WriteFile(filepath.Join(dir, "b", "pods.jsonl"),
					[]byte(strings.Replace(line("hello"), `"b"`, `"d"`, 1)+"\n"), 0o600)
			},
			`b/pods.jsonl, line 1: cluster "d" is not one of the record's`,
		},
		"a note that nobody understands": {
			func(dir string) error {
				return os.WriteFile(filepath.Join(dir, "lab.jsonl"), []byte(`{"note":{"kind":"shrug"}}`+"\n"), 0o600)
			},
			`lab.jsonl, line 1: there is no kind of note "shrug"`,
		},
		"a canary that is too short": {
			func(dir string) error {
				text := []byte(`{"why":"x","text":"123456789"}`)
				return os.WriteFile(filepath.Join(dir, "canaries.jsonl"), text, 0o600)
			},
			"the canary of x is too short to be told from chance: it needs 10 bytes",
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := begun().away(b, "1", running).record(t)
			if err := test.spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := history.Check(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// What a fault excuses is told apart; after it, nothing is excused any more.
func TestAFaultExcusesWhileItLasts(t *testing.T) {
	const back = "I5: home pod shop/db-0 went from Running to Pending"
	fault := history.Note{Kind: history.Fault, Name: "chaos", Excuses: []history.Invariant{history.I5}}
	healed := history.Note{Kind: history.Heal, Name: "chaos"}
	healed.Bound.Duration = 5 * time.Second
	const orphan = "I3: pods shop-home/db-0 on b has no source at home, 5s after nobody did anything any more"
	excused := verdict{excused: []string{back}}
	forged{
		"while it lasts": {begun().note(fault).at(9).home("1", pending), excused},
		"before":         {begun().at(2).home("1", pending).at(9).note(fault), violates(back)},
		"within its bound": {
			begun().note(fault).at(5).note(healed).at(9).home("1", pending).home("1", running), excused,
		},
		"after its bound": {begun().note(fault).at(5).note(healed).at(19).home("1", pending), violates(back)},
		"something else": {
			begun().note(fault).at(9).home("1", failed).homeGone().at(20).rest(5), violates(orphan),
		},
		"the end of another":   {begun().note(fault).at(5).healed(3).at(19).home("1", pending), excused},
		"another pod, by name": {begun().note(about(fault, "shop/db-1")).at(9).home("1", pending), violates(back)},
		"this pod, by name":    {begun().note(about(fault, "shop/db-0")).at(9).home("1", pending), excused},
	}.check(t)
}

func about(n history.Note, object string) history.Note {
	n.Object = object
	return n
}
