package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/faults/nemesis"
	"github.com/twinspace/twinspace/e2e/faults/workload"
	"github.com/twinspace/twinspace/e2e/history"
)

// replicaCount is how many processes each of our components has.
const replicaCount = 2

// names are those of the clusters besides home.
func (o *options) names() []string {
	var names []string
	for n := range o.providers {
		names = append(names, env.ProviderName(n+1))
	}
	return names
}

// lab is a run.
type lab struct {
	options
	out   io.Writer
	clock clock.WithTicker
	env   *env.Env
	book  *book
	work  *workload.Workload

	mu      sync.Mutex // guards out
	results []nemesis.Result
}

// play runs the plan and says whether everything was as promised.
func play(ctx context.Context, o options, plan []nemesis.Step, out io.Writer) (bool, error) {
	dir, err := os.MkdirTemp("", "twinspace-faults-")
	if err != nil {
		return false, fmt.Errorf("make a folder for the playground: %w", err)
	}
	l := &lab{options: o, out: out, clock: clock.RealClock{}}
	playground := filepath.Join(dir, "playground")
	if l.env, err = l.open(ctx, playground); err != nil {
		return false, errors.Join(err, os.RemoveAll(dir))
	}
	if l.record == "" {
		l.record = filepath.Join(dir, "record")
	}
	ok, err := l.play(ctx, plan)
	return l.leave(ctx, dir, ok && err == nil, err)
}

// leave ends the playground, and keeps what is needed to find out why a run failed.
func (l *lab) leave(ctx context.Context, dir string, ok bool, err error) (bool, error) {
	err = errors.Join(err, races(l.env.Dir()))
	if ok && err == nil {
		return true, errors.Join(l.env.Down(context.WithoutCancel(ctx)), os.RemoveAll(dir))
	}
	kept := l.record + ".logs"
	err = errors.Join(err, copyLogs(l.env.Dir(), kept), l.env.Down(context.WithoutCancel(ctx)))
	l.say("the run failed: its record is in %s, the logs of all processes are in %s", l.record, kept)
	return false, err
}

// open starts the clusters. Times of Kubernetes' own are shortened where a fault would otherwise have to last too long;
// docs/reliability.md says which.
func (l *lab) open(ctx context.Context, dir string) (*env.Env, error) {
	ours := l.ours
	if ours == "" {
		ours = filepath.Join(l.bin, "faults")
	}
	if _, err := os.Stat(ours); err != nil {
		return nil, fmt.Errorf("find programs: %w; make build-faults makes them", err)
	}
	return env.Up(ctx, env.Options{
		Dir: dir, Bin: l.bin, Ours: ours, Providers: l.providers, Nodes: 3, Peer: true, Tied: true, Out: l.out,
		Gateways: true, Replicas: replicaCount,
		Agent: []string{"--release-after=1m"},
		APIServer: []string{
			"--default-not-ready-toleration-seconds=120", "--default-unreachable-toleration-seconds=120",
		},
	})
}

// play breaks things while work goes on, then lets all come to rest, and judges.
func (l *lab) play(ctx context.Context, plan []nemesis.Step) (bool, error) {
	background, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	var err error
	if l.book, err = openBook(background, l.env, l.record, l.seed); err != nil {
		return false, err
	}
	if err := l.prepare(ctx); err != nil {
		return false, err
	}
	running.Go(func() { l.env.Keep(background, l.restarted) })
	user, err := workload.User(ctx, l.env.Consumer())
	if err != nil {
		return false, err
	}
	l.work = workload.New(workload.Options{
		Seed: l.seed, Home: user, Providers: l.names(), Notes: l.book, Pace: l.pace,
	})
	running.Go(func() { l.work.Run(background) })
	runner := &nemesis.Runner{
		Scene: nemesis.Scene{Env: l.env, Note: l.book.Note, Say: l.say},
		Clock: l.clock, Look: nemesis.Look(l.env), Tell: l, Patience: time.Minute,
	}
	l.results = runner.Run(ctx, plan)
	if err := ctx.Err(); err != nil {
		return false, err
	}
	unmet, err := l.rest(ctx)
	if err != nil {
		return false, err
	}
	return l.judge(ctx, unmet)
}

// prepare sets the stage and waits until all is well, before anything is broken.
func (l *lab) prepare(ctx context.Context) error {
	if err := setStage(ctx, l.env); err != nil {
		return err
	}
	if err := l.settle(ctx); err != nil {
		return err
	}
	return l.plant(ctx)
}

// judge prints what became of every step and which promises were broken.
func (l *lab) judge(ctx context.Context, unmet []string) (bool, error) {
	err := l.book.close(ctx)
	fmt.Fprintln(l.out)
	nemesis.Table(l.out, l.results)
	fmt.Fprintln(l.out)
	l.print(l.book.found, unmet)
	ok := l.book.found.Kept() && len(unmet) == 0
	for _, r := range l.results {
		ok = ok && r.Passed()
	}
	if l.report == "" {
		return ok, err
	}
	return ok, errors.Join(err, nemesis.Save(l.report, nemesis.Run{
		Seed: l.seed, At: l.clock.Now(), Results: l.results, Verdict: l.book.found, Unmet: unmet,
	}))
}

// print tells what the record says.
func (l *lab) print(v history.Verdict, unmet []string) {
	for _, violation := range v.Violations {
		fmt.Fprintf(l.out, "BROKEN   %s  %s\n", violation.At.Format(time.TimeOnly), violation)
	}
	for _, violation := range v.Unknown {
		fmt.Fprintf(l.out, "unknown  %s  %s\n", violation.At.Format(time.TimeOnly), violation)
	}
	for _, says := range unmet {
		fmt.Fprintf(l.out, "UNMET    %s\n", says)
	}
	var judged []string
	for _, invariant := range slices.Sorted(maps.Keys(v.Judged)) {
		judged = append(judged, fmt.Sprintf("%s %d", invariant, v.Judged[invariant]))
	}
	fmt.Fprintf(l.out, "judged: %s; excused: %d; gaps: %v; steps of users: %d\n", strings.Join(judged, ", "),
		len(v.Excused), v.Gaps, l.work.Steps())
}

func (l *lab) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%s  %s\n", l.clock.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// restarted is told by what keeps our processes running.
func (l *lab) restarted(r env.Restarted) {
	if r.Err != nil {
		l.say("%s of %s cannot be started again: %v", r.Component, r.Cluster, r.Err)
	}
}

// Begins is told by the runner.
func (l *lab) Begins(step nemesis.Step) {
	if slices.ContainsFunc(step.Faults, func(f nemesis.Fault) bool { return f.Breaks == nemesis.Everything }) {
		l.release()
	}
	l.book.Note(history.Note{Kind: history.Fault, Name: step.Name(), Cluster: step.Provider, Excuses: step.Excuses()})
	l.say("%s on %s", step.Name(), step.Provider)
}

// Healed is told by the runner.
func (l *lab) Healed(step nemesis.Step) {
	l.book.Note(history.Note{
		Kind: history.Heal, Name: step.Name(), Cluster: step.Provider, Bound: metav1.Duration{Duration: step.Bound()},
	})
	l.say("%s is over", step.Name())
}

// Done is told by the runner: what happened until now is judged.
func (l *lab) Done(r *nemesis.Result) {
	verdict, err := l.book.sofar(context.Background(), l.clock.Now())
	if err != nil {
		r.Problem = strings.TrimSpace(r.Problem + " " + err.Error())
	}
	for _, v := range verdict.Violations {
		r.Violations = append(r.Violations, v.String())
	}
	l.say("%s", r)
	for _, says := range r.Violations {
		l.say("  BROKEN %s", says)
	}
}
