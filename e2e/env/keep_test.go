package env

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/clock"
)

// played returns the home cluster of a playground whose controller-manager, in two replicas, is a script.
func played(t *testing.T, script string) *Cluster {
	t.Helper()
	bin := t.TempDir()
	for _, program := range []string{Manager, "playground"} {
		//nolint:gosec // G306: it is a program
		if err := os.WriteFile(filepath.Join(bin, program), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	e := newEnv(Options{Dir: t.TempDir(), Bin: bin, Peer: true, Replicas: 2, Clock: clock.RealClock{}})
	c, err := e.newCluster(0, nil)
	if err != nil {
		t.Fatal(err)
	}
	e.clusters = []*Cluster{c}
	if err := os.MkdirAll(c.path(), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.ports.releaseAll()
		if err := end(context.WithoutCancel(t.Context()), e.Processes()); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *Cluster) startNow(t *testing.T, name string) Process {
	t.Helper()
	comp, err := c.component(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.env.start(comp); err != nil {
		t.Fatal(err)
	}
	p, _ := c.env.process(c.Name, name)
	return p
}

// keep keeps the cluster's components until the end of the test.
func keep(t *testing.T, e *Env) <-chan Restarted {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	said, ended := make(chan Restarted, 100), make(chan struct{})
	go func() {
		e.Keep(ctx, func(r Restarted) { said <- r })
		close(ended)
	}()
	t.Cleanup(func() { stop(); <-ended })
	return said
}

func next(t *testing.T, said <-chan Restarted) Restarted {
	t.Helper()
	select {
	case r := <-said:
		return r
	case <-time.After(time.Minute):
		t.Fatal("nothing was started again")
		return Restarted{}
	}
}

func TestWhatEndsByItselfIsStartedAgain(t *testing.T) {
	c := played(t, "exec sleep 60")
	e, second := c.env, Replica(Manager, 2)
	c.startNow(t, Manager)
	c.startNow(t, second)
	c.startNow(t, Etcd) // somebody else's
	said := keep(t, e)
	crash := func(name string) {
		t.Helper()
		if err := e.Signal(Consumer, name, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(want Restarted) {
		t.Helper()
		if diff := cmp.Diff(want, next(t, said)); diff != "" {
			t.Errorf("(-want,+got)\n%s", diff)
		}
		if p, _ := e.process(want.Cluster, want.Component); !p.Alive() {
			t.Errorf("%s does not run", want.Component)
		}
	}
	crash(Manager)
	expect(Restarted{Consumer, Manager, "signal: killed", 1, nil})

	// What is meant to be down stays down, whatever becomes of others meanwhile.
	if err := errors.Join(e.Kill(t.Context(), Consumer, Manager), e.Kill(t.Context(), Consumer, Etcd)); err != nil {
		t.Fatal(err)
	}
	if err := e.SetEnviron(Consumer, second, []string{"FAULTS=none"}); err != nil {
		t.Fatal(err)
	}
	crash(second)
	expect(Restarted{Consumer, second, "signal: killed", 1, nil})
	crash(second)
	expect(Restarted{Consumer, second, "signal: killed", 2, nil})
	for _, down := range []string{Manager, Etcd} {
		if p, _ := e.process(Consumer, down); p.Alive() {
			t.Errorf("%s was started again", down)
		}
	}
	p, _ := e.process(Consumer, second)
	if got := variables(t, p)["FAULTS"]; got != "none" {
		t.Errorf("it got FAULTS=%q", got)
	}

	// Once somebody starts it, it is kept again.
	c.startNow(t, Manager)
	crash(Manager)
	expect(Restarted{Consumer, Manager, "signal: killed", 2, nil})
}

func TestWhatCannotBeStartedIsTriedAgain(t *testing.T) {
	c := played(t, "exit 7")
	if err := c.startNow(t, Manager).gone(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(c.env.Bin(), Manager)
	if err := os.Rename(program, program+".gone"); err != nil {
		t.Fatal(err)
	}
	said := keep(t, c.env)
	if r := next(t, said); r.How != "exit status 7" || !errors.Is(r.Err, os.ErrNotExist) {
		t.Errorf("it says %+v", r)
	}
	if err := os.Rename(program+".gone", program); err != nil {
		t.Fatal(err)
	}
	for r := next(t, said); r.Err != nil; r = next(t, said) {
		if r.Times > 5 {
			t.Fatalf("it says %+v", r)
		}
	}
}

func TestCrashesWaitLongerAndLonger(t *testing.T) {
	now := time.Now()
	var book crashes
	crash := func(pid int) (waited time.Duration) {
		p, begin := Process{PID: pid}, now
		for !book.due(p, now) {
			now = now.Add(100 * time.Millisecond)
		}
		book.started(now, true)
		return now.Sub(begin)
	}
	var got []time.Duration
	for i := range 7 {
		got = append(got, crash(i+1))
	}
	now = now.Add(2 * time.Minute) // of peace
	got = append(got, crash(100), crash(101))
	const s = time.Second
	want := []time.Duration{s / 2, s, 2 * s, 4 * s, 8 * s, 10 * s, 10 * s, s / 2, s}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}

// variables returns the environment of a process once it sleeps: what is read while the shell gives way to what it is
// told to exec can be empty or end early.
func variables(t *testing.T, p Process) map[string]string {
	t.Helper()
	about := func(what string) []byte {
		raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID), what))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	var raw []byte
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 30*time.Second, true,
		func(context.Context) (bool, error) {
			if string(about("comm")) == "sleep\n" {
				raw = about("environ")
			}
			return len(raw) != 0, nil
		})
	if err != nil {
		t.Fatalf("process %d does not sleep: %v", p.PID, err)
	}
	found := map[string]string{}
	for variable := range bytes.SplitSeq(raw, []byte{0}) {
		name, value, _ := bytes.Cut(variable, []byte("="))
		found[string(name)] = string(value)
	}
	return found
}

func TestComponentsGetTheirOwnVariablesFromTheNextStartOn(t *testing.T) {
	c := played(t, "exec sleep 60")
	e := c.env
	t.Setenv("WHAT", "inherited")
	set := func(environ ...string) {
		t.Helper()
		if err := e.SetEnviron(Consumer, Manager, environ); err != nil {
			t.Fatal(err)
		}
	}
	again := func() map[string]string {
		t.Helper()
		if err := e.Kill(t.Context(), Consumer, Manager); err != nil {
			t.Fatal(err)
		}
		return variables(t, c.startNow(t, Manager))
	}
	before := c.startNow(t, Manager)
	set("WHAT=own", "MORE=a=b")
	if got := variables(t, before)["WHAT"]; got != "inherited" {
		t.Errorf("before, WHAT is %q", got)
	}
	got := again()
	if got["WHAT"] != "own" || got["MORE"] != "a=b" || got[mark] != e.Dir() {
		t.Errorf("got WHAT=%q, MORE=%q, %s=%q", got["WHAT"], got["MORE"], mark, got[mark])
	}
	if other := variables(t, c.startNow(t, Replica(Manager, 2)))["WHAT"]; other != "inherited" {
		t.Errorf("the other replica's WHAT is %q", other)
	}
	set()
	if got := again(); got["WHAT"] != "inherited" || got["MORE"] != "" {
		t.Errorf("then, got WHAT=%q, MORE=%q", got["WHAT"], got["MORE"])
	}

	var usage *UsageError
	for _, bad := range []string{"", "NAME", "=value", mark + "=/elsewhere"} {
		if err := e.SetEnviron(Consumer, Manager, []string{bad}); !errors.As(err, &usage) {
			t.Errorf("%q: error is %v", bad, err)
		}
	}
	for _, where := range [][2]string{{"nowhere", Manager}, {Consumer, "nothing"}} {
		if err := e.SetEnviron(where[0], where[1], nil); !errors.As(err, &usage) {
			t.Errorf("%v: error is %v", where, err)
		}
	}
}
