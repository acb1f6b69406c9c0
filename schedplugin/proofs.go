package schedplugin

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/utils/clock"
)

// pace is how far apart the live reads of a namespace begin at least. Pods that come one by one, faster than that,
// share reads as those of a backlog do, and none waits longer than this for it.
const pace = 50 * time.Millisecond

// errChanged says that a pod was decided about by a policy that is not the one in force.
var errChanged = errors.New("the offloading of the namespace changed while the pod was being scheduled; trying again")

// proofs make sure that the policy which decided about a pod is at least as new as the pod. The scheduler hears of pods
// and of NamespaceOffloadings on two watches, and nothing orders one after the other; a live read does, and one read
// serves all pods of the namespace that the scheduler had heard of when the read began. DESIGN.md has the argument.
type proofs struct {
	live func(ctx context.Context, namespace string) (identity, error)
	// seen returns a resource version of pods that the scheduler has seen.
	seen  func() string
	clock clock.Clock

	mu     sync.Mutex
	spaces map[string]*proof
}

// proof says: when all pods up to a resource version were created, or last changed, the policy of their namespace was
// this one or an older one.
type proof struct {
	mu       sync.Mutex // held during a live read, so that those who come meanwhile share the next one
	began    time.Time  // when the last one did
	upTo     string
	identity identity
}

func newProofs(live func(context.Context, string) (identity, error), seen func() string, clock clock.Clock) *proofs {
	return &proofs{live: live, seen: seen, clock: clock, spaces: map[string]*proof{}}
}

// confirm returns nil if the given version of the policy is in force for the pod, errChanged if another one is, or why
// that could not be found out.
func (p *proofs) confirm(ctx context.Context, pod *corev1.Pod, decided identity) error {
	proof := p.of(pod.Namespace)
	proof.mu.Lock()
	defer proof.mu.Unlock()
	if proof.identity == decided && !newer(pod.ResourceVersion, proof.upTo) {
		return nil
	}
	if err := p.await(ctx, proof.began.Add(pace)); err != nil {
		return err
	}
	proof.began = p.clock.Now()
	upTo := p.seen()
	if newer(pod.ResourceVersion, upTo) {
		upTo = pod.ResourceVersion
	}
	identity, err := p.live(ctx, pod.Namespace)
	if err != nil {
		return err
	}
	proof.upTo, proof.identity = upTo, identity
	if identity != decided {
		return errChanged
	}
	return nil
}

// await returns at the given time, or why it did not wait so long.
func (p *proofs) await(ctx context.Context, until time.Time) error {
	wait := until.Sub(p.clock.Now())
	if wait <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-p.clock.After(wait):
		return nil
	}
}

func (p *proofs) of(namespace string) *proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spaces[namespace] == nil {
		p.spaces[namespace] = &proof{}
	}
	return p.spaces[namespace]
}

// forget drops what is known of a namespace that is gone.
func (p *proofs) forget(namespace string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.spaces, namespace)
}

// newer compares resource versions of pods. What cannot be compared counts as newer, which costs a read.
func newer(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || order > 0
}
