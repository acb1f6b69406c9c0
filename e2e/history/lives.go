package history

import (
	"fmt"
	"hash/fnv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// moment is when something happened: not before lo, not after hi.
type moment struct{ lo, hi time.Time }

// when is the moment of something that was heard of at a time.
func when(since, at time.Time) moment {
	if since.IsZero() || since.After(at) {
		return moment{at, at}
	}
	return moment{since, at}
}

// certainty is how sure it is that a promise was broken.
type certainty int

const (
	kept certainty = iota
	unknown
	broken
)

// after says how sure it is that one moment was later than another, by more than the slack.
func (m moment) after(other moment, slack time.Duration) certainty {
	switch {
	case m.lo.After(other.hi.Add(slack)):
		return broken
	case m.hi.After(other.lo.Add(slack)):
		return unknown
	default:
		return kept
	}
}

// life is what is remembered of one pod, from its first change to its last.
type life struct {
	cluster, namespace, name string
	uid                      types.UID
	// owner is the UID of the home pod that a remote pod belongs to, or "" for somebody else's; home is the name of
	// that pod.
	owner types.UID
	home  string
	node  string
	phase corev1.PodPhase
	// reason is why a pod that does not run does not.
	reason string
	// announced: it was given time to end.
	announced bool
	// ran: it has been seen to run, or to have run.
	ran  bool
	gone bool
	// Stopped is when nothing of it ran any more: it was finished, or gone, which is ended.
	began, stopped, ended moment
	restarts              map[string]int32
	// states are what each container was seen to do, in order.
	states map[string][]uint64
}

func (l *life) String() string { return l.namespace + "/" + l.name }

// end is when nothing of it ran any more, as far as is known now.
func (l *life) end(now time.Time) moment {
	if l.stopped.hi.IsZero() {
		return moment{now, now}
	}
	return l.stopped
}

// left is when it was gone, as far as is known now.
func (l *life) left(now time.Time) moment {
	if !l.gone {
		return moment{now, now}
	}
	return l.ended
}

// lives are those of the pods of one side, in the order in which they began.
type lives struct {
	list  []*life
	byUID map[types.UID]*life
}

// hear takes a change down and returns the life that it is about, and the phase that it had before.
func (ls *lives) hear(c Change) (*life, corev1.PodPhase) {
	l := ls.byUID[c.Pod.UID]
	if l == nil {
		l = newLife(c)
		if ls.byUID == nil {
			ls.byUID = map[types.UID]*life{}
		}
		ls.byUID[c.Pod.UID] = l
		ls.list = append(ls.list, l)
	}
	was := l.phase
	l.hear(c)
	return l, was
}

func newLife(c Change) *life {
	owner := types.UID(c.Pod.Annotations[v1beta1.AnnotationHomeUID])
	l := &life{
		cluster: c.Cluster, namespace: c.Pod.Namespace, name: c.Pod.Name, uid: c.Pod.UID, owner: owner,
		home: c.Pod.Namespace, began: when(c.Since, c.At), restarts: map[string]int32{}, states: map[string][]uint64{},
	}
	if namespace := c.Pod.Annotations[v1beta1.AnnotationHomeNamespace]; namespace != "" {
		l.home = namespace
	}
	l.home += "/" + c.Pod.Name
	// The API server counts whole seconds.
	if made := c.Pod.CreationTimestamp.Time; made.After(l.began.lo) && made.Before(l.began.hi) {
		l.began.lo = made
	}
	return l
}

func (l *life) hear(c Change) {
	status := &c.Pod.Status
	l.phase, l.reason, l.node = status.Phase, excuse(status), c.Pod.Spec.NodeName
	l.ran = l.ran || order(status.Phase) > 0
	if l.stopped.hi.IsZero() && (c.Gone || order(status.Phase) == last) {
		l.stopped = when(c.Since, c.At)
	}
	if c.Gone {
		l.gone, l.ended = true, when(c.Since, c.At)
	} else {
		l.announced = c.Pod.DeletionTimestamp != nil && ptr.Deref(c.Pod.DeletionGracePeriodSeconds, 0) > 0
	}
	for _, container := range containers(status) {
		told := l.states[container.Name]
		if state := digest(container); len(told) == 0 || told[len(told)-1] != state {
			l.states[container.Name] = append(told, state)
		}
	}
}

// excuse is what a pod says for itself when it does not run.
func excuse(s *corev1.PodStatus) string {
	for _, c := range s.Conditions {
		if s.Reason == "" && c.Type == offloaded && c.Status == corev1.ConditionFalse {
			return c.Reason
		}
	}
	return s.Reason
}

// offloaded is the condition by which a home pod says whether it has a remote pod.
const offloaded corev1.PodConditionType = "offloading.liqo.io/Offloaded"

// last is the order of the last phases.
const last = 2

// order is how far a phase is.
func order(p corev1.PodPhase) int {
	switch p {
	case corev1.PodRunning:
		return 1
	case corev1.PodSucceeded, corev1.PodFailed:
		return last
	default:
		return 0
	}
}

// containers are the statuses of those whose restarts are counted.
func containers(s *corev1.PodStatus) []corev1.ContainerStatus {
	out := make([]corev1.ContainerStatus, 0, len(s.InitContainerStatuses)+len(s.ContainerStatuses))
	return append(append(out, s.InitContainerStatuses...), s.ContainerStatuses...)
}

// digest stands for what a container does, in which incarnation.
func digest(c corev1.ContainerStatus) uint64 {
	hash := fnv.New64a()
	_, _ = fmt.Fprintf(hash, "%d ", c.RestartCount)
	switch s := c.State; {
	case s.Running != nil:
		_, _ = fmt.Fprint(hash, "runs ", s.Running.StartedAt.Unix())
	case s.Terminated != nil:
		_, _ = fmt.Fprint(hash, "ended ", s.Terminated.ExitCode, s.Terminated.Reason, s.Terminated.FinishedAt.Unix())
	case s.Waiting != nil:
		_, _ = fmt.Fprint(hash, "waits ", s.Waiting.Reason)
	}
	return hash.Sum64()
}

// resourcePods is the source of what is said about pods.
const resourcePods = "pods"
