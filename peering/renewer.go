package peering

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/reflection/remote"
)

// When a token is renewed: after this part of its life, give or take the jitter, so that the agents of many providers
// do not ask together.
const (
	renewAt     = 0.8
	renewJitter = 0.05
)

// The Renewer looks at the Secret at least this often, since liqoctl peer may have replaced the credential in it, and
// more often while the provider may not know us; after a failure it starts over sooner, up to the longest delay.
const (
	lookInterval  = time.Minute
	doubtInterval = 5 * time.Second
	minDelay      = time.Second
	maxDelay      = 30 * time.Second
)

// Tokens is what shows the token to the provider: [remote.Cluster].
type Tokens interface {
	Token() string
	SetToken(token string)
}

// Renewer renews the token of one provider before it expires, and keeps it in the Secret at home so that a restarted
// agent has it. When somebody else has put a newer one there, it takes that. It runs in the agent that leads, as a
// manager.Runnable; the others follow it, or they would take over with a token that has expired long since.
type Renewer struct {
	// Home reads and updates the Secret; its reads may be cached.
	Home client.Client
	// Away acts as the identity whose token is renewed.
	Away client.Client
	// Secret is where the credential is kept at home.
	Secret types.NamespacedName
	// HomeID is the id of the home cluster: the identity lives in the tenant namespace of that name.
	HomeID string
	// Tokens gets each new token.
	Tokens Tokens
	// TTL is what to ask for; DefaultTokenTTL when zero.
	TTL time.Duration
	// Clock is the real one unless a test says otherwise.
	Clock clock.Clock
	// Jitter returns numbers from [0,1), like rand.Float64.
	Jitter func() float64
	// Metrics counts; nil counts nothing.
	Metrics *Metrics
	// Doubts, if not nil, tells that the provider may not know us any more, or again: the Secret is looked at at once.
	Doubts <-chan struct{}
	// InDoubt, if not nil, says that the provider does not answer us as it should: somebody may be about to make the
	// peering anew.
	InDoubt func() bool
}

// Start renews until the context is done.
func (r *Renewer) Start(ctx context.Context) error { return r.repeat(ctx, nil, r.Renew) }

// Follow takes tokens that another replica has put into the Secret, until the context is done or this one leads.
func (r *Renewer) Follow(ctx context.Context, leads <-chan struct{}) error {
	return r.repeat(ctx, leads, func(ctx context.Context) (time.Duration, error) {
		_, _, _, err := r.look(ctx)
		return lookInterval, err
	})
}

// repeat does something until it is not to be done any more; it returns when it is due again.
func (r *Renewer) repeat(
	ctx context.Context, until <-chan struct{}, do func(context.Context) (time.Duration, error),
) error {
	delay := minDelay
	for {
		wait, err := do(ctx)
		if err != nil && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "Renewing the token of the provider failed", "retryIn", delay)
			wait, delay = delay, min(2*delay, maxDelay)
		} else {
			delay = minDelay
		}
		if r.InDoubt != nil && r.InDoubt() {
			wait = min(wait, doubtInterval)
		}
		timer := r.Clock.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-until:
			timer.Stop()
			return nil
		case <-r.Doubts:
			timer.Stop()
		case <-timer.C():
		}
	}
}

// Renew does what is due and returns when to look again.
func (r *Renewer) Renew(ctx context.Context) (time.Duration, error) {
	secret, credential, life, err := r.look(ctx)
	if err != nil {
		return 0, err
	}
	if wait := r.due(life).Sub(r.Clock.Now()); wait > 0 {
		return min(wait, lookInterval), r.keep(ctx, secret, credential)
	}
	if !r.Clock.Now().Before(life.expires) {
		r.Metrics.renewed(errExpired)
		return 0, errExpired
	}
	err = r.replace(ctx, secret, credential)
	r.Metrics.renewed(err)
	return lookInterval, err
}

var errExpired = errors.New("the token has expired, so it cannot renew itself: run liqoctl peer again")

// look makes the newest token the one in use, and returns what is stored and how long that token lives.
func (r *Renewer) look(ctx context.Context) (*corev1.Secret, remote.Credential, lifetime, error) {
	secret, credential, err := r.stored(ctx)
	if err != nil {
		return nil, remote.Credential{}, lifetime{}, err
	}
	life, err := r.newest(credential.Token)
	if err == nil {
		r.Metrics.expires(life.expires)
	}
	return secret, credential, life, err
}

func (r *Renewer) stored(ctx context.Context) (*corev1.Secret, remote.Credential, error) {
	var secret corev1.Secret
	if err := r.Home.Get(ctx, r.Secret, &secret); err != nil {
		return nil, remote.Credential{}, fmt.Errorf("read the credential: %w", err)
	}
	credential, err := remote.Parse(secret.Data[v1beta1.KubeconfigKey])
	if err != nil {
		return nil, remote.Credential{}, fmt.Errorf("read the credential in Secret %s: %w", r.Secret, err)
	}
	return &secret, credential, nil
}

// newest makes the stored token the one in use, unless that one was issued later: its way into the Secret has failed
// then. A peering made anew is thus noticed whatever the clock says.
func (r *Renewer) newest(stored string) (lifetime, error) {
	life, err := lifetimeOf(stored)
	if err != nil {
		return lifetime{}, err
	}
	if used, err := lifetimeOf(r.Tokens.Token()); err == nil && used.issued.After(life.issued) {
		return used, nil
	}
	r.Tokens.SetToken(stored)
	return life, nil
}

func (r *Renewer) due(life lifetime) time.Time {
	part := renewAt + renewJitter*(2*r.Jitter()-1)
	return life.issued.Add(time.Duration(part * float64(life.expires.Sub(life.issued))))
}

// replace gets a new token, uses it, and stores it. The Secret is updated only as it was read: of two agents that renew
// at the same time, or of an agent and liqoctl, the later one looks again.
func (r *Renewer) replace(ctx context.Context, secret *corev1.Secret, credential remote.Credential) error {
	ttl := r.TTL
	if ttl == 0 {
		ttl = DefaultTokenTTL
	}
	request, err := requestToken(ctx, r.Away, r.HomeID, ttl)
	if err != nil {
		return err
	}
	r.Tokens.SetToken(request.Status.Token)
	return r.keep(ctx, secret, credential)
}

// keep stores the token in use, unless it is stored. It is not left to the next renewal when it failed: until then an
// agent that starts would have nothing but the old one, which expires before.
func (r *Renewer) keep(ctx context.Context, secret *corev1.Secret, credential remote.Credential) error {
	used := r.Tokens.Token()
	if used == credential.Token {
		return nil
	}
	credential.Token = used
	kubeconfig, err := credential.Kubeconfig()
	if err != nil {
		return err
	}
	updated := secret.DeepCopy()
	updated.Data[v1beta1.KubeconfigKey] = kubeconfig
	if err := r.Home.Update(ctx, updated); err != nil {
		return fmt.Errorf("store the new credential: %w", err)
	}
	return nil
}
