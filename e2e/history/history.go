// Package history finds out whether promises were kept, from everything that the API servers said while a test did its
// worst. What is checked follows from that alone, so no component is taken at its word.
//
// A [Recording] writes down what all API servers say about everything, and what the lab does; a [Checker] decides
// I1-I11 of docs/acceptance.md from that record, after the fact or while it is written. A [Recorder] and a [History]
// are the same for the pods of a single test, in memory.
package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Change is one thing that one API server said about one pod.
type Change struct {
	Cluster string
	// Pod is the pod from then on, or, when it is gone, as it was last.
	Pod  *corev1.Pod
	Gone bool
	// At is when it was heard.
	At time.Time
	// Since is the earliest moment at which it can have happened, where that is not At.
	Since time.Time
}

// History is what was heard about home pods and about the remote pods of all providers; each list is in order as far as
// one cluster is concerned.
type History struct {
	Home, Away []Change
	// Forced are home pods that a user deleted by force: they leave first, and nobody knows how they ended.
	Forced map[types.UID]bool
	// Slack is how much later than it happened a change of one cluster may be heard than that of another.
	Slack time.Duration
}

// Broken returns a sentence for every promise about pods that was broken at any time: I1, more strictly, since a home
// pod has one remote pod in its whole life, I2, I5, I7, I8 and O13.
func (h History) Broken() []string {
	var out []string
	for _, f := range h.pods().judge(distant()) {
		out = append(out, f.String())
	}
	return out
}

// distant is later than everything: what has not happened then never did.
func distant() time.Time { return time.Unix(1<<40, 0) }

func (h History) pods() *pods {
	p := &pods{slack: h.Slack, whole: true, forced: h.Forced}
	for _, c := range h.Home {
		p.hearHome(c)
	}
	for _, c := range h.Away {
		p.away.hear(c)
	}
	return p
}

// AtRest returns a sentence for everything that may be so for a moment and not for long, as things are at the end: I3,
// a remote pod without its home pod, and I4, a home pod on one of the given nodes without its remote pod or a reason.
func (h History) AtRest(nodes ...string) []string {
	p := h.pods()
	p.virtual = func(node string) bool { return slices.Contains(nodes, node) }
	var out []string
	for _, f := range append(p.orphans(), p.unanswered()...) {
		out = append(out, f.String())
	}
	slices.SortFunc(out, strings.Compare)
	return out
}

// orphans is I3: remote pods without their home pods.
func (p *pods) orphans() []finding {
	var out []finding
	for _, l := range p.away.list {
		if home := p.home.byUID[l.owner]; !l.gone && l.owner != "" && (home == nil || home.gone) {
			out = append(out, l.findAway(I3, l.began.hi,
				fmt.Sprintf("remote pod %s on %s has no home pod", l, l.cluster)))
		}
	}
	return out
}

// unanswered is I4: what is wanted at home, is not there, and nobody says why.
func (p *pods) unanswered() []finding {
	answered := map[types.UID]bool{}
	for _, l := range p.away.list {
		answered[l.owner] = answered[l.owner] || !l.gone
	}
	var out []finding
	for _, l := range p.home.list {
		due := !l.gone && order(l.phase) != last && p.ours(l)
		if due && !answered[l.uid] && l.reason == "" {
			out = append(out, l.find(I4, l.began.hi,
				fmt.Sprintf("home pod %s has no remote pod, and says no reason", l)))
		}
	}
	return out
}
