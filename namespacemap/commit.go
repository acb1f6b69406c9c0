package namespacemap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// half is the part of a NamespaceMap that one writes.
type half string

const (
	// desiredHalf is what home asks for, currentHalf what the agent answers, reportHalf what it says of reflection.
	desiredHalf half = "spec"
	currentHalf half = "status"
	reportHalf  half = "reflection"
)

// place is where a key is written: each has one writer at a time.
type place struct {
	m    client.ObjectKey
	half half
}

// groupCommit writes single keys of NamespaceMaps, many in one patch. A patch makes the API server store, and every
// watcher read, the whole map, so its price does not depend on how many keys it carries. Whoever finds nobody writing
// writes at once; the keys that are handed over meanwhile gather, and the first of those who wait writes them all. Each
// caller gets the answer to the patch that carried its key. There is no timer and no goroutine: callers work for each
// other while they wait. The zero value is ready.
type groupCommit struct {
	mu     sync.Mutex
	places map[place]*queue
}

// queue is there while somebody writes to a place.
type queue struct{ waiting []*change }

// change is one key that somebody waits for.
type change struct {
	key   string
	value any // nil removes the key
	done  chan outcome

	// leads, left: whose turn it is to write, and who stopped waiting; under the lock.
	leads, left bool
}

// outcome is the answer to the patch that carried a key, or the word that it is the waiter's turn to write.
type outcome struct {
	m    *v1beta1.NamespaceMap
	err  error
	lead bool
}

// errBrokenOff is the answer to those for whom somebody else wrote who panicked.
var errBrokenOff = errors.New("the write was broken off")

// write returns the map as it was right after the key was written; nobody may change it.
func (g *groupCommit) write(ctx context.Context, c client.Client, at place, key string, value any,
) (*v1beta1.NamespaceMap, error) {
	mine := &change{key: key, value: value, done: make(chan outcome, 1)}
	for lead := g.join(at, mine); !lead; {
		select {
		case answer := <-mine.done:
			if !answer.lead {
				return answer.to(at, mine)
			}
			lead = true
		case <-ctx.Done():
			g.leave(at, mine)
			return nil, ctx.Err()
		}
	}
	g.lead(ctx, c, at)
	answer := <-mine.done
	return answer.to(at, mine)
}

// lead writes all that wait and ends the turn, also when the client panics: else nobody could write there ever again.
func (g *groupCommit) lead(ctx context.Context, c client.Client, at place) {
	group := g.take(at)
	answered := false
	defer func() {
		if !answered {
			g.fail(at, group)
		}
		g.handOver(at)
	}()
	g.commit(ctx, c, at, group)
	answered = true
}

// fail answers those of a group whose patch was broken off, and who have no answer yet.
func (g *groupCommit) fail(at place, group []*change) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, member := range group {
		if slices.Contains(g.places[at].waiting, member) {
			continue // given back: it writes, or is written, later
		}
		select {
		case member.done <- outcome{err: errBrokenOff}:
		default: // it has its answer
		}
	}
}

// to makes an answer to the group that of one caller.
func (o outcome) to(at place, mine *change) (*v1beta1.NamespaceMap, error) {
	if o.err != nil {
		return nil, fmt.Errorf("patch key %s of namespace map %s: %w", mine.key, at.m.Name, o.err)
	}
	return o.m, nil
}

// join queues a change and says whether its owner is the one to write.
func (g *groupCommit) join(at place, mine *change) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	q, busy := g.places[at]
	if !busy {
		if g.places == nil {
			g.places = map[place]*queue{}
		}
		q = &queue{}
		g.places[at] = q
		mine.leads = true
	}
	q.waiting = append(q.waiting, mine)
	return !busy
}

// take returns all that wait.
func (g *groupCommit) take(at place) []*change {
	g.mu.Lock()
	defer g.mu.Unlock()
	q := g.places[at]
	group := q.waiting
	q.waiting = nil
	return group
}

// leave is for one that waits no longer: what was not sent is not written any more.
func (g *groupCommit) leave(at place, mine *change) {
	g.mu.Lock()
	defer g.mu.Unlock()
	mine.left = true
	q := g.places[at]
	if q == nil {
		return
	}
	q.waiting = slices.DeleteFunc(q.waiting, func(other *change) bool { return other == mine })
	if mine.leads {
		g.promote(at, q)
	}
}

// handOver ends one's turn.
func (g *groupCommit) handOver(at place) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.promote(at, g.places[at])
}

// promote lets the first that waits write, if any; the lock is held.
func (g *groupCommit) promote(at place, q *queue) {
	if len(q.waiting) == 0 {
		delete(g.places, at)
		return
	}
	next := q.waiting[0]
	next.leads = true
	next.done <- outcome{lead: true}
}

// commit sends one patch and gives everybody the answer. When the API server refuses what a group asks for, it is
// halved until the key that is to blame is alone, so that it fails nobody else.
func (g *groupCommit) commit(ctx context.Context, c client.Client, at place, group []*change) {
	now, err := patchKeys(ctx, c, at, group)
	switch {
	case err != nil && ctx.Err() != nil:
		g.giveBack(at, group, err)
	case len(group) > 1 && divisible(err):
		g.commit(ctx, c, at, group[:len(group)/2])
		g.commit(ctx, c, at, group[len(group)/2:])
	default:
		for _, member := range group {
			member.done <- outcome{m: now, err: err}
		}
	}
}

// giveBack lets the others try without the one who wrote for them and was told to stop.
func (g *groupCommit) giveBack(at place, group []*change, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var others []*change
	for _, member := range group {
		switch {
		case member.leads:
			member.done <- outcome{err: err}
		case !member.left:
			others = append(others, member)
		}
	}
	q := g.places[at]
	q.waiting = append(others, q.waiting...)
}

// divisible says that a part of the patch could succeed where the whole did not.
func divisible(err error) bool {
	var refusal apierrors.APIStatus
	if !errors.As(err, &refusal) {
		return false
	}
	status := refusal.Status()
	switch status.Code {
	case 400, 403, 413, 422:
		return true
	default: // the store's limit comes as an internal error
		return strings.Contains(status.Message, "request is too large")
	}
}

func patchKeys(ctx context.Context, c client.Client, at place, group []*change) (*v1beta1.NamespaceMap, error) {
	keys := make(map[string]any, len(group))
	for _, member := range group {
		keys[member.key] = member.value
	}
	body := map[string]any{}
	switch at.half {
	case desiredHalf:
		body["spec"] = map[string]any{"desiredMapping": keys}
		// Who owns which key would take as much again as the keys, and take longer to compute than all else: an empty
		// entry clears it, and as long as nobody applies the map, the API server does not begin again.
		body["metadata"] = map[string]any{"managedFields": []any{map[string]any{}}}
	case currentHalf:
		body["status"] = map[string]any{"currentMapping": keys}
	case reportHalf:
		body["status"] = map[string]any{"reflection": keys}
	}
	data, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode %d keys: %w", len(keys), err)
	}
	now := &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{Namespace: at.m.Namespace, Name: at.m.Name}}
	patch := client.RawPatch(types.MergePatchType, data)
	if at.half == desiredHalf {
		err = c.Patch(ctx, now, patch)
	} else {
		err = c.Status().Patch(ctx, now, patch)
	}
	return now, err
}
