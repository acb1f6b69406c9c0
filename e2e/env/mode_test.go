package env

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseMode(t *testing.T) {
	cases := map[string]struct {
		want Mode
		bad  string
	}{
		"heal":       {want: Mode{Kind: Heal}},
		"cut":        {want: Mode{Kind: Cut}},
		"blackhole":  {want: Mode{Kind: Blackhole}},
		"slow=200ms": {want: Mode{Kind: Slow, Delay: 200 * time.Millisecond}},
		"slow=1m30s": {want: Mode{Kind: Slow, Delay: 90 * time.Second}},
		"slow":       {bad: "is not a delay like slow=200ms"},
		"slow=":      {bad: "is not a delay"},
		"slow=-1s":   {bad: "is not a delay"},
		"slow=fast":  {bad: "is not a delay"},
		"cut=1s":     {bad: "is not cut, blackhole, slow=DURATION"},
		"heal=":      {bad: "is not cut"},
		"":           {bad: "is not cut"},
		"CUT":        {bad: "is not cut"},

		"reset=5%":    {want: Mode{Kind: Reset, Percent: 5}},
		"reset=0.25%": {want: Mode{Kind: Reset, Percent: 0.25}},
		"reset=100%":  {want: Mode{Kind: Reset, Percent: 100}},
		"reset=101%":  {bad: "is not a share like reset=5%"},
		"reset=0%":    {bad: "is not a share"},
		"reset=5":     {bad: "is not a share"},
		"reset=NaN%":  {bad: "is not a share"},
		"reset":       {bad: "is not a share"},

		"throttle=20": {want: Mode{Kind: Throttle, Rate: 20}},
		"throttle=0":  {bad: "is not a number of requests a second like throttle=20"},
		"throttle=-1": {bad: "is not a number of requests"},
		"throttle=1s": {bad: "is not a number of requests"},
		"throttle":    {bad: "is not a number of requests"},

		"commitcut=create pods": {
			want: Mode{Kind: CommitCut, Percent: 100, Verb: "create", Resource: "pods"},
		},
		"commitcut=patch pods/status:10%": {
			want: Mode{Kind: CommitCut, Percent: 10, Verb: "patch", Resource: "pods/status"},
		},
		"commitcut=* namespaces": {
			want: Mode{Kind: CommitCut, Percent: 100, Verb: "*", Resource: "namespaces"},
		},
		"commitcut=* *:1%":            {want: Mode{Kind: CommitCut, Percent: 1, Verb: "*", Resource: "*"}},
		"commitcut=create":            {bad: `is not a kind of request like "commitcut=create pods"`},
		"commitcut":                   {bad: "is not a kind of request"},
		"commitcut=get pods":          {bad: "verbs are create, update, patch, delete, deletecollection"},
		"commitcut=create pods:half":  {bad: "is not a kind of request"},
		"commitcut=create pods:":      {bad: "is not a kind of request"},
		"commitcut=create Pod":        {bad: "is not a kind of request"},
		"commitcut=create pods/":      {bad: "is not a kind of request"},
		"commitcut=create pods twice": {bad: "is not a kind of request"},
	}
	for text, tc := range cases {
		t.Run(text, func(t *testing.T) {
			got, err := ParseMode(text)
			if tc.bad != "" {
				var usage *UsageError
				if !errors.As(err, &usage) || !strings.Contains(err.Error(), tc.bad) {
					t.Errorf("error is %v, want one with %q", err, tc.bad)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
			if again, err := ParseMode(got.String()); err != nil || again != got {
				t.Errorf("%q is read as %v, %v", got, again, err)
			}
		})
	}
}

// Whoever sets a mode waits until the file of the link's process says exactly that.
func TestAModeIsTheSameAfterItWasWrittenDown(t *testing.T) {
	for _, mode := range []Mode{
		{Kind: Slow, Delay: time.Second / 3}, {Kind: Reset, Percent: 100.0 / 3}, {Kind: Throttle, Rate: 7},
		{Kind: CommitCut, Percent: 0.1, Verb: "create", Resource: "pods/status"},
	} {
		raw, err := json.Marshal(mode)
		if err != nil {
			t.Fatal(err)
		}
		var got Mode
		if err := json.Unmarshal(raw, &got); err != nil || got != mode {
			t.Errorf("%v is read as %v, %v", mode, got, err)
		}
	}
}
