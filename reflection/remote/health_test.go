package remote

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestProbeSaysWhatIsWrong(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	expired, _ := certificate(t, now.Add(-time.Minute))
	token := func(exp time.Time) string {
		return "h." + base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"exp":%d}`, exp.Unix())) + ".s"
	}
	for name, tc := range map[string]struct {
		status     int
		change     func(*Credential)
		wantReason string
		want       string
	}{
		"healthy":                   {status: 200},
		"healthy, hides its health": {status: 403},
		"etcd is gone":              {status: 500, wantReason: ReasonUnreachable, want: "not ready: it answers 500"},
		"something else listens":    {status: 404, wantReason: ReasonUnreachable, want: "it answers 404 Not Found"},
		"unknown token": {
			status: 401, wantReason: ReasonCredentialsRejected, want: "the identity was removed",
		},
		"token that is still good": {
			status: 401, change: func(c *Credential) { c.Token = token(now.Add(time.Hour)) },
			wantReason: ReasonCredentialsRejected, want: "the identity was removed",
		},
		"expired token": {
			status: 401, change: func(c *Credential) { c.Token = token(now.Add(-time.Hour)) },
			wantReason: ReasonCredentialsRejected, want: "our token: it expired at 2029-12-31T23:00:00Z",
		},
		"expired client certificate": {
			status: 401, change: func(c *Credential) { c.ClientCertificate = expired },
			wantReason: ReasonCredentialsRejected, want: "client certificate: it expired at 2029-12-31T23:59:00Z",
		},
		"nobody listens": {
			change:     func(c *Credential) { c.Server = "https://127.0.0.1:1" },
			wantReason: ReasonUnreachable, want: "cannot be reached: dial: connect: connection refused",
		},
		"no such host": {
			change:     func(c *Credential) { c.Server = "https://no-such-host.invalid" },
			wantReason: ReasonUnreachable, want: "no such host no-such-host.invalid",
		},
		"another CA": {
			change:     func(c *Credential) { c.CA, _ = certificate(t, now) },
			wantReason: ReasonUnreachable, want: "signed by an authority that the kubeconfig does not name",
		},
		"another name": {
			change:     func(c *Credential) { c.ServerName = "elsewhere.example" },
			wantReason: ReasonUnreachable, want: "its certificate is for another host",
		},
	} {
		t.Run(name, func(t *testing.T) {
			credential := provider(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("asks for %s", r.URL.Path)
				}
				w.WriteHeader(tc.status)
			})
			c := connect(t, credential, Options{Clock: clocktesting.NewFakeClock(now)})
			if tc.change != nil {
				// New takes the certificate and key as a pair; here only its date matters.
				changed := credential
				tc.change(&changed)
				certificateOnly := changed.ClientCertificate
				changed.ClientCertificate = nil
				c = connect(t, changed, Options{Clock: clocktesting.NewFakeClock(now)})
				c.credential.ClientCertificate = certificateOnly
			}
			err := c.Probe(t.Context())
			if Reason(err) != tc.wantReason || !strings.Contains(sentence(err), tc.want) {
				t.Errorf("want %s: %s, got %s: %v", tc.wantReason, tc.want, Reason(err), err)
			}
		})
	}
}

func TestHealthAfterAProbe(t *testing.T) {
	cut, other := errors.New("cut"), errors.New("other")
	at := func(s int) time.Time { return time.Unix(1000+int64(s), 0) }
	for name, tc := range map[string]struct {
		before health
		err    error
		now    int
		want   health
	}{
		"first answer":                {health{err: notAsked()}, nil, 0, health{}},
		"no first answer":             {health{err: notAsked()}, cut, 0, health{cut, at(0)}},
		"first failure is invisible":  {health{}, cut, 0, health{nil, at(0)}},
		"a short cut stays invisible": {health{nil, at(0)}, cut, 19, health{nil, at(0)}},
		"a long cut shows":            {health{nil, at(0)}, cut, 20, health{cut, at(0)}},
		"the reason changes":          {health{cut, at(0)}, other, 25, health{other, at(0)}},
		"healed":                      {health{cut, at(0)}, nil, 60, health{}},
		"a short cut is over":         {health{nil, at(0)}, nil, 10, health{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tc.before.after(tc.err, at(tc.now), 20*time.Second)
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(health{}), cmp.Comparer(sameError)); diff != "" {
				t.Errorf("-want,+got:\n%s", diff)
			}
		})
	}
}

func sameError(a, b error) bool { return sentence(a) == sentence(b) }

func TestListenersHearChangesOnly(t *testing.T) {
	status := http.StatusOK
	clock := clocktesting.NewFakeClock(time.Unix(1000, 0))
	c := connect(t, provider(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }),
		Options{Clock: clock})
	var heard []string
	for _, who := range []string{"a", "b"} {
		c.Notify(func() { heard = append(heard, who+":"+Reason(c.Err())) })
	}
	c.OnRecovery(func() { heard = append(heard, "recovery") })
	step := func(answer int, after time.Duration, want ...string) {
		t.Helper()
		heard, status = nil, answer
		clock.Step(after)
		_ = c.Probe(t.Context())
		if diff := cmp.Diff(want, heard); diff != "" {
			t.Errorf("answer %d, -want,+got:\n%s", answer, diff)
		}
	}
	if Reason(c.Err()) != ReasonUnreachable {
		t.Errorf("healthy before it was asked")
	}
	step(200, 0, "a:", "b:")
	step(200, time.Second)
	step(500, time.Second)
	step(500, 10*time.Second)
	step(500, 10*time.Second, "a:"+ReasonUnreachable, "b:"+ReasonUnreachable)
	step(500, time.Second)
	step(401, time.Second, "a:"+ReasonCredentialsRejected, "b:"+ReasonCredentialsRejected)
	step(200, time.Second, "a:", "b:", "recovery")
	step(500, time.Second)
	step(200, time.Second, "recovery") // though nobody was told of the failure
	step(200, time.Second)
}

func TestAProbeThatIsGivenUpSaysNothing(t *testing.T) {
	c := connect(t, provider(t, func(http.ResponseWriter, *http.Request) {}), Options{})
	if err := c.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Probe(ctx); err != nil || !c.health.failing.IsZero() {
		t.Errorf("shutting down made the provider look sick: %v, %v", err, c.health)
	}
}

func TestReason(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"healthy":       {nil, ""},
		"wrapped":       {fmt.Errorf("node: %w", &UnhealthyError{ReasonUnreachable, "no"}), ReasonUnreachable},
		"rejected":      {&UnhealthyError{ReasonCredentialsRejected, "no"}, ReasonCredentialsRejected},
		"anything else": {errors.New("odd"), ReasonUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Reason(tc.err); got != tc.want {
				t.Errorf("want %q, got %q", tc.want, got)
			}
		})
	}
}
