package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

const (
	// borrowedFor is for how long a token of a tenant's identity is asked for.
	borrowedFor = time.Hour
	// notBefore is how long a refused token is shown at least, so that one that is never taken costs few new ones.
	notBefore = 5 * time.Second
	// mintTimeout bounds what a request without an end of its own, such as a watch, waits for its token.
	mintTimeout = 10 * time.Second
)

// borrowed is the identity of one peering's agent at home, which the shared agent may take: whatever is done for a
// provider is done with the rights of its own agent, behind the fences of its own agent, and audited in its name.
type borrowed struct {
	mint  func(ctx context.Context) (token string, validFor time.Duration, err error)
	clock clock.PassiveClock

	mu     sync.Mutex
	token  string
	since  time.Time
	renew  time.Time // when another one is asked for
	unfit  bool      // the API server did not take it
	expiry time.Time
}

// as returns how to reach home as the agent of a provider. That this is allowed is found out now.
func (s *shared) as(ctx context.Context, provider string) (*rest.Config, error) {
	b := &borrowed{clock: s.opts.Clock(), mint: func(ctx context.Context) (string, time.Duration, error) {
		return s.mint(ctx, v1beta1.TenantNamespace(provider))
	}}
	if _, err := b.current(ctx); err != nil {
		return nil, err
	}
	config := rest.AnonymousClientConfig(s.home)
	config.WrapTransport = s.home.WrapTransport // what stands around all transports of this process
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return &bearer{identity: b, next: next} })
	return config, nil
}

// mint asks for a token of the agent of a tenant namespace.
func (s *shared) mint(ctx context.Context, tenant string) (string, time.Duration, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: ptr.To(int64(borrowedFor / time.Second)),
	}}
	ctx, cancel := context.WithTimeout(ctx, mintTimeout)
	defer cancel()
	answer, err := s.accounts.CoreV1().ServiceAccounts(tenant).
		CreateToken(ctx, v1beta1.AgentServiceAccount, request, metav1.CreateOptions{})
	if err != nil {
		return "", 0, fmt.Errorf("act as the agent of %s, which liqoctl peer --agent shared allows: %w", tenant, err)
	}
	granted := time.Duration(ptr.Deref(answer.Spec.ExpirationSeconds, 0)) * time.Second
	return answer.Status.Token, granted, nil
}

// current returns a token that should be valid. The last one is used for as long as it is when there is no other.
func (b *borrowed) current(ctx context.Context) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock.Now()
	if b.token != "" && now.Before(b.renew) && (!b.unfit || now.Sub(b.since) < notBefore) {
		return b.token, nil
	}
	token, validFor, err := b.mint(ctx)
	if err != nil {
		if b.token != "" && now.Before(b.expiry) {
			b.renew = now.Add(notBefore)
			return b.token, nil
		}
		return "", err
	}
	b.token, b.since, b.unfit = token, now, false
	b.renew, b.expiry = now.Add(validFor*8/10), now.Add(validFor)
	return token, nil
}

// refused takes note that the API server did not take a token.
func (b *borrowed) refused(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.unfit = b.unfit || b.token == token
}

// bearer shows the token of an identity.
type bearer struct {
	identity *borrowed
	next     http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	token, err := b.identity.current(req.Context())
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, err
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := b.next.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		b.identity.refused(token)
	}
	return resp, err
}

// WrappedRoundTripper lets client-go find the transport inside.
func (b *bearer) WrappedRoundTripper() http.RoundTripper { return b.next }
