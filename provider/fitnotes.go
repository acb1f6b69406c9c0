package provider

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/schedplugin/placement"
)

// maxUnfit is how many controllers a Node names at most. Of more, those go first that would soonest.
const maxUnfit = 100

// unfitNobody is the annotation's text just before it goes.
const unfitNobody = "{}"

// unfits are the controllers whose pods no node of the provider took, by Node. What counts is what the Node says, which
// survives us and which anybody may take away; here is that, and what it is yet to say.
type unfits struct {
	mu        sync.Mutex
	nodes     map[string]map[types.UID]unfit
	listeners []func()
}

// unfit is one controller on one Node.
type unfit struct {
	until time.Time
	// shown: the Node says so.
	shown bool
}

func newUnfits() *unfits { return &unfits{nodes: map[string]map[types.UID]unfit{}} }

func (u *unfits) notify(f func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.listeners = append(u.listeners, f)
}

// tell returns until when the Node says that no more pods of a controller are to come, and true; or false, having seen
// to it that it will. What is said for less than half of the time is said anew, so that the pods of one controller need
// one write.
func (u *unfits) tell(node string, controller types.UID, now time.Time, long time.Duration) (time.Time, bool) {
	u.mu.Lock()
	said := u.nodes[node][controller]
	if said.shown && said.until.Sub(now) > long/2 {
		u.mu.Unlock()
		return said.until, true
	}
	if said.shown || said.until.IsZero() {
		if u.nodes[node] == nil {
			u.nodes[node] = map[types.UID]unfit{}
		}
		u.nodes[node][controller] = unfit{until: now.Add(long).Truncate(time.Second)}
	}
	listeners := u.listeners
	u.mu.Unlock()
	for _, f := range listeners {
		f()
	}
	return time.Time{}, false
}

// on brings what is remembered of a Node in line with what it says, and returns what it shall say and when that changes
// by itself.
func (u *unfits) on(node string, live *corev1.Node, now time.Time) (text string, next time.Duration, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	said := ""
	if live != nil {
		said = live.Annotations[v1beta1.AnnotationUnfit]
	}
	entries := current(u.nodes[node], placement.ParseUnfit(said), now)
	if delete(u.nodes, node); len(entries) > 0 {
		u.nodes[node] = entries
	}
	untils := make(map[types.UID]time.Time, len(entries))
	for uid, e := range entries {
		untils[uid] = e.until
		if rest := e.until.Sub(now); next == 0 || rest < next {
			next = rest
		}
	}
	text, err = placement.FormatUnfit(untils)
	if text == "" && err == nil && said != "" && said != unfitNobody {
		text = unfitNobody // taken over from whoever wrote it: only what is our own can be taken away
	}
	return text, next, err
}

// current joins what is remembered with what the Node says. It is pure.
func current(had map[types.UID]unfit, said map[types.UID]time.Time, now time.Time) map[types.UID]unfit {
	out := map[types.UID]unfit{}
	for uid, e := range had {
		if _, still := said[uid]; still || !e.shown { // what it no longer says was taken away by somebody
			out[uid] = e
		}
	}
	for uid, until := range said {
		if e, known := out[uid]; !known || e.shown || e.until.Equal(until) {
			out[uid] = unfit{until: until, shown: true}
		}
	}
	maps.DeleteFunc(out, func(_ types.UID, e unfit) bool { return !e.until.After(now) })
	if len(out) <= maxUnfit {
		return out
	}
	lasting := slices.SortedFunc(maps.Keys(out), func(a, b types.UID) int {
		return cmp.Or(out[b].until.Compare(out[a].until), cmp.Compare(a, b))
	})
	for _, uid := range lasting[maxUnfit:] {
		delete(out, uid)
	}
	return out
}
