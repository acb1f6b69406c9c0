// Package history finds out whether promises about pods were kept, from everything that the API servers said about them
// while a test did its worst. What is checked follows from the changes alone, so no component is taken at its word.
package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// Change is one thing that one API server said about one pod.
type Change struct {
	Cluster string
	// Pod is the pod from then on, or, when it is gone, as it was last.
	Pod  *corev1.Pod
	Gone bool
	// At is when it was heard.
	At time.Time
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

// Broken returns a sentence for every promise that was broken at any time. They are called as in docs/acceptance.md.
func (h History) Broken() []string {
	var out []string
	for _, rule := range []func() []string{h.twice, h.overlapping, h.backwards, h.early, h.unfinished} {
		out = append(out, rule()...)
	}
	return out
}

// owner returns the UID of the home pod that a remote pod belongs to, or "" for somebody else's.
func owner(pod *corev1.Pod) types.UID { return types.UID(pod.Annotations[v1beta1.AnnotationHomeUID]) }

func name(pod *corev1.Pod) string { return pod.Namespace + "/" + pod.Name }

// life is one pod from its first change to its last.
type life struct {
	pod      *corev1.Pod // as it was last
	cluster  string
	from, to time.Time
	gone     bool
	// announced: it was given time to end.
	announced bool
}

// lives returns the lives in the order in which they began.
func lives(changes []Change) []*life {
	var out []*life
	byUID := map[types.UID]*life{}
	for _, c := range changes {
		l := byUID[c.Pod.UID]
		if l == nil {
			l = &life{cluster: c.Cluster, from: c.At}
			byUID[c.Pod.UID] = l
			out = append(out, l)
		}
		l.pod = c.Pod
		if c.Gone {
			l.gone, l.to = true, c.At
		} else {
			l.announced = c.Pod.DeletionTimestamp != nil && ptr.Deref(c.Pod.DeletionGracePeriodSeconds, 0) > 0
		}
	}
	return out
}

// twice is I1, and more: a home pod has one remote pod in its whole life.
func (h History) twice() []string {
	var out []string
	first := map[types.UID]*life{}
	for _, l := range lives(h.Away) {
		uid := owner(l.pod)
		if uid == "" {
			continue
		}
		if had := first[uid]; had != nil {
			out = append(out, fmt.Sprintf("I1: home pod %s had two remote pods: %s %s and %s %s", uid,
				had.cluster, name(had.pod), l.cluster, name(l.pod)))
			continue
		}
		first[uid] = l
	}
	return out
}

// overlapping is I2: of two home pods of one name, which is what StatefulSets make, the second one's remote pod begins
// when the first one's has ended.
func (h History) overlapping() []string {
	var out []string
	last := map[string]*life{}
	for _, l := range lives(h.Away) {
		if owner(l.pod) == "" {
			continue
		}
		had := last[name(l.pod)]
		last[name(l.pod)] = l
		if had == nil || h.Forced[owner(had.pod)] {
			continue
		}
		if !had.gone || had.to.After(l.from.Add(h.Slack)) {
			const says = "I2: remote pod %s of home pod %s began on %s before that of %s had ended on %s"
			out = append(out, fmt.Sprintf(says, name(l.pod), owner(l.pod), l.cluster, owner(had.pod), had.cluster))
		}
	}
	return out
}

// order is how far a phase is.
func order(p corev1.PodPhase) int {
	switch p {
	case corev1.PodRunning:
		return 1
	case corev1.PodSucceeded, corev1.PodFailed:
		return 2
	default:
		return 0
	}
}

// backwards is I5 and I7: phases only move forward, finished stays as it is, and restarts do not fall.
func (h History) backwards() []string {
	var out []string
	last := map[types.UID]*corev1.Pod{}
	for _, c := range h.Home {
		had := last[c.Pod.UID]
		last[c.Pod.UID] = c.Pod
		if had == nil {
			continue
		}
		was, is := had.Status.Phase, c.Pod.Status.Phase
		if order(is) < order(was) || order(was) == 2 && is != was {
			out = append(out, fmt.Sprintf("I5: home pod %s went from %s to %s", name(c.Pod), was, is))
		}
		out = append(out, fewerRestarts(had, c.Pod)...)
	}
	return out
}

func fewerRestarts(had, is *corev1.Pod) []string {
	var out []string
	for _, before := range had.Status.ContainerStatuses {
		i := slices.IndexFunc(is.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
			return s.Name == before.Name
		})
		if i < 0 || is.Status.ContainerStatuses[i].RestartCount < before.RestartCount {
			out = append(out, fmt.Sprintf("I5: container %s of home pod %s was restarted %d times, and then fewer",
				before.Name, name(is), before.RestartCount))
		}
	}
	return out
}

// early is I8: a home pod leaves only after its remote pod. Nobody is asked about one that was finished before it was
// deleted: Kubernetes lets it go at once.
func (h History) early() []string {
	remotes := map[types.UID]*life{}
	for _, l := range lives(h.Away) {
		if uid := owner(l.pod); uid != "" {
			remotes[uid] = l
		}
	}
	var out []string
	for _, l := range lives(h.Home) {
		remote := remotes[l.pod.UID]
		atOnce := !l.announced && order(l.pod.Status.Phase) == 2
		if !l.gone || remote == nil || atOnce || h.Forced[l.pod.UID] {
			continue
		}
		if !remote.gone || remote.to.After(l.to.Add(h.Slack)) {
			out = append(out, fmt.Sprintf("I8: home pod %s left before its remote pod did on %s",
				name(l.pod), remote.cluster))
		}
	}
	return out
}

// unfinished is O13: a home pod that ran has a last phase before it goes.
func (h History) unfinished() []string {
	var out []string
	for _, l := range lives(h.Home) {
		if l.gone && !h.Forced[l.pod.UID] && l.pod.Status.Phase == corev1.PodRunning {
			out = append(out, fmt.Sprintf("O13: home pod %s was %s when it went", name(l.pod), l.pod.Status.Phase))
		}
	}
	return out
}

// AtRest returns a sentence for everything that may be so for a moment and not for long, as things are at the end: I3,
// a remote pod without its home pod, and I4, a home pod on one of the given nodes without its remote pod or a reason.
func (h History) AtRest(nodes ...string) []string {
	living := map[types.UID]bool{}
	for _, l := range lives(h.Home) {
		living[l.pod.UID] = !l.gone
	}
	remotes, out := map[types.UID]bool{}, []string(nil)
	for _, l := range lives(h.Away) {
		uid := owner(l.pod)
		if l.gone || uid == "" {
			continue
		}
		remotes[uid] = true
		if !living[uid] {
			out = append(out, fmt.Sprintf("I3: remote pod %s on %s has no home pod", name(l.pod), l.cluster))
		}
	}
	out = append(out, h.unanswered(remotes, nodes)...)
	slices.SortFunc(out, strings.Compare)
	return out
}

// unanswered is I4: what is wanted at home, is not there, and nobody says why.
func (h History) unanswered(remotes map[types.UID]bool, nodes []string) []string {
	var out []string
	for _, l := range lives(h.Home) {
		due := !l.gone && order(l.pod.Status.Phase) != 2 && slices.Contains(nodes, l.pod.Spec.NodeName)
		if due && !remotes[l.pod.UID] && l.pod.Status.Reason == "" {
			out = append(out, fmt.Sprintf("I4: home pod %s has no remote pod, and says no reason", name(l.pod)))
		}
	}
	return out
}
