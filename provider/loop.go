package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/twinspace/twinspace/provider/translate"
)

// again is how an action asks to be looked at once more, without having failed. Unless it is part of a backoff, it ends
// one.
type again struct {
	after   time.Duration
	backoff bool
}

func (a again) Error() string { return fmt.Sprintf("look again in %s", a.after) }

// errBackoff is how an action asks to be tried again with growing delays, having told the user why.
var errBackoff = errors.New("refused, and said so")

// errIncomplete says that the watches of home cannot tell yet whether a pod is missing. Their completion enqueues
// everything, and so does the release of the last one.
var errIncomplete = errors.New("the pods of home are not all known yet")

// next works on one name. It returns false when the queue is shut down.
func (p *Pods) next(ctx context.Context) bool {
	k, down := p.queue.Get()
	if down {
		return false
	}
	defer p.queue.Done(k)
	ctx = log.IntoContext(ctx, log.FromContext(ctx).WithValues("pod", k))
	err := p.reconcile(ctx, k)
	if waits, ok := p.lanes.leave(k); ok {
		p.queue.Add(waits)
	}
	var a again
	switch {
	case err == nil:
		p.limiter.Forget(k)
	case errors.Is(err, errParked):
	case errors.As(err, &a):
		if !a.backoff {
			p.limiter.Forget(k)
		}
		p.queue.AddAfter(k, a.after)
	case ctx.Err() != nil:
	default:
		p.retry(ctx, k, err)
	}
	return true
}

// retry comes back after the name's own delay, or after what the server asks for when that is longer.
func (p *Pods) retry(ctx context.Context, k key, err error) {
	if !errors.Is(err, errBackoff) {
		p.opts.Metrics.failure()
		log.FromContext(ctx).V(1).Info("Will try again", "err", err.Error())
	}
	delay := p.limiter.When(k)
	if s, ok := apierrors.SuggestsClientDelay(err); ok {
		delay = max(delay, min(time.Duration(s)*time.Second, maxRetryAfter))
	}
	p.queue.AddAfter(k, delay)
}

// work is one name being worked on.
type work struct {
	key
	facts
	space  twin
	target translate.Target
	record record
}

func (p *Pods) reconcile(ctx context.Context, k key) error {
	w, err := p.look(ctx, k)
	if errors.Is(err, errIncomplete) {
		return nil
	}
	if err != nil {
		return err
	}
	do := decide(w.facts)
	p.opts.Metrics.action(do)
	log.FromContext(ctx).V(1).Info("Decided", "action", do, "twin", w.twin)
	if err := p.flag(ctx, w, do); err != nil {
		return err
	}
	if err := p.enter(k, laneOf(do)); err != nil {
		return err
	}
	return unstall(w, p.do(ctx, w, do))
}

func (p *Pods) do(ctx context.Context, w *work, do action) error {
	switch do {
	case doForget:
		p.memory.forget(w.key)
	case doCreate:
		return p.create(ctx, w)
	case doHold:
		return p.hold(ctx, w)
	case doMirror:
		return p.mirror(ctx, w)
	case doRemove:
		return p.remove(ctx, w.key, w.away, w.home.DeletionGracePeriodSeconds)
	case doStop:
		return p.remove(ctx, w.key, w.away, ownGrace(w.away))
	default:
		return p.conclude(ctx, w, do)
	}
	return nil
}

// conclude carries out the actions that follow from something being gone, which is made sure of first.
func (p *Pods) conclude(ctx context.Context, w *work, do action) error {
	switch do {
	case doOrphan:
		return p.orphan(ctx, w)
	case doReplace:
		return p.replace(ctx, w)
	case doConfirm:
		return p.confirm(ctx, w)
	case doLose:
		return p.lose(ctx, w)
	case doFinish:
		return p.finish(ctx, w)
	default:
		return p.wait(w)
	}
}

// wait comes back when time alone may change the decision.
func (p *Pods) wait(w *work) error {
	if w.home != nil && w.twin == twinUnknown {
		return again{after: resettle}
	}
	return nil
}

// look gathers the facts about a name.
func (p *Pods) look(ctx context.Context, k key) (*work, error) {
	w := &work{key: k}
	w.space, w.twin = p.twinOf(k.Namespace)
	home, node, known := p.homePod(k)
	if home == nil && !known {
		return nil, errIncomplete
	}
	if w.away = p.awayPod(k, w.space); w.away != nil {
		w.owner = translate.HomeUID(w.away, p.opts.Origin)
		w.stalledAway = stalled(w.away, p.opts.Clock)
	}
	if home == nil {
		return w, nil
	}
	w.home = p.memory.latest(k, home)
	w.stalledHome = stalled(w.home, p.opts.Clock)
	if w.away != nil && w.owner == string(home.UID) {
		p.memory.saw(k, home.UID, w.away.UID)
		p.memory.hasMark(k, home.UID, w.away)
	}
	w.record = p.memory.get(k, home.UID)
	w.existed = w.record.away != "" || translate.Existed(w.home)
	w.unseen = w.record.away != "" && !w.record.seen
	w.gone = w.record.last != nil
	w.target = translate.Target{
		Origin: p.opts.Origin, Destination: p.opts.Destination, Node: node.name, Namespace: w.space.away,
		Patch: node.patch, Access: p.opts.Access,
	}
	if w.twin == twinUnknown {
		return w, p.settleTwin(ctx, w)
	}
	return w, nil
}

// awayPod returns the remote pod as the watch shows it, unless the provider has said since that it is gone. One without
// our mark is not ours, whatever labels it has.
func (p *Pods) awayPod(k key, space twin) *corev1.Pod {
	away := space.watch.pod(key{Namespace: space.away, Name: k.Name})
	if away != nil && (p.memory.isBuried(k, away.UID) || translate.HomeUID(away, p.opts.Origin) == "") {
		return nil
	}
	return away
}

// homePod returns the home pod of that name and its node; known is false while the watches cannot tell. While one
// Node's watch still shows a pod that is gone and another one its successor, the younger counts.
func (p *Pods) homePod(k key) (pod *corev1.Pod, on node, known bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known = len(p.nodes) > 0 || p.released
	for _, n := range p.nodes {
		known = known && n.watch.hasSynced()
		found := n.watch.pod(k)
		if found == nil || found.Spec.NodeName != n.name {
			continue
		}
		if pod == nil || pod.CreationTimestamp.Before(&found.CreationTimestamp) {
			pod, on = found, *n
		}
	}
	return pod, on, known
}

func (p *Pods) view() translate.View {
	return translate.View{
		NodeIPs: p.opts.NodeIPs, Address: p.opts.Address, Now: metav1.NewTime(p.opts.Clock.Now()),
		Unreachable: p.opts.Health != nil && p.opts.Health.Err() != nil,
	}
}
