package env

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/wait"
)

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 17 18 987654 20 21"
	cases := map[string]struct {
		line string
		want stat
		bad  bool
	}{
		"an ordinary name": {line: "42 (etcd)" + rest, want: stat{'S', 17, 987654, 3 * time.Second}},
		"a name with spaces and parentheses": {
			line: "42 (a) S 9 (b) c)" + rest, want: stat{'S', 17, 987654, 3 * time.Second},
		},
		"a zombie": {
			line: "42 (etcd)" + strings.Replace(rest, "S", "Z", 1), want: stat{'Z', 17, 987654, 3 * time.Second},
		},
		"a cut line":     {line: "42 (etcd) S 1 2 3", bad: true},
		"nothing":        {line: "", bad: true},
		"not even close": {line: "42 (etcd)" + strings.Replace(rest, "987654", "soon", 1), bad: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat([]byte(tc.line))
			if (err != nil) != tc.bad {
				t.Fatalf("error is %v", err)
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(stat{})); diff != "" {
				t.Errorf("(-want,+got)\n%s", diff)
			}
		})
	}
}

// sleeper starts a process that would run for a minute.
func sleeper(t *testing.T, launch launcher, environ ...string) (Process, *exec.Cmd) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	cmd.Env = environ
	if err := launch(cmd); err != nil {
		t.Fatal(err)
	}
	s, err := readStat(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
	p := Process{Cluster: Consumer, Component: "sleep", PID: cmd.Process.Pid, Started: s.started}
	t.Cleanup(func() { _ = end(context.WithoutCancel(t.Context()), []Process{p}) })
	return p, cmd
}

// leaderless makes this program a process whose first thread has ended, while others go on.
const leaderless = "TWINSPACE_TEST_LEADERLESS"

func init() { //nolint:gochecknoinits // nothing else certainly runs on the first thread
	if os.Getenv(leaderless) == "" {
		return
	}
	go func() {
		<-time.After(time.Minute)
		os.Exit(0)
	}()
	runtime.LockOSThread()
	_, _, _ = syscall.Syscall(syscall.SYS_EXIT, 0, 0, 0)
}

func TestAProcessIsAliveUntilItsLastThreadEnds(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // G204: this very program
	cmd.Env = []string{leaderless + "=yes"}
	if err := detached(cmd); err != nil {
		t.Fatal(err)
	}
	go func() { _ = cmd.Wait() }()
	s, err := readStat(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	p := Process{Cluster: Consumer, Component: "leaderless", PID: cmd.Process.Pid, Started: s.started}
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, time.Minute, true,
		func(context.Context) (bool, error) {
			s, err = readStat(p.PID)
			return s.state == 'Z', err
		})
	if err != nil {
		t.Fatalf("wait for the end of the first thread: %v, %+v", err, s)
	}
	if !p.Alive() {
		t.Error("the process counts as gone while threads of it run")
	}
	if err := end(t.Context(), []Process{p}); err != nil {
		t.Error(err)
	}
	if p.Alive() {
		t.Error("the process counts as alive after its end")
	}
}

func TestARecycledNumberIsNotOurProcess(t *testing.T) {
	real, _ := sleeper(t, detached)
	earlier := real
	earlier.Started-- // what had the number before
	if !real.Alive() {
		t.Fatal("the process should be alive")
	}
	if earlier.Alive() {
		t.Error("a process with the same number and another start counts as ours")
	}
	if err := end(t.Context(), []Process{earlier}); err != nil {
		t.Errorf("end what is gone: %v", err)
	}
	if !real.Alive() {
		t.Error("somebody else's process was killed")
	}
}

func TestEndedProcessesAreGone(t *testing.T) {
	p, _ := sleeper(t, detached)
	if err := end(t.Context(), []Process{p}); err != nil {
		t.Fatal(err)
	}
	if p.Alive() {
		t.Error("it still runs")
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("signal to a process that is gone: %v", err)
	}
}

func TestStoppedProcessesEndToo(t *testing.T) {
	p, _ := sleeper(t, detached)
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := end(t.Context(), []Process{p}); err != nil || p.Alive() {
		t.Errorf("alive: %t, error: %v", p.Alive(), err)
	}
}

func TestDetachedProcessesHaveTheirOwnSession(t *testing.T) {
	p, _ := sleeper(t, detached)
	group, err := syscall.Getpgid(p.PID)
	if err != nil || group != p.PID {
		t.Errorf("process group is %d, want its own %d (%v)", group, p.PID, err)
	}
}

// asStarter makes this test binary a program that starts a tied process, prints its number, and stays.
const asStarter = "ENV_TEST_STARTER"

func TestMain(m *testing.M) {
	if os.Getenv(asStarter) == "" {
		os.Exit(m.Run())
	}
	launch, _ := tied()
	cmd := exec.Command("sleep", "60")
	if err := launch(cmd); err != nil {
		panic(err)
	}
	_, _ = fmt.Fprintln(os.Stdout, cmd.Process.Pid)
	select {}
}

func TestTiedProcessesEndWithTheirStarterHoweverItEnds(t *testing.T) {
	starter := exec.CommandContext(t.Context(), os.Args[0]) //nolint:gosec // G204: this test
	starter.Env = append(os.Environ(), asStarter+"=1")
	out, err := starter.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := starter.Start(); err != nil {
		t.Fatal(err)
	}
	var child Process
	if _, err := fmt.Fscan(out, &child.PID); err != nil {
		t.Fatal(err)
	}
	s, err := readStat(child.PID)
	if err != nil {
		t.Fatal(err)
	}
	child.Started = s.started
	if err := starter.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = starter.Wait()
	if err := child.gone(t.Context(), 10*time.Second); err != nil {
		t.Error(err)
	}
}

func TestMarkedFindsProcessesOfThisDirectoryOnly(t *testing.T) {
	dir := t.TempDir()
	mine, _ := sleeper(t, detached, "A=b", mark+"="+dir)
	sleeper(t, detached, mark+"="+dir+"2")
	sleeper(t, detached, "OTHER="+dir)

	found, err := marked(dir)
	if err != nil {
		t.Fatal(err)
	}
	var numbers []int
	for _, p := range found {
		numbers = append(numbers, p.PID)
	}
	if diff := cmp.Diff([]int{mine.PID}, numbers); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	if slices.Contains(numbers, os.Getpid()) {
		t.Error("this process would end itself")
	}
}

func TestComponentsInheritNothingThatMisleadsThem(t *testing.T) {
	got := inherited([]string{
		"PATH=/bin", "HOME=/root", "KUBECONFIG=/x", "HTTPS_PROXY=http://p", "no_proxy=*", mark + "=/y",
		"ETCD_NAME=z", "KUBERNETES_SERVICE_HOST=10.0.0.1", "GOMAXPROCS=2",
	})
	if diff := cmp.Diff([]string{"PATH=/bin", "HOME=/root", "GOMAXPROCS=2"}, got); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
}
