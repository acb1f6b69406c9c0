package nemesis

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/twinspace/twinspace/e2e/history"
)

// String is one line.
func (r Result) String() string {
	switch {
	case r.Problem != "":
		return fmt.Sprintf("%s: the lab could not do it: %s", r.Step, r.Problem)
	case !r.Agreed:
		return fmt.Sprintf("%s: NOT CONVERGED after %s, bound %s: %s", r.Step, round(r.Converged), r.Bound,
			strings.Join(r.Left, "; "))
	case r.Converged > r.Bound:
		return fmt.Sprintf("%s: LATE: converged after %s, bound %s: %s", r.Step, round(r.Converged), r.Bound,
			strings.Join(r.Left, "; "))
	}
	return fmt.Sprintf("%s: converged after %s, bound %s", r.Step, round(r.Converged), r.Bound)
}

func round(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }

// Table prints what became of every step.
func Table(w io.Writer, results []Result) {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "STEP\tON\tHELD\tCONVERGED\tBOUND\tLOAD\tVERDICT\n")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Step, r.Provider, round(r.Hold), round(r.Converged),
			r.Bound, r.Load, r.verdict())
	}
	_ = t.Flush() // the writer's errors are the terminal's
}

func (r Result) verdict() string {
	switch {
	case r.Problem != "":
		return "not done"
	case !r.Agreed:
		return "NOT CONVERGED"
	case r.Converged > r.Bound:
		return "late"
	case len(r.Violations) > 0:
		return fmt.Sprintf("%d broken promises", len(r.Violations))
	}
	return "kept"
}

// Run is everything that a run found out.
type Run struct {
	Seed    uint64    `json:"seed"`
	At      time.Time `json:"at"`
	Results []Result  `json:"results"`
	// Verdict is what the record says, Unmet what was not as users asked for at the end.
	Verdict history.Verdict `json:"verdict"`
	Unmet   []string        `json:"unmet,omitempty"`
}

// Save writes a run to a file as JSON.
func Save(file string, run Run) error {
	data, err := json.MarshalIndent(run, "", "  ")
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.WriteFile(file, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
