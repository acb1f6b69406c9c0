package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/faults/workload"
	"github.com/twinspace/twinspace/e2e/history"
)

// book is the record of a run and who reads it.
type book struct {
	*history.Recording
	dir     string
	env     *env.Env
	checker *history.Checker
	// found is everything that was found until now.
	found history.Verdict
}

// openBook begins to write down what all API servers say.
func openBook(ctx context.Context, e *env.Env, dir string, seed uint64) (*book, error) {
	opts := history.RecordingOptions{Dir: dir}
	for _, c := range e.Clusters() {
		listened := history.Listened{
			Name: c.Name, Config: c.Config(), Audit: filepath.Join(e.Dir(), c.Name, "audit.log"),
		}
		if c.Name == env.Consumer {
			opts.Home = listened
		} else {
			opts.Away = append(opts.Away, listened)
		}
	}
	recording, err := history.StartRecording(ctx, opts)
	if err != nil {
		return nil, err
	}
	const enough = 2 // of its repetitions
	recording.Canary("a Secret of a user", strings.Repeat(workload.Canary(seed), enough))
	b := &book{Recording: recording, dir: dir, env: e, found: history.Verdict{
		Gaps: map[string]int{}, Judged: map[history.Invariant]int{},
	}}
	if b.checker, err = history.OpenRecord(dir); err != nil {
		return nil, errors.Join(err, recording.Close())
	}
	return b, nil
}

// sofar judges what has happened until now and returns what is new. When the record does not have all of that yet, it
// is judged with the next step.
func (b *book) sofar(ctx context.Context, now time.Time) (history.Verdict, error) {
	const patience = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if b.Flush(ctx) != nil {
		return history.Verdict{}, nil
	}
	verdict, err := b.checker.Until(now)
	b.add(verdict)
	return verdict, err
}

// close ends the record with what people may see of it all, and judges what is left to judge.
func (b *book) close(ctx context.Context) error {
	errs := []error{b.Flush(ctx), b.logs(), b.metrics(ctx), b.commandLines(), b.Close()}
	verdict, err := b.checker.Until(time.Time{})
	b.add(verdict)
	return errors.Join(append(errs, err, b.checker.Close())...)
}

func (b *book) add(v history.Verdict) {
	b.found.Violations = append(b.found.Violations, v.Violations...)
	b.found.Excused = append(b.found.Excused, v.Excused...)
	b.found.Unknown = append(b.found.Unknown, v.Unknown...)
	for what, n := range v.Gaps {
		b.found.Gaps[what] += n
	}
	for what, n := range v.Judged {
		b.found.Judged[what] += n
	}
}

// logs copies what our components printed.
func (b *book) logs() error {
	var errs []error
	for _, p := range b.env.Processes() {
		path, err := b.env.LogPath(p.Cluster, p.Component)
		if err != nil {
			return err
		}
		f, err := os.Open(path) //nolint:gosec // G304: a log of ours
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, b.Evidence("logs/"+p.Cluster+"/"+p.Component, f), f.Close())
	}
	return errors.Join(errs...)
}

// metrics copies what our components say of themselves.
func (b *book) metrics(ctx context.Context) error {
	names := b.env.Replicas(env.Manager)
	for _, c := range b.env.Providers() {
		names = append(names, b.env.Replicas(env.AgentOf(c.Name))...)
	}
	var errs []error
	for _, name := range names {
		text, err := b.env.Consumer().Metrics(ctx, name)
		errs = append(errs, err, b.Evidence("metrics/"+name, strings.NewReader(text)))
	}
	return errors.Join(errs...)
}

// commandLines copies those of all processes.
func (b *book) commandLines() error {
	var all bytes.Buffer
	for _, p := range b.env.Processes() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
		if err != nil {
			continue // it has ended
		}
		all.Write(append(bytes.ReplaceAll(line, []byte{0}, []byte(" ")), '\n'))
	}
	return b.Evidence("command-lines", &all)
}
