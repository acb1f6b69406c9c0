package nemesis

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

// Summary is what several runs found out about one step.
type Summary struct {
	Fault Fault
	// Times is how often it came alone, Kept how often all was within bounds.
	Times, Kept int
	// Worst is the longest time that it took to agree, Unagreed how often that never happened.
	Worst    time.Duration
	Unagreed int
}

// Summarize returns what the runs found out about each fault that came alone, and how many pairs came, and were kept.
func Summarize(faults []Fault, runs []Run) (alone []Summary, pairs, pairsKept int) {
	for _, f := range faults {
		alone = append(alone, Summary{Fault: f})
	}
	for _, run := range runs {
		for _, r := range run.Results {
			if strings.Contains(r.Step, "+") {
				pairs++
				if r.Passed() {
					pairsKept++
				}
				continue
			}
			i := slices.IndexFunc(alone, func(s Summary) bool { return s.Fault.Name == r.Step })
			if i >= 0 {
				alone[i].add(r)
			}
		}
	}
	return alone, pairs, pairsKept
}

func (s *Summary) add(r Result) {
	s.Times++
	if r.Passed() {
		s.Kept++
	}
	if !r.Agreed {
		s.Unagreed++
		return
	}
	s.Worst = max(s.Worst, r.Converged)
}

// Markdown writes the table of docs/reliability.md.
func Markdown(w io.Writer, faults []Fault, runs []Run) {
	alone, pairs, kept := Summarize(faults, runs)
	fmt.Fprintln(w, "| fault | what happens | lasts | bound | measured, worst | kept |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|")
	for _, s := range alone {
		fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s | %s |\n", s.Fault.Name, s.Fault.Does, lasts(s.Fault.Hold),
			bound(s.Fault), s.measured(), s.kept())
	}
	fmt.Fprintf(w, "\nBesides, %d pairs came, and %d of them were kept.\n", pairs, kept)
}

func lasts(d time.Duration) string {
	if d == 0 {
		return "a moment"
	}
	return seconds(d)
}

// seconds writes whole minutes as such.
func seconds(d time.Duration) string {
	if d >= time.Minute && d%time.Minute == 0 {
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%.0f s", d.Seconds())
}

// bound marks those that are our own and not a promise.
func bound(f Fault) string {
	if f.Source == fromUs {
		return seconds(f.Bound) + " (set here)"
	}
	return seconds(f.Bound)
}

func (s Summary) measured() string {
	switch {
	case s.Times == 0:
		return "not yet"
	case s.Unagreed > 0:
		return fmt.Sprintf("not at all, %d times", s.Unagreed)
	}
	return fmt.Sprintf("%.1f s", s.Worst.Seconds())
}

func (s Summary) kept() string {
	if s.Times == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d", s.Kept, s.Times)
}

// Load reads runs that [Save] wrote.
func Load(files ...string) ([]Run, error) {
	var runs []Run
	for _, file := range files {
		data, err := os.ReadFile(file) //nolint:gosec // G304: the user's own file
		if err != nil {
			return nil, fmt.Errorf("read report: %w", err)
		}
		var run Run
		if err := json.Unmarshal(data, &run); err != nil {
			return nil, fmt.Errorf("read report %s: %w", file, err)
		}
		runs = append(runs, run)
	}
	return runs, nil
}
