package leader

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

const us = "us"

// lease is one at an API server that may fail.
type lease struct {
	resourcelock.Interface
	clock  *clocktesting.FakeClock
	record *resourcelock.LeaderElectionRecord // nil for none
	takes  time.Duration
	err    error
}

func (l *lease) Identity() string { return us }

func (l *lease) Describe() string { return "liqo/lease" }

func (l *lease) Get(context.Context) (*resourcelock.LeaderElectionRecord, []byte, error) {
	if l.err == nil && l.record == nil {
		return nil, nil, apierrors.NewNotFound(schema.GroupResource{Resource: "leases"}, "lease")
	}
	return l.record, nil, l.err
}

func (l *lease) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return l.Update(ctx, r)
}

func (l *lease) Update(_ context.Context, r resourcelock.LeaderElectionRecord) error {
	l.clock.Step(l.takes)
	if l.err == nil {
		l.record = &r
	}
	return l.err
}

// stage is a replica before a fake API server.
type stage struct {
	*Leader
	lease *lease
	sent  []string
}

func newStage() *stage {
	c := clocktesting.NewFakeClock(time.Unix(1_800_000_000, 0))
	s := &stage{lease: &lease{clock: c}}
	s.Leader = &Leader{lock: &lock{Interface: s.lease, term: newTerm(c, DefaultTimes().term())}}
	return s
}

// RoundTrip implements http.RoundTripper.
func (s *stage) RoundTrip(req *http.Request) (*http.Response, error) {
	s.sent = append(s.sent, req.Method)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// body tells whether it was closed, as a transport has to.
type body struct {
	io.Reader
	closed bool
}

func (b *body) Close() error {
	b.closed = true
	return nil
}

// sends says whether a request goes out.
func (s *stage) sends(t *testing.T, method string) bool {
	t.Helper()
	content := &body{Reader: strings.NewReader("{}")}
	req, err := http.NewRequestWithContext(t.Context(), method, "https://api.example", content)
	if err != nil {
		t.Fatal(err)
	}
	before := len(s.sent)
	resp, err := s.Wrap(s).RoundTrip(req)
	if err == nil {
		_ = resp.Body.Close()
		return len(s.sent) == before+1
	}
	if !errors.Is(err, ErrNotLeading) || !content.closed || len(s.sent) != before {
		t.Errorf("%s: %v, body closed: %t, sent: %v", method, err, content.closed, s.sent[before:])
	}
	return false
}

func (s *stage) holds(who string) {
	s.lease.record = &resourcelock.LeaderElectionRecord{HolderIdentity: who}
}

func (s *stage) renew(t *testing.T) error {
	t.Helper()
	return s.lock.Update(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: us})
}

func TestOnlyWhoLeadsChangesAnything(t *testing.T) {
	s := newStage()
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions, ""} {
		if !s.sends(t, method) {
			t.Errorf("%s is not sent", method)
		}
	}
	writes := []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodConnect}
	for _, method := range writes {
		if s.sends(t, method) {
			t.Errorf("%s is sent by who does not lead", method)
		}
	}
	if err := s.lock.Create(t.Context(), resourcelock.LeaderElectionRecord{HolderIdentity: us}); err != nil {
		t.Fatal(err)
	}
	for _, method := range writes {
		if !s.sends(t, method) {
			t.Errorf("%s is not sent by the leader", method)
		}
	}
}

func TestWhoWakesAfterItsLeaseChangesNothing(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile         func(*stage)
		wantOver, wantGet bool // after it has looked at the lease; after it has renewed it if it could
	}{
		"another leads":                {func(s *stage) { s.holds("them") }, true, false},
		"another has led":              {func(s *stage) { s.holds("") }, true, false},
		"somebody has deleted it":      {func(s *stage) { s.lease.record = nil }, true, false},
		"nobody else was there":        {func(*stage) {}, false, true},
		"the API server cannot say it": {func(s *stage) { s.lease.err = errors.New("no answer") }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage()
			if err := s.renew(t); err != nil || !s.sends(t, http.MethodPost) {
				t.Fatal("it does not lead", err)
			}
			test.meanwhile(s)
			s.lease.clock.Step(time.Minute)
			if s.sends(t, http.MethodDelete) {
				t.Error("it sends something before it has looked at its lease")
			}
			found, _, err := s.lock.Get(t.Context())
			select {
			case <-s.lock.term.lost:
				if !test.wantOver {
					t.Error("it gives up")
				}
			default:
				if test.wantOver {
					t.Error("it does not give up")
				}
			}
			if err == nil && found.HolderIdentity == us {
				err = s.renew(t)
			}
			if got := s.sends(t, http.MethodDelete); got != test.wantGet {
				t.Errorf("it acts: %t (%v)", got, err)
			}
		})
	}
}

func TestARenewalCountsFromWhenItWasAsked(t *testing.T) {
	s := newStage()
	s.lease.takes = 9 * time.Second
	if err := s.renew(t); err != nil || !s.sends(t, http.MethodPost) {
		t.Fatal("it does not lead", err)
	}
	s.lease.clock.Step(time.Second)
	if s.sends(t, http.MethodPost) {
		t.Error("others who have seen the renewal may lead two seconds from now")
	}
}

func TestWhatFailsRenewsNothing(t *testing.T) {
	s := newStage()
	s.lease.err = errors.New("no answer")
	if err := s.renew(t); err == nil || s.sends(t, http.MethodPost) {
		t.Errorf("it leads after %v", err)
	}
}

func TestNothingIsChangedOnceTheLeaseIsGivenBack(t *testing.T) {
	s := newStage()
	if err := s.renew(t); err != nil {
		t.Fatal(err)
	}
	s.lease.err = errors.New("no answer") // whether it arrived nobody knows
	_ = s.lock.Update(t.Context(), resourcelock.LeaderElectionRecord{})
	if s.sends(t, http.MethodPost) {
		t.Error("it writes although another may lead")
	}
}

func TestTheProcessEnds(t *testing.T) {
	s := newStage()
	failure := errors.New("it fails")
	if err := s.Run(t.Context(), func(context.Context) error { return failure }); !errors.Is(err, failure) {
		t.Errorf("with what the manager says: %v", err)
	}
	if err := s.renew(t); err != nil {
		t.Fatal(err)
	}
	err := s.Run(t.Context(), func(ctx context.Context) error {
		s.holds("them")
		_, _, _ = s.lock.Get(ctx)
		<-ctx.Done() // what does not end
		return nil
	})
	if !errors.Is(err, errLost) {
		t.Errorf("when another leads: %v", err)
	}
}

func TestWithoutAnElection(t *testing.T) {
	var alone *Leader
	s := newStage()
	if alone.Wrap(s) != http.RoundTripper(s) {
		t.Error("there is a fence")
	}
	var options manager.Options
	if alone.Configure(&options); options.LeaderElection {
		t.Error("there is an election")
	}
	ran := false
	err := alone.Run(t.Context(), func(context.Context) error {
		ran = true
		return nil
	})
	if err != nil || !ran {
		t.Errorf("ran: %t, %v", ran, err)
	}
}

// The elector itself refuses times that do not go together.
func TestAManagerIsToldAll(t *testing.T) {
	leader, err := New(Options{
		Home: &rest.Config{Host: "https://127.0.0.1:1"}, Namespace: "liqo", Name: "lease", Times: DefaultTimes(),
		Clock: clocktesting.NewFakeClock(time.Now()),
	})
	if err != nil {
		t.Fatal(err)
	}
	var o manager.Options
	leader.Configure(&o)
	if !o.LeaderElection || !o.LeaderElectionReleaseOnCancel ||
		o.LeaderElectionResourceLockInterface.Describe() != "liqo/lease" {
		t.Errorf("the manager is told %+v", o)
	}
	_, err = leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:          o.LeaderElectionResourceLockInterface,
		LeaseDuration: *o.LeaseDuration, RenewDeadline: *o.RenewDeadline, RetryPeriod: *o.RetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) {}, OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		t.Error(err)
	}
}
