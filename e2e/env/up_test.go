package env_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
)

// bare are the options of a playground that outlives its starter, as `playground up` makes it.
func bare(t *testing.T) env.Options {
	t.Helper()
	root, err := env.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "playground")
	t.Cleanup(func() {
		if err := env.Down(context.WithoutCancel(t.Context()), dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return env.Options{Dir: dir, Bin: filepath.Join(root, "bin"), Providers: 1, Bare: true}
}

func up(t *testing.T, opts env.Options) *env.Env {
	t.Helper()
	e, err := env.Up(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// living returns the processes that run, by "cluster/component".
func living(e *env.Env) map[string]int {
	found := map[string]int{}
	for _, p := range e.Processes() {
		if p.Alive() {
			found[p.Cluster+"/"+p.Component] = p.PID
		}
	}
	return found
}

func TestAPlaygroundIsStartedRepairedCleanedAndEnded(t *testing.T) {
	opts := bare(t)
	first := up(t, opts)
	processes := living(first)
	if len(processes) != 4 {
		t.Fatalf("%v run, want an etcd and an API server each", processes)
	}
	if err := first.Consumer().Client().Create(t.Context(), build.Namespace("kept").Obj()); err != nil {
		t.Fatal(err)
	}

	t.Run("up again changes nothing", func(t *testing.T) {
		for what, pid := range living(up(t, opts)) {
			if processes[what] != pid {
				t.Errorf("%s was started again", what)
			}
		}
	})
	t.Run("other options are refused", func(t *testing.T) {
		other := opts
		other.Providers = 2
		var usage *env.UsageError
		if _, err := env.Up(t.Context(), other); !errors.As(err, &usage) {
			t.Errorf("error is %v", err)
		}
	})
	t.Run("status names what died, and up starts it again with its data", func(t *testing.T) {
		opened, err := env.Open(opts.Dir, opts.Bin)
		if err != nil {
			t.Fatal(err)
		}
		if err := opened.Kill(t.Context(), env.Consumer, env.APIServer); err != nil {
			t.Fatal(err)
		}
		for _, s := range opened.Status(t.Context()) {
			if dead := s.Cluster == env.Consumer && s.Component == env.APIServer; dead != (s.Problem != "") {
				t.Errorf("%s of %s: %q", s.Component, s.Cluster, s.Problem)
			}
		}
		repaired := up(t, opts)
		now := living(repaired)
		if len(now) != 4 || now["consumer/etcd"] != processes["consumer/etcd"] {
			t.Errorf("%v run", now)
		}
		if err := repaired.Consumer().Client().Create(t.Context(), build.Namespace("kept").Obj()); err == nil {
			t.Error("the namespace was lost")
		}
	})
	t.Run("what was killed as a whole is made anew", func(t *testing.T) {
		old := up(t, opts)
		for _, p := range old.Processes() {
			if err := old.Kill(t.Context(), p.Cluster, p.Component); err != nil {
				t.Fatal(err)
			}
		}
		fresh := up(t, opts)
		if len(living(fresh)) != 4 {
			t.Errorf("%v run", living(fresh))
		}
		if err := fresh.Consumer().Client().Create(t.Context(), build.Namespace("kept").Obj()); err != nil {
			t.Errorf("it is not new: %v", err)
		}
	})
	t.Run("down leaves neither processes nor files", func(t *testing.T) {
		last := up(t, opts)
		for range 2 {
			if err := env.Down(t.Context(), opts.Dir); err != nil {
				t.Fatal(err)
			}
		}
		if left := living(last); len(left) > 0 {
			t.Errorf("%v still run", left)
		}
		if _, err := os.Stat(opts.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the directory is still there: %v", err)
		}
		if _, err := env.Open(opts.Dir, opts.Bin); !errors.Is(err, env.ErrNotRunning) {
			t.Errorf("open says %v", err)
		}
	})
}

func TestAnUpThatWasInterruptedIsCleanedUp(t *testing.T) {
	opts := bare(t)
	ctx, cancel := context.WithCancel(t.Context())
	opts.Out = writerFunc(func(line string) { // the first cluster is ready: the other is on its way
		if strings.Contains(line, "API server ready") {
			cancel()
		}
	})
	if _, err := env.Up(ctx, opts); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	interrupted, err := env.Open(opts.Dir, opts.Bin)
	if err != nil {
		t.Fatal(err)
	}
	if len(living(interrupted)) == 0 {
		t.Fatal("nothing ran when it was interrupted: the test shows nothing")
	}
	opts.Out = nil
	if e := up(t, opts); len(living(e)) != 4 {
		t.Errorf("%v run", living(e))
	}
	if left := living(interrupted); len(left) > 0 {
		t.Errorf("%v of the interrupted one still run", left)
	}
}

type writerFunc func(line string)

func (f writerFunc) Write(p []byte) (int, error) {
	f(string(p))
	return len(p), nil
}

func TestOptionsThatCannotBe(t *testing.T) {
	root, err := env.RepositoryRoot()
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		change func(*env.Options)
		want   string
	}{
		"fewer than no providers": {func(o *env.Options) { o.Providers = -1 }, "providers must be between 0 and"},
		"too many providers":      {func(o *env.Options) { o.Providers = 51 }, "providers must be between 0 and"},
		"too many nodes":          {func(o *env.Options) { o.Nodes = 61 }, "nodes must be between 0 and"},
		"no directory":            {func(o *env.Options) { o.Dir = "" }, "directory of the playground is not set"},
		"bare and peered":         {func(o *env.Options) { o.Peer = true }, "bare API servers cannot be peered"},
		"nothing was built":       {func(o *env.Options) { o.Bin = t.TempDir() }, "run make build first"},
		"ours were not built": {
			func(o *env.Options) { o.Bare, o.Peer, o.Ours = false, true, t.TempDir() },
			"liqoctl not found: run make build first",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			opts := env.Options{Dir: filepath.Join(t.TempDir(), "p"), Bin: filepath.Join(root, "bin"), Bare: true}
			tc.change(&opts)
			_, err := env.Up(t.Context(), opts)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error is %v, want %q", err, tc.want)
			}
			if _, err := os.Stat(opts.Dir); opts.Dir != "" && err == nil {
				t.Error("it left a directory")
			}
		})
	}
}
