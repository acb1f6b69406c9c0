package eviction

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Pace bounds how many pods are away from work at once because of evictions.
type Pace struct {
	// Percent of the pods of one controller, and of one namespace, that may be on their way at once.
	Percent int
	// Controller and Namespace are how many may be on their way at least.
	Controller, Namespace int
}

// DefaultPace is one pod of a controller and five of a namespace at once, or a twentieth if that is more.
func DefaultPace() Pace { return Pace{Percent: 5, Controller: 1, Namespace: 5} }

func (p Pace) ofController(pods int) int { return max(p.Controller, pods*p.Percent/100) }

func (p Pace) ofNamespace(pods int) int { return max(p.Namespace, pods*p.Percent/100) }

// group is what is known of the pods of one controller.
type group struct {
	// live are its pods that neither finished nor are being deleted.
	live int
	// onTheWay are its pods that are being deleted, and those that are not ready where they are permitted, with the
	// name of one of them.
	onTheWay int
	waitsFor string
	// stuck says why one of its pods could go nowhere: the others are like it.
	stuck string
}

// decide says whose turn it is: it sets the state of each violation. pods are all of the namespace, moved the
// controllers whose pods were evicted before.
//
// A controller's pods go while no more of them are on their way than the pace allows, from the deletion of one to the
// readiness of its replacement. So a replacement that does not come up stops the eviction of the others. What waits
// for a node already is promised its place before anything else is evicted.
func decide(found []violation, pods []corev1.Pod, moved map[types.UID]bool, pace Pace, room *room) error {
	groups, waiting := survey(found, pods, moved)
	for _, pod := range waiting {
		if _, err := room.take(pod); err != nil {
			return err
		}
	}
	onTheWay := underway(found, waiting, groups, moved)
	limit := pace.ofNamespace(unfinished(pods))
	for i := range found {
		v := &found[i]
		if v.state != queued {
			continue
		}
		if onTheWay >= limit {
			v.why = fmt.Sprintf("%d pods of this namespace are on their way", onTheWay)
			continue
		}
		if err := turn(v, groups[owner(v.pod)], pace, room); err != nil {
			return err
		}
		if v.state == next {
			onTheWay++
			groups[owner(v.pod)].depart(v.pod)
		}
	}
	return nil
}

// turn says what is to become of one pod as far as its controller is concerned.
func turn(v *violation, g *group, pace Pace, room *room) error {
	if g.onTheWay >= pace.ofController(g.live) {
		v.why = fmt.Sprintf("waiting for %s", g.waitsFor)
		return nil
	}
	why := g.stuck
	if why == "" {
		var err error
		if why, err = room.take(v.pod); err != nil {
			return err
		}
	}
	if v.state = next; why != "" {
		v.state, v.why = stuck, why
		if !hasClaims(v.pod) {
			g.stuck = why
		}
	}
	return nil
}

// underway counts the pods of the namespace that are on their way. Of a controller whose pods were evicted these are
// all that are not ready yet; of another one, which may be unwell for its own reasons, those that leave or look for a
// node.
func underway(found []violation, waiting []*corev1.Pod, groups map[types.UID]*group, moved map[types.UID]bool) int {
	count := 0
	for _, v := range found {
		if v.state == leaving && !moved[owner(v.pod)] {
			count++
		}
	}
	for _, pod := range waiting {
		if uid := owner(pod); groups[uid] != nil && !moved[uid] {
			count++
		}
	}
	for uid := range moved {
		count += groups[uid].onTheWay
	}
	return count
}

// survey counts the pods of every controller that has violations, or had some that were evicted, and returns the pods
// that wait for a node.
func survey(found []violation, pods []corev1.Pod, moved map[types.UID]bool) (map[types.UID]*group, []*corev1.Pod) {
	groups, violating := map[types.UID]*group{}, map[types.UID]bool{}
	for uid := range moved {
		groups[uid] = &group{}
	}
	for _, v := range found {
		violating[v.pod.UID] = true
		if uid := owner(v.pod); uid != "" && groups[uid] == nil {
			groups[uid] = &group{}
		}
	}
	var waiting []*corev1.Pod
	for i := range pods {
		pod := &pods[i]
		if finished(pod) {
			continue
		}
		if waits(pod) {
			waiting = append(waiting, pod)
		}
		if g := groups[owner(pod)]; g != nil {
			g.count(pod, violating[pod.UID])
		}
	}
	return groups, waiting
}

// waits says that the scheduler looks for a node for the pod.
func waits(pod *corev1.Pod) bool {
	return pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil && len(pod.Spec.SchedulingGates) == 0
}

// count takes one of the controller's pods into account.
func (g *group) count(pod *corev1.Pod, violating bool) {
	if pod.DeletionTimestamp == nil {
		g.live++
	}
	if pod.DeletionTimestamp != nil || !ready(pod) && !violating {
		g.depart(pod)
	}
}

// depart notes that a pod, or its replacement, is on its way.
func (g *group) depart(pod *corev1.Pod) {
	g.onTheWay++
	g.waitsFor = first(g.waitsFor, pod.Name)
}

// first returns the name that comes first, so that the same state always makes the same sentence.
func first(name, other string) string {
	if name == "" || other < name {
		return other
	}
	return name
}

func unfinished(pods []corev1.Pod) int {
	count := 0
	for i := range pods {
		if !finished(&pods[i]) {
			count++
		}
	}
	return count
}

// owner returns the UID of the pod's controller, "" when it has none.
func owner(pod *corev1.Pod) types.UID {
	if owner := metav1.GetControllerOf(pod); owner != nil {
		return owner.UID
	}
	return ""
}

func hasClaims(pod *corev1.Pod) bool {
	for _, volume := range pod.Spec.Volumes {
		if volume.PersistentVolumeClaim != nil {
			return true
		}
	}
	return false
}
