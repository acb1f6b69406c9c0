package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Colours of a terminal.
const (
	green  = "32"
	yellow = "33"
	red    = "31"
	grey   = "90"
)

// warningPrefix begins a sentence of package peering that is no mere progress.
const warningPrefix = "WARNING: "

// progress says what was done or is waited for.
func (a *app) progress(sentence string) {
	if rest, found := strings.CutPrefix(sentence, warningPrefix); found {
		a.warn(rest)
		return
	}
	a.line(a.Err, grey, "...", sentence)
}

func (a *app) warn(sentence string) { a.line(a.Err, yellow, "warning:", sentence) }

func (a *app) fail(err error) { a.line(a.Err, red, "error:", oneLine(err)) }

func (a *app) success(format string, args ...any) {
	a.line(a.Err, green, "done:", fmt.Sprintf(format, args...))
}

func (a *app) line(w io.Writer, colour, word, sentence string) {
	if a.Styled {
		word = "\x1b[" + colour + "m" + word + "\x1b[0m"
	}
	fmt.Fprintf(w, "%s %s\n", word, sentence)
}

// confirm asks before something is removed. Where nobody can answer, silence is no consent.
func (a *app) confirm(question string) error {
	if a.skipConfirm {
		return nil
	}
	if !a.Interactive {
		return usage("%s Nobody can be asked here: repeat with --skip-confirm", question)
	}
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	answer, err := bufio.NewReader(a.In).ReadString('\n')
	if err != nil && answer == "" {
		return fmt.Errorf("read the answer: %w", err)
	}
	if !slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(answer))) {
		return fmt.Errorf("not confirmed, nothing was changed")
	}
	return nil
}

// Output formats.
const (
	formatYAML = "yaml"
	formatJSON = "json"
)

func checkFormat(format string) error {
	if !slices.Contains([]string{"", formatYAML, formatJSON}, format) {
		return usage("unknown output format %q: use yaml or json", format)
	}
	return nil
}

// render returns an object in an output format.
func render(object any, format string) ([]byte, error) {
	if format == formatJSON {
		out, err := json.MarshalIndent(object, "", "  ")
		return append(out, '\n'), err
	}
	return yaml.Marshal(object)
}
