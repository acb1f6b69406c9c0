package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/clock"

	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/e2e/faults/nemesis"
	"github.com/twinspace/twinspace/e2e/history"
)

// clusters besides home.
const providerCount = 2

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
	away  map[string]*history.Recorder
	home  *history.Recorder
	// forced are home pods that faults delete by force.
	forced map[types.UID]bool
}

// play runs the plan and says whether everything was as promised.
func play(ctx context.Context, o options, plan []nemesis.Step, out io.Writer) (bool, error) {
	dir, err := os.MkdirTemp("", "twinspace-faults-")
	if err != nil {
		return false, fmt.Errorf("make a folder for the playground: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	l := &lab{options: o, out: out, clock: clock.RealClock{}, forced: map[types.UID]bool{}}
	if l.env, err = l.open(ctx, dir); err != nil {
		return false, err
	}
	ok, err := l.play(ctx, plan)
	return ok, errors.Join(err, l.env.Down(context.WithoutCancel(ctx)))
}

func (l *lab) open(ctx context.Context, dir string) (*env.Env, error) {
	ours := l.ours
	if ours == "" {
		built := filepath.Join(l.bin, "faults")
		if _, err := os.Stat(built); err == nil {
			ours = built
		}
	}
	return env.Up(ctx, env.Options{
		Dir: dir, Bin: l.bin, Ours: ours, Providers: providerCount, Nodes: 3, Peer: true, Tied: true, Out: l.out,
	})
}

func (l *lab) play(ctx context.Context, plan []nemesis.Step) (bool, error) {
	if err := setStage(ctx, l.env); err != nil {
		return false, err
	}
	if err := l.listen(ctx); err != nil {
		return false, err
	}
	if err := l.settle(ctx); err != nil {
		return false, err
	}
	runner := &nemesis.Runner{
		Scene: nemesis.Scene{Env: l.env, Note: l.note, Say: l.say},
		Clock: l.clock, Look: nemesis.Look(l.env), Tell: l, Patience: time.Minute,
	}
	results := runner.Run(ctx, plan)
	nemesis.Table(l.out, results)
	h, err := l.history(ctx)
	if err != nil {
		return false, err
	}
	wrong := append(h.Broken(), h.AtRest(providers()...)...)
	for _, w := range wrong {
		l.say("%s", w)
	}
	ok := len(wrong) == 0
	for _, r := range results {
		ok = ok && r.Passed()
	}
	return ok, nil
}

func (l *lab) listen(ctx context.Context) error {
	l.away = map[string]*history.Recorder{}
	for _, c := range l.env.Clusters() {
		set, err := kubernetes.NewForConfig(c.Config())
		if err != nil {
			return err
		}
		r, err := history.Record(ctx, c.Name, set.CoreV1().Pods(metav1.NamespaceAll))
		if err != nil {
			return err
		}
		if c.Name == env.Consumer {
			l.home = r
		} else {
			l.away[c.Name] = r
		}
	}
	return nil
}

func (l *lab) history(ctx context.Context) (history.History, error) {
	h := history.History{Slack: 2 * time.Second, Forced: l.forced}
	var err error
	if h.Home, err = l.home.Changes(ctx); err != nil {
		return h, err
	}
	for _, r := range l.away {
		changes, err := r.Changes(ctx)
		if err != nil {
			return h, err
		}
		h.Away = append(h.Away, changes...)
	}
	return h, nil
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

func (l *lab) say(format string, args ...any) {
	fmt.Fprintf(l.out, "%s  %s\n", l.clock.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// note writes down what the lab does.
func (l *lab) note(n history.Note) {
	if n.Kind == history.Action && n.Name == history.ForceDelete {
		l.forced[n.UID] = true
	}
}

// Begins is told by the runner.
func (l *lab) Begins(step nemesis.Step) {
	l.note(history.Note{
		Kind: history.Fault, Name: step.Name(), Cluster: step.Provider, Excuses: step.Excuses(),
	})
	l.say("%s on %s", step.Name(), step.Provider)
}

// Healed is told by the runner.
func (l *lab) Healed(step nemesis.Step) {
	l.note(history.Note{
		Kind: history.Heal, Name: step.Name(), Cluster: step.Provider, Bound: metav1.Duration{Duration: step.Bound()},
	})
	l.say("%s is over", step.Name())
}

// Done is told by the runner.
func (l *lab) Done(r *nemesis.Result) { l.say("%s", r) }
