//go:build failpoints

package failpoint

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestMistakesAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"":                        "",
		" ; ;":                    "",
		"clock=-3s":               "",
		"clock=soon":              `"clock=soon": time: invalid duration`,
		"kill":                    "must be STEP=kill, stop or fail, or clock=DURATION",
		"remote-pod-created=kill": "must begin with before- or after- and name one of home-certificate-approved, ",
		"after-lunch=kill":        "must begin with before- or after-",
		"after-remote-pod-created=kill,skip:3;before-home-pod-status-written=stop": "",
		"after-remote-pod-created=fail:0":                                          "",
		"after-remote-pod-created=melt":                                            `"melt": must be kill, stop or fail, and may be followed by skip:N`,
		"after-remote-pod-created=kill:often":                                      `"often" is no number`,
		"after-remote-pod-created=kill:-1":                                         `"-1" is no number`,
		"after-remote-pod-created=skip:1":                                          `"skip:1": must be kill`,
		"after-remote-pod-created=kill,skip":                                       `"skip": must be kill`,
		"after-remote-pod-created=kill,kill":                                       `"kill": must be kill`,
		"clock=+10m;after-remote-pod-created=now":                                  `"now": must be`,
	} {
		err := parse(text).Err()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", text, err, want)
		}
	}
}

func TestTheEnvironmentIsRead(t *testing.T) {
	t.Setenv(Variable, "nonsense")
	if err := Read().Err(); err == nil || !strings.Contains(err.Error(), Variable) {
		t.Errorf("%v does not name the variable", err)
	}
}

func TestAWrongClockMeasuresRight(t *testing.T) {
	real := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	wrong := parse("clock=-10m").Clock(real)
	start := wrong.Now()
	if d := real.Now().Sub(start); d != 10*time.Minute {
		t.Errorf("it is behind by %s", d)
	}
	timer := wrong.NewTimer(time.Second)
	real.Step(time.Second)
	select {
	case <-timer.C():
	default:
		t.Error("a timer of one second does not fire after it")
	}
	if d := wrong.Since(start); d != time.Second {
		t.Errorf("one second was %s", d)
	}
	if right := parse("").Clock(real); !right.Now().Equal(real.Now()) {
		t.Error("without a fault it is wrong")
	}
}

// log is what a request brings about, in order.
type log struct {
	did []string
	err error
}

// RoundTrip implements http.RoundTripper.
func (l *log) RoundTrip(*http.Request) (*http.Response, error) {
	l.did = append(l.did, "sent")
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, l.err
}

// send sends requests, METHOD PATH each, through what is armed, and returns what happened.
func send(t *testing.T, faults string, to Side, requests ...string) []string {
	t.Helper()
	f := parse(faults)
	if f.Err() != nil {
		t.Fatal(f.Err())
	}
	l := &log{}
	through := f.Transport(to, l)
	if armed, ok := through.(*transport); ok {
		armed.does = map[string]func(){
			kill: func() { l.did = append(l.did, "killed") },
			stop: func() { l.did = append(l.did, "stopped") },
		}
	}
	for _, r := range requests {
		method, path, _ := strings.Cut(r, " ")
		req, err := http.NewRequestWithContext(t.Context(), method, "https://api.example"+path, strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := through.RoundTrip(req)
		if err != nil {
			l.did = append(l.did, "failed")
			continue
		}
		_ = resp.Body.Close()
	}
	return l.did
}

func TestFaultsHappenAtTheirStep(t *testing.T) {
	const (
		create = "POST /api/v1/namespaces/shop/pods"
		status = "PATCH /api/v1/namespaces/shop/pods/web/status?fieldManager=x"
	)
	for name, test := range map[string]struct {
		faults   string
		to       Side
		requests []string
		want     []string
	}{
		"none": {"", Remote, []string{create}, []string{"sent"}},
		"before a creation": {
			"before-remote-pod-created=kill", Remote, []string{create}, []string{"killed", "sent"},
		},
		"after a creation": {
			"after-remote-pod-created=kill", Remote, []string{create}, []string{"sent", "killed"},
		},
		"not at the other side": {
			"after-remote-pod-created=kill", Home, []string{create}, []string{"sent"},
		},
		"not at another step": {
			"after-remote-pod-created=kill", Remote,
			[]string{status, "GET /api/v1/namespaces/shop/pods", "POST /api/v1/namespaces/shop/pods/web/exec"},
			[]string{"sent", "sent", "sent"},
		},
		"at a subresource": {
			"before-home-pod-status-written=stop", Home, []string{create, status}, []string{"sent", "stopped", "sent"},
		},
		"once": {
			"after-remote-pod-created=kill", Remote, []string{create, create}, []string{"sent", "killed", "sent"},
		},
		"after some were skipped": {
			"after-remote-pod-created=kill,skip:2", Remote, []string{create, create, create},
			[]string{"sent", "sent", "sent", "killed"},
		},
		"several times": {
			"before-remote-pod-created=fail:2", Remote, []string{create, create, create},
			[]string{"failed", "failed", "sent"},
		},
		"an answer that is lost": {
			"after-remote-pod-created=fail", Remote, []string{create}, []string{"sent", "failed"},
		},
		"never": {"after-remote-pod-created=kill:0", Remote, []string{create}, []string{"sent"}},
		"two faults": {
			"before-remote-pod-created=stop;after-remote-pod-created=kill", Remote, []string{create},
			[]string{"stopped", "sent", "killed"},
		},
		"a node's lease is not a leader's": {
			"after-home-node-lease-renewed=kill", Home,
			[]string{
				"PUT /apis/coordination.k8s.io/v1/namespaces/liqo/leases/controller-manager",
				"PUT /apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/vn",
			},
			[]string{"sent", "sent", "killed"},
		},
		"a namespace": {
			"after-remote-namespace-created=kill", Remote, []string{"POST /api/v1/namespaces"}, []string{"sent", "killed"},
		},
		"many resources in a group": {
			"after-remote-endpointslice-written=kill", Remote,
			[]string{"PATCH /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-1"}, []string{"sent", "killed"},
		},
		"what is none of the API": {
			"after-remote-pod-created=kill", Remote, []string{"GET /readyz"}, []string{"sent"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, send(t, test.faults, test.to, test.requests...)); diff != "" {
				t.Errorf("(-want,+got):\n%s", diff)
			}
		})
	}
}

func TestAFailureOfTheServerIsNoStep(t *testing.T) {
	l := &log{err: errors.New("no answer")}
	f := parse("after-remote-pod-created=fail")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		"https://api.example/api/v1/namespaces/shop/pods", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Transport(Remote, l).RoundTrip(req); !errors.Is(err, l.err) {
		t.Errorf("error %v", err)
	}
	if f.armed[0].times != 1 {
		t.Error("it counts")
	}
}

// Every step can be reached by a request, and no request is two steps.
func TestStepsAreApart(t *testing.T) {
	for name, a := range steps() {
		if !strings.HasPrefix(name, string(a.to)+"-") {
			t.Errorf("%s is at %s", name, a.to)
		}
		for other, b := range steps() {
			same := a.to == b.to && a.resource == b.resource && a.subresource == b.subresource && a.namespace == b.namespace
			if name < other && same && slices.ContainsFunc(strings.Fields(a.verbs), func(verb string) bool {
				return slices.Contains(strings.Fields(b.verbs), verb)
			}) {
				t.Errorf("%s and %s are the same request", name, other)
			}
		}
	}
}

const asVictim = "TWINSPACE_TEST_AS_VICTIM"

// TestProcessesEndAndStop has a process do to itself what it would on a request.
func TestProcessesEndAndStop(t *testing.T) {
	if action := os.Getenv(asVictim); action != "" {
		does()[action]()
		os.Exit(0)
	}
	for action, want := range map[string]syscall.Signal{kill: syscall.SIGKILL, stop: 0} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		victim := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestProcessesEndAndStop$") //nolint:gosec // us
		victim.Env = append(os.Environ(), asVictim+"="+action)
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		if action == stop {
			var status syscall.WaitStatus
			if _, err := syscall.Wait4(victim.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
				t.Fatalf("it is not stopped: %v, %v", status, err)
			}
			if err := victim.Process.Signal(syscall.SIGCONT); err != nil {
				t.Fatal(err)
			}
		}
		_ = victim.Wait()
		status := victim.ProcessState.Sys().(syscall.WaitStatus) //nolint:forcetypeassert // on this system
		if want == 0 && !victim.ProcessState.Success() || want != 0 && status.Signal() != want {
			t.Errorf("%s: %s", action, victim.ProcessState)
		}
	}
}

func TestAMomentIsReached(t *testing.T) {
	f := parse("before-home-pod-bound=kill,skip:1;after-home-pod-bound=fail")
	if f.Err() != nil {
		t.Fatal(f.Err())
	}
	killed := 0
	does := map[string]func(){kill: func() { killed++ }}
	for attempt, want := range []int{0, 1, 1} {
		if err := f.reach("before-home-pod-bound", does); err != nil || killed != want {
			t.Errorf("attempt %d: killed %d times, %v", attempt, killed, err)
		}
	}
	if err := f.reach("before-home-pod-patched", does); err != nil || killed != 1 {
		t.Errorf("another moment: killed %d times, %v", killed, err)
	}
	if err := f.reach("after-home-pod-bound", does); err == nil {
		t.Error("nothing fails")
	}
}
