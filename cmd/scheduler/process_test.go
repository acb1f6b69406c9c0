package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// The schedulers that this test binary can be, in processes of their own, as kube-scheduler is full of global state.
const (
	runAs   = "TEST_RUN_AS"
	ours    = "scheduler"
	managed = "kube-scheduler" // that of a managed control plane, which knows nothing of ours
)

func TestMain(m *testing.M) {
	switch os.Getenv(runAs) {
	case ours:
		main()
	case managed:
		os.Exit(cli.Run(app.NewSchedulerCommand()))
	}
	os.Exit(m.Run())
}

func process(ctx context.Context, t *testing.T, scheduler string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Env = append(os.Environ(), runAs+"="+scheduler)
	return cmd
}

// run runs our scheduler, which serves nothing, to its end and returns its exit code and what it said.
func run(t *testing.T, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := process(ctx, t, ours, append(args, "--secure-port=0")...).CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%q runs, and should not:\n%s", args, out)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode(), string(out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return 0, string(out)
}

// start runs a scheduler until the test is over.
func start(t *testing.T, scheduler string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := process(ctx, t, scheduler, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			lines := strings.Split(out.String(), "\n")
			t.Logf("the end of what %s said:\n%s", scheduler, strings.Join(lines[max(0, len(lines)-15):], "\n"))
		}
	})
}

// write puts a file into the test's directory and returns its path.
func write(t *testing.T, name, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// shipped returns one of the configurations that the project ships.
func shipped(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "manifests", "scheduler", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
