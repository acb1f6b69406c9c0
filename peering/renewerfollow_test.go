package peering_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// shown is the token in use, which others look at meanwhile.
type shown struct{ token atomic.Value }

func (s *shown) Token() string {
	token, _ := s.token.Load().(string)
	return token
}

func (s *shown) SetToken(token string) { s.token.Store(token) }

// store puts a token into the Secret as another replica would.
func (s *stage) store(t *testing.T, token string) {
	t.Helper()
	var secret corev1.Secret
	if err := s.Home.Get(t.Context(), s.Secret, &secret); err != nil {
		t.Fatal(err)
	}
	credential, err := remote.Parse(secret.Data[v1beta1.KubeconfigKey])
	if err != nil {
		t.Fatal(err)
	}
	credential.Token = token
	if secret.Data[v1beta1.KubeconfigKey], err = credential.Kubeconfig(); err != nil {
		t.Fatal(err)
	}
	if err := s.Home.Update(t.Context(), &secret); err != nil {
		t.Fatal(err)
	}
}

// uses waits until a token is in use.
func (s *stage) uses(t *testing.T, token string) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), time.Millisecond, 30*time.Second, true,
		func(context.Context) (bool, error) { return s.Tokens.Token() == token, nil })
	if err != nil {
		t.Fatal("it uses another token than the one that was stored")
	}
}

func TestWhoStandsByFollowsTheTokenAndRenewsNothing(t *testing.T) {
	s := newStage(t, issue(0))
	s.Tokens = &shown{}
	doubts, leads, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	s.Doubts = doubts
	ctx := log.IntoContext(t.Context(), logr.Discard())
	go func() { ended <- s.Follow(ctx, leads) }()
	awaitTimer(t, s.clock)

	// It is older than what the clock says, and so are all of these: renewing is another's business.
	s.store(t, issue(1))
	s.clock.Step(time.Minute)
	s.uses(t, issue(1))
	s.store(t, issue(2))
	doubts <- struct{}{} // no minute has passed
	s.uses(t, issue(2))
	awaitTimer(t, s.clock)
	s.clock.Step(200 * time.Minute)
	awaitTimer(t, s.clock)

	close(leads)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s.requests != 0 || s.stored(t) != issue(2) {
		t.Errorf("%d requests to the provider by who stands by; stored is %s", s.requests, s.stored(t))
	}
}

func TestWhoStandsByTriesAgainWhenHomeDoesNotAnswer(t *testing.T) {
	s := newStage(t, issue(0))
	s.Tokens = &shown{}
	at := s.Secret
	s.Secret.Name = "another" // which is not there
	leads, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Follow(log.IntoContext(t.Context(), logr.Discard()), leads) }()
	awaitTimer(t, s.clock)
	s.Secret = at
	s.store(t, issue(1))
	s.clock.Step(time.Second)
	s.uses(t, issue(1))
	close(leads)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A peering that is made anew while the provider refuses us must not wait for the next minute.
func TestACredentialIsLookedForWhileTheProviderRefusesUs(t *testing.T) {
	s := newStage(t, issue(0))
	s.Tokens = &shown{}
	var refused atomic.Bool
	refused.Store(true)
	s.InDoubt = refused.Load
	leads, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- s.Follow(log.IntoContext(t.Context(), logr.Discard()), leads) }()
	awaitTimer(t, s.clock)

	s.store(t, issue(1))
	s.clock.Step(5 * time.Second)
	s.uses(t, issue(1))
	awaitTimer(t, s.clock)
	refused.Store(false)
	s.clock.Step(5 * time.Second) // the last look of those
	awaitTimer(t, s.clock)
	s.store(t, issue(2))
	s.clock.Step(30 * time.Second)
	if !s.clock.HasWaiters() || s.Tokens.Token() != issue(1) {
		t.Error("it still looks every few seconds, although nobody doubts")
	}
	s.clock.Step(30 * time.Second)
	s.uses(t, issue(2))
	close(leads)
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
