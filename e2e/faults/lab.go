package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/faults/nemesis"
	"github.com/twinspace/twinspace/e2e/faults/workload"
	"github.com/twinspace/twinspace/e2e/history"
)

// providerCount is how many clusters there are besides home, and replicaCount how many processes of each of ours.
const providerCount, replicaCount = 2, 2

func providers() []string {
	var names []string
	for n := range providerCount {
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

	mu      sync.Mutex // guards out and results
	results []nemesis.Result
}

// play runs the plan and says whether everything was as promised.
func play(ctx context.Context, o options, plan []nemesis.Step, out io.Writer) (bool, error) {
	dir, err := os.MkdirTemp("", "twinspace-faults-")
	if err != nil {
		return false, fmt.Errorf("make a folder for the playground: %w", err)
	}
	l := &lab{options: o, out: out, clock: clock.RealClock{}}
	if l.env, err = l.open(ctx, filepath.Join(dir, "playground")); err != nil {
		return false, errors.Join(err, os.RemoveAll(dir))
	}
	ok, err := l.play(ctx, plan)
	err = errors.Join(err, l.evidence(dir, ok && err == nil), l.env.Down(context.WithoutCancel(ctx)))
	if ok && err == nil {
		return true, os.RemoveAll(dir)
	}
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
		Dir: dir, Bin: l.bin, Ours: ours, Providers: providerCount, Nodes: 3, Peer: true, Tied: true, Out: l.out,
		Gateways: true, Replicas: replicaCount,
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
	if l.book, err = openBook(background, l); err != nil {
		return false, err
	}
	if err := setStage(ctx, l.env); err != nil {
		return false, err
	}
	if err := l.settle(ctx); err != nil {
		return false, err
	}
	running.Go(func() { l.env.Keep(background, l.restarted) })
	user, err := workload.User(ctx, l.env.Consumer())
	if err != nil {
		return false, err
	}
	l.work = workload.New(workload.Options{Seed: l.seed, Home: user, Providers: providers(), Notes: l.book})
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

// settle waits until home and providers agree before anything is broken.
func (l *lab) settle(ctx context.Context) error {
	const long = 2 * time.Minute
	var complaints []nemesis.Complaint
	err := wait.PollUntilContextTimeout(ctx, time.Second, long, false, func(ctx context.Context) (bool, error) {
		var err error
		complaints, err = nemesis.Look(l.env)(ctx)
		return len(complaints) == 0, err
	})
	if err != nil {
		return fmt.Errorf("wait until all is well before the first fault: %w: %v", err, complaints)
	}
	return nil
}

// judge prints what became of every step and which promises were broken.
func (l *lab) judge(ctx context.Context, unmet []string) (bool, error) {
	verdict, err := l.book.verdict(ctx)
	if err != nil {
		return false, err
	}
	fmt.Fprintln(l.out)
	nemesis.Table(l.out, l.results)
	for _, says := range append(verdict, unmet...) {
		fmt.Fprintln(l.out, says)
	}
	ok := len(verdict) == 0 && len(unmet) == 0
	for _, r := range l.results {
		ok = ok && r.Passed()
	}
	if l.report != "" {
		err = nemesis.Save(l.report, nemesis.Run{Seed: l.seed, Results: l.results, Broken: verdict, Unmet: unmet})
	}
	return ok, err
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
	l.book.Note(history.Note{
		Kind: history.Fault, Name: step.Name(), Cluster: step.Provider, Excuses: step.Excuses(),
	})
	l.say("%s on %s", step.Name(), step.Provider)
}

// Healed is told by the runner.
func (l *lab) Healed(step nemesis.Step) {
	l.book.Note(history.Note{
		Kind: history.Heal, Name: step.Name(), Cluster: step.Provider, Bound: metav1.Duration{Duration: step.Bound()},
	})
	l.say("%s is over", step.Name())
}

// Done is told by the runner.
func (l *lab) Done(r *nemesis.Result) { l.say("%s", r) }
