package provider

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/provider/translate"
	"github.com/twinspace/twinspace/reflection/remote"
)

// ReasonTokenRefused is the reason of the event about a running pod whose tokens of home cannot be renewed.
const ReasonTokenRefused = "TokenRefused"

const (
	tokenWorkers = 4
	// tokenBackoffMax is longer than that of pods: a token that is not renewed yet still has a fifth of its life.
	tokenBackoffMax = 2 * time.Minute
	// tokenRepairs is how often a Secret is made good that somebody changes: a provider must not make us ask home for
	// tokens all the time.
	tokenRepairs = 10 * time.Second
)

// errTokenRefused says that a refusal has been told to the user.
var errTokenRefused = errors.New("refused, and said so")

// Tokens keeps, in the twins, the tokens of home that pods ask for. Each is one of the pod's own ServiceAccount, bound
// to the home pod, which lives for an hour at most, is replaced when four fifths of that are over, and goes with the
// pod. It is nowhere but in one Secret of the twin, which the remote pod mounts. The first is there before that pod.
type Tokens struct {
	pods    *Pods
	clock   clock.WithTicker
	queue   workqueue.TypedDelayingInterface[holder]
	limiter *remote.Retries[holder]

	mu      sync.Mutex
	ctx     context.Context //nolint:containedctx // what watches started later end with; nil unless we run
	running sync.WaitGroup
	twins   map[string]*tokenTwin // by home namespace
	issued  map[types.UID]issue
	told    map[types.UID]string
}

// holder is a home pod that has tokens, or had. Without a name it stands for all that have a Secret in the twin.
type holder struct {
	key
	uid types.UID
}

// issue is what was last put into the Secret of a pod. Losing it costs nothing: the Secret says when it is to be
// renewed.
type issue struct {
	version string
	at      time.Time
	refresh time.Time
}

// NewTokens returns what gives tokens to the pods of a loop. Call it before that starts.
func NewTokens(pods *Pods, c clock.WithTicker) *Tokens {
	t := &Tokens{
		pods: pods, clock: c,
		twins: map[string]*tokenTwin{}, issued: map[types.UID]issue{}, told: map[types.UID]string{},
	}
	t.limiter = remote.NewRetries(
		workqueue.NewTypedItemExponentialFailureRateLimiter[holder](backoffBase, tokenBackoffMax))
	t.queue = workqueue.NewTypedDelayingQueueWithConfig(
		workqueue.TypedDelayingQueueConfig[holder]{Name: "tokens", Clock: c})
	pods.tokens = t
	pods.OnChange(t.podChanged)
	return t
}

// Retry looks again, now, at what has failed. Call it when the provider answers again.
func (t *Tokens) Retry() { t.limiter.Hurry(t.queue.Add) }

// Start works until ctx is done, and returns when nothing of it runs any more.
func (t *Tokens) Start(ctx context.Context) error {
	ctx = log.IntoContext(ctx, log.FromContext(ctx).WithName("tokens"))
	t.mu.Lock()
	t.ctx = ctx
	t.mu.Unlock()
	var workers sync.WaitGroup
	for range tokenWorkers {
		workers.Go(func() {
			for t.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	t.queue.ShutDown()
	workers.Wait()
	t.mu.Lock()
	t.ctx = nil // from here on no watch is started
	t.mu.Unlock()
	t.running.Wait()
	return nil
}

// TwinReady says that the twin of a home namespace can be written to.
func (t *Tokens) TwinReady(home, away string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if had := t.twins[home]; had != nil {
		if had.away == away {
			return
		}
		had.stop()
	}
	t.twins[home] = &tokenTwin{home: home, away: away}
	t.queue.Add(holder{key: key{Namespace: home}}) // what was left while we were not looking
}

// TwinLeaving says that the twin is about to go, and its Secrets with it.
func (t *Tokens) TwinLeaving(home string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if had := t.twins[home]; had != nil {
		had.stop()
		delete(t.twins, home)
	}
}

// TwinGone says that there is no twin.
func (t *Tokens) TwinGone(home string) { t.TwinLeaving(home) }

// podChanged looks at a home pod that wants tokens, has some, or was refused some.
func (t *Tokens) podChanged(pod *corev1.Pod) {
	if t.wants(pod) || t.remembers(pod.UID) {
		t.queue.Add(holderOf(pod))
	}
}

// remembers says whether there is something to be forgotten about a pod when it goes.
func (t *Tokens) remembers(uid types.UID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, issued := t.issued[uid]
	_, told := t.told[uid]
	return issued || told
}

func holderOf(pod *corev1.Pod) holder {
	return holder{key: key{Namespace: pod.Namespace, Name: pod.Name}, uid: pod.UID}
}

func (t *Tokens) wants(home *corev1.Pod) bool {
	return !translate.Finished(home.Status.Phase) && len(t.pods.opts.Access.Tokens(home)) > 0
}

// next works on one holder. It returns false when the queue is shut down.
func (t *Tokens) next(ctx context.Context) bool {
	h, down := t.queue.Get()
	if down {
		return false
	}
	defer t.queue.Done(h)
	ctx = log.IntoContext(ctx, log.FromContext(ctx).WithValues("pod", h.key, "uid", h.uid))
	after, err := t.reconcile(ctx, h)
	switch {
	case ctx.Err() != nil:
	case errors.Is(err, errTokenRefused):
		t.queue.AddAfter(h, t.limiter.When(h))
	case err != nil:
		t.pods.opts.Metrics.token(tokenFailed)
		log.FromContext(ctx).V(1).Info("Will try again", "err", err.Error())
		delay := t.limiter.When(h)
		if s, ok := apierrors.SuggestsClientDelay(err); ok {
			delay = max(delay, min(time.Duration(s)*time.Second, maxRetryAfter))
		}
		t.queue.AddAfter(h, delay)
	default:
		t.limiter.Forget(h)
		if after > 0 {
			t.queue.AddAfter(h, after)
		}
	}
	return true
}

// prepare puts in place what a pod needs in its twin before its remote pod is created. It returns the sentence by which
// the pod is refused, or "".
func (p *Pods) prepare(ctx context.Context, w *work) (refusal string, err error) {
	if refusal = w.target.Refusal(w.home); refusal != "" || len(p.opts.Access.Tokens(w.home)) == 0 {
		return refusal, nil
	}
	if p.tokens == nil {
		return "the pod asks for a token of home, and this agent gives none", nil
	}
	if has, ok := p.tokens.issue(w.home.UID); ok && p.tokens.clock.Now().Before(has.refresh) {
		return "", nil
	}
	return p.tokens.deliver(ctx, w.home, w.space.away, nil)
}

func (t *Tokens) issue(uid types.UID) (issue, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	is, ok := t.issued[uid]
	return is, ok
}

func (t *Tokens) remember(uid types.UID, is issue) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.issued[uid] = is
}

func (t *Tokens) forget(uid types.UID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.issued, uid)
	delete(t.told, uid)
}

// tell tells the user of a pod something once; "" takes it back.
func (t *Tokens) tell(home *corev1.Pod, refusal string) {
	t.mu.Lock()
	told := t.told[home.UID] == refusal
	if refusal == "" {
		delete(t.told, home.UID)
	} else {
		t.told[home.UID] = refusal
	}
	t.mu.Unlock()
	if refusal != "" && !told {
		t.pods.opts.Recorder.Eventf(home, nil, corev1.EventTypeWarning, ReasonTokenRefused, "Offload", "%s", refusal)
	}
}
