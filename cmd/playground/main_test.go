package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/twinspace/twinspace/e2e/env"
)

// run runs a command line and returns what it printed and the exit code.
func run(t *testing.T, args ...string) (string, int) {
	t.Helper()
	cmd := newCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	code := report(cmd.ExecuteContext(t.Context()))
	return out.String(), code
}

func TestExitCodes(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	cases := map[string]struct {
		args []string
		want int
	}{
		"help":                            {[]string{"--help"}, 0},
		"version":                         {[]string{"--version"}, 0},
		"down where nothing runs":         {[]string{"down", "--dir", none}, 0},
		"a command that does not exist":   {[]string{"start"}, 2},
		"a flag that does not exist":      {[]string{"up", "--clusters", "3"}, 2},
		"a value that is not a number":    {[]string{"up", "--providers", "two"}, 2},
		"more arguments than there are":   {[]string{"up", "now"}, 2},
		"fewer arguments than are needed": {[]string{"logs", "consumer"}, 2},
		"a mode that does not exist":      {[]string{"link", "provider-1", "break"}, 2},
		"half a mode":                     {[]string{"link", "provider-1", "commitcut=create"}, 2},
		"replicas that cannot be":         {[]string{"up", "--replicas", "10"}, 2},
		"kubectl without a cluster":       {[]string{"kubectl"}, 2},
		"kubectl with a flag for it":      {[]string{"kubectl", "--context", "x"}, 2},
		"kubectl with half a flag":        {[]string{"kubectl", "--dir"}, 2},
		"kubectl's help":                  {[]string{"kubectl", "--help"}, 0},
		"status where nothing runs":       {[]string{"status", "--dir", none}, 1},
		"kubectl where nothing runs":      {[]string{"kubectl", "--dir", none, "consumer", "get", "pods"}, 1},
		"a link where nothing runs":       {[]string{"link", "--dir", none, "provider-1", "cut"}, 1},
		"env where nothing runs":          {[]string{"env", "--dir", none}, 1},
		"up without the other programs":   {[]string{"up", "--dir", none}, 1},
		"the demo without them":           {[]string{"demo", "--dir", none}, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if output, got := run(t, tc.args...); got != tc.want {
				t.Errorf("exit code is %d, want %d\n%s", got, tc.want, output)
			}
			if _, err := os.Stat(none); err == nil {
				t.Error("it made a directory")
			}
		})
	}
}

func TestReport(t *testing.T) {
	cases := map[string]struct {
		err  error
		want int
	}{
		"nothing":                 {nil, 0},
		"a failure":               {errors.New("no"), 1},
		"a usage error, wrapped":  {fmt.Errorf("up: %w", &env.UsageError{Reason: "no"}), 2},
		"another program's code":  {exitError(7), 7},
		"the same, but with more": {fmt.Errorf("kubectl: %w", exitError(3)), 3},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := report(tc.err); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestEveryCommandSaysWhatItDoesAndTakesADirectory(t *testing.T) {
	for _, cmd := range newCommand().Commands() {
		if cmd.Name() == "help" {
			continue
		}
		if cmd.Short == "" || cmd.Long == "" && cmd.Example == "" {
			t.Errorf("%s is not explained", cmd.Name())
		}
		if cmd.InheritedFlags().Lookup("dir") == nil {
			t.Errorf("%s has no --dir", cmd.Name())
		}
	}
}

func TestNoCommandHasTheNameOfAComponent(t *testing.T) {
	var hidden []string
	for name := range components() {
		hidden = append(hidden, name)
	}
	for _, cmd := range newCommand().Commands() {
		if slices.Contains(hidden, cmd.Name()) {
			t.Errorf("%s cannot be reached", cmd.Name())
		}
	}
}

func TestHelpShowsNoFlagsOfComponents(t *testing.T) {
	cmd := newCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"up", "--help"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	for _, foreign := range []string{"--v ", "vmodule", "log-flush", "kubeconfig"} {
		if strings.Contains(out.String(), foreign) {
			t.Errorf("%s is in\n%s", foreign, out.String())
		}
	}
}

func TestVersionNamesKubernetes(t *testing.T) {
	if got := describe(); !strings.Contains(got, "(Kubernetes v") {
		t.Errorf("got %q", got)
	}
}

func TestKubectlsArgumentsAreItsOwn(t *testing.T) {
	cases := map[string]struct {
		args     []string
		wantDir  string
		wantRest []string
	}{
		"no directory":              {[]string{"consumer", "get"}, "given", []string{"consumer", "get"}},
		"a directory":               {[]string{"--dir", "d", "consumer", "get"}, "d", []string{"consumer", "get"}},
		"a directory in one word":   {[]string{"--dir=d", "consumer"}, "d", []string{"consumer"}},
		"the last directory counts": {[]string{"--dir=a", "--dir", "b", "consumer"}, "b", []string{"consumer"}},
		"flags behind the cluster": {
			[]string{"consumer", "--dir", "x", "-o", "wide"}, "given", []string{"consumer", "--dir", "x", "-o", "wide"},
		},
		"everything behind two dashes": {
			[]string{"consumer", "exec", "p", "--", "ls", "-l"}, "given",
			[]string{"consumer", "exec", "p", "--", "ls", "-l"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir, rest, err := splitDir("given", tc.args)
			if err != nil || dir != tc.wantDir {
				t.Errorf("directory is %q, want %q (%v)", dir, tc.wantDir, err)
			}
			if diff := cmp.Diff(tc.wantRest, rest); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

func TestQuotedWordsAreOneWordOfAShell(t *testing.T) {
	cases := map[string]string{
		"/tmp/a b":   `'/tmp/a b'`,
		"it's":       `'it'\''s'`,
		"$(rm -rf x": `'$(rm -rf x'`,
		"":           `''`,
	}
	for word, want := range cases {
		if got := quote(word); got != want {
			t.Errorf("%q becomes %s, want %s", word, got, want)
		}
	}
}

func TestAFollowedLogGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path) //nolint:gosec // G304: the test's own
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	write := func(text string) {
		if _, err := f.WriteString(text); err != nil {
			t.Error(err)
		}
	}
	write("first\n")
	var once bytes.Buffer
	if err := printLog(t.Context(), &once, path, false); err != nil || once.String() != "first\n" {
		t.Errorf("printed %q, %v", once.String(), err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var printed strings.Builder
	err = printLog(ctx, writer(func(p []byte) {
		printed.Write(p)
		switch printed.String() {
		case "first\n":
			write("second\n")
		case "first\nsecond\n":
			cancel()
		}
	}), path, true)
	if err != nil || printed.String() != "first\nsecond\n" {
		t.Errorf("printed %q, %v", printed.String(), err)
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
