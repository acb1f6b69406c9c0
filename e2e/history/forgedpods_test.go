package history_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/twinspace/twinspace/e2e/history"
)

const (
	pending   = corev1.PodPending
	running   = corev1.PodRunning
	failed    = corev1.PodFailed
	succeeded = corev1.PodSucceeded
)

// begun is a pod that runs on both sides, from second 1 on.
func begun() *forgery {
	return forge().at(1).home("1", pending).away(b, "1", running).home("1", running)
}

func forceDelete(n history.Note) history.Note {
	n.Kind, n.Name = history.Action, history.ForceDelete
	return n
}

func TestAHomePodHasOneRemotePod(t *testing.T) { // I1
	const atOnce = "I1: home pod 1 had two remote pods at once: b shop-home/db-0 and c shop-home/db-0"
	const overlap = "I2: remote pod shop-home/db-0 of home pod 1 began on c before that of 1 had ended on b"
	forged{
		"one": {begun(), verdict{}},
		"a second one on another provider": {
			begun().at(5).away(c, "1", pending), violates(atOnce, overlap),
		},
		"a second one that is gone again": {
			begun().at(5).away(c, "1", pending).at(8).awayGone(c), violates(atOnce, overlap),
		},
		"a second one that begins within what may be heard late": {
			begun().at(5).awayGone(b).at(4).away(c, "1", pending), verdict{},
		},
		"two that run one after the other": {
			begun().at(5).awayGone(b).at(9).away(c, "1", running),
			violates("I1: home pod 1 ran twice: as b shop-home/db-0 and as c shop-home/db-0"),
		},
		"a second one, since somebody deleted the first before it ran": {
			forge().at(1).home("1", pending).away(b, "1", pending).at(3).awayGone(b).at(5).away(c, "1", running),
			verdict{},
		},
		"a second one that was finished is none": {
			begun().at(5).away(b, "1", failed).at(9).away(c, "1", pending), verdict{},
		},
		"two of another consumer's": {
			forge().at(1).is(b, "pods", foreignPod()).is(c, "pods", foreignPod()), verdict{},
		},
		"nobody heard when the first one went": {
			begun().at(9).away(c, "1", pending).at(20).gap(b, "pods", 3).awayGone(b),
			verdict{unknown: []string{atOnce, overlap}},
		},
		"the first one was there when nobody listened and is there again": {
			begun().at(9).away(c, "1", pending).at(20).gap(b, "pods", 3).away(b, "1", running),
			violates(atOnce, overlap),
		},
	}.check(t)
}

func foreignPod() *corev1.Pod {
	pod := awayPod(b, "1", running)
	pod.Labels, pod.UID = nil, ""
	return pod
}

func TestPodsOfOneNameDoNotOverlap(t *testing.T) { // I2
	const overlap = "I2: remote pod shop-home/db-0 of home pod 2 began on c before that of 1 had ended on b"
	ended := func() *forgery { return begun().at(5).home("1", failed, deleting).homeGone() }
	forced := func(n history.Note) *forgery {
		return begun().at(4).note(forceDelete(n)).at(5).homeGone().home("2", pending).at(6).away(c, "2", pending).
			at(20).awayGone(b)
	}
	forged{
		"one after the other": {
			begun().at(5).awayGone(b).at(6).home("1", failed, deleting).homeGone().home("2", pending).
				at(7).away(c, "2", pending),
			verdict{},
		},
		"a successor that does not wait": {
			ended().home("2", pending).at(6).away(c, "2", pending).at(20).awayGone(b),
			violates(overlap, "I8: home pod shop/db-0 left before its remote pod did on b"),
		},
		"a predecessor that is finished, and not yet gone": {
			begun().at(4).away(b, "1", succeeded).home("1", succeeded).at(5).homeGone().home("2", pending).
				at(6).away(c, "2", pending).at(20).awayGone(b),
			verdict{},
		},
		"a user did not wait for the end":        {forced(history.Note{UID: "1"}), verdict{}},
		"a user did not, and noted but its name": {forced(history.Note{Object: "shop/db-0"}), verdict{}},
		"a user did not wait for that of another": {
			forced(history.Note{Object: "shop/db-1"}),
			violates(overlap, "I8: home pod shop/db-0 left before its remote pod did on b",
				"O13: home pod shop/db-0 was Running when it went"),
		},
		"pods of other names": {
			begun().home("2", pending, named("db-1")).at(6).away(c, "2", pending, named("db-1")), verdict{},
		},
	}.check(t)
}

func TestPhasesAndRestartsOnlyGoForward(t *testing.T) { // I5
	local := on("an ordinary node")
	forged{
		"forward": {begun().at(5).away(b, "1", succeeded).home("1", succeeded), verdict{}},
		"from running to pending": {
			begun().at(5).home("1", pending), violates("I5: home pod shop/db-0 went from Running to Pending"),
		},
		"from failed to succeeded": {
			begun().at(5).home("1", failed).home("1", succeeded),
			violates("I5: home pod shop/db-0 went from Failed to Succeeded"),
		},
		"fewer restarts": {
			begun().at(5).home("1", running, container(2, true, 1)).home("1", running, container(1, true, 1)),
			violates("I5: container app of home pod shop/db-0 was restarted 2 times, and then fewer"),
		},
		"a successor of the same name begins anew": {
			begun().at(5).home("1", running, container(2, true, 1)).awayGone(b).
				home("1", failed, deleting, container(2, true, 1)).homeGone().at(9).home("2", pending),
			verdict{},
		},
		"a pod that never left home is its kubelet's": {
			forge().at(1).home("1", running, local).home("1", pending, local), verdict{},
		},
		"what happened while nobody listened still goes forward": {
			begun().at(9).gap(home, "pods", 3).home("1", pending),
			violates("I5: home pod shop/db-0 went from Running to Pending"),
		},
	}.check(t)
}

func TestRemoteStatesAreAppliedInOrder(t *testing.T) { // I7
	said := func() *forgery {
		return begun().at(2).away(b, "1", running, container(0, true, 2)).
			at(4).away(b, "1", running, container(1, true, 4)).at(6).away(b, "1", running, container(2, true, 6))
	}
	const disorder = "I7: home pod shop/db-0 showed states of container app in another order than b had said them"
	forged{
		"all of them": {
			said().at(7).home("1", running, container(0, true, 2)).home("1", running, container(1, true, 4)).
				home("1", running, container(2, true, 6)),
			verdict{},
		},
		"some of them": {
			said().at(7).home("1", running, container(0, true, 2)).home("1", running, container(2, true, 6)), verdict{},
		},
		"an old one": {
			said().at(7).home("1", running, container(0, true, 4)).home("1", running, container(1, true, 4)).
				home("1", running, container(1, true, 2)).home("1", running, container(2, true, 6)),
			verdict{},
		},
		"one after a later one": {
			forge().at(1).home("1", running).away(b, "1", running, container(0, true, 2)).
				away(b, "1", running, container(0, true, 4)).home("1", running, container(0, true, 4)).
				home("1", running, container(0, true, 2)),
			violates(disorder),
		},
		"one that is said again": {
			forge().at(1).home("1", running).away(b, "1", running, container(0, true, 2)).
				away(b, "1", running, container(0, true, 4)).away(b, "1", running, container(0, true, 2)).
				home("1", running, container(0, true, 4)).home("1", running, container(0, true, 2)),
			verdict{},
		},
	}.check(t)
}

func TestAHomePodLeavesAfterItsRemotePod(t *testing.T) { // I8, O13
	const early = "I8: home pod shop/db-0 left before its remote pod did on b"
	forged{
		"after it": {begun().at(5).awayGone(b).home("1", failed, deleting).homeGone(), verdict{}},
		"before it": {
			begun().at(5).home("1", failed, deleting).homeGone().at(9).awayGone(b), violates(early),
		},
		"before it, and it stays": {
			begun().at(5).home("1", failed, deleting).homeGone().at(9).away(b, "1", running), violates(early),
		},
		"before it, by what may be heard late": {
			begun().at(5).home("1", failed, deleting).homeGone().at(6).awayGone(b), verdict{},
		},
		"it was finished, and was let go at once": {
			begun().at(5).away(b, "1", succeeded).home("1", succeeded).homeGone().at(9).awayGone(b), verdict{},
		},
		"by force": {
			begun().at(4).note(forceDelete(history.Note{UID: "1"})).at(5).homeGone().at(9).awayGone(b), verdict{},
		},
		"the provider took the remote pod away": {
			begun().at(5).awayGone(b).home("1", failed).homeGone(), verdict{},
		},
		"the provider's API server was away meanwhile, and its pod went then": {
			begun().at(8).home("1", failed, deleting).homeGone().at(20).gap(b, "pods", 3).awayGone(b),
			verdict{unknown: []string{early}},
		},
		"the provider's API server was away before, and its pod was there after": {
			begun().at(8).home("1", failed, deleting).homeGone().at(20).gap(b, "pods", 12).awayGone(b), violates(early),
		},
		"home was not listened to when it left": {
			begun().at(8).awayGone(b).at(20).gap(home, "pods", 3).homeGone(),
			verdict{unknown: []string{early, "O13: home pod shop/db-0 was Running when it went"}},
		},
		"without a last phase": {
			begun().at(5).awayGone(b).at(6).homeGone(), violates("O13: home pod shop/db-0 was Running when it went"),
		},
		"a pod of an ordinary node goes as its kubelet likes": {
			forge().at(1).home("1", running, on("an ordinary node")).homeGone(), verdict{},
		},
		"a fault that excuses it, for that pod": {
			begun().note(history.Note{
				Kind: history.Action, Name: "force-finalize", Object: "shop", Excuses: []history.Invariant{history.I8},
			}).at(5).home("1", failed, deleting).homeGone().at(9).awayGone(b),
			verdict{excused: []string{early}},
		},
		"a fault that excuses it, for another": {
			begun().note(history.Note{
				Kind: history.Action, Name: "force-finalize", Object: "other", Excuses: []history.Invariant{history.I8},
			}).at(5).home("1", failed, deleting).homeGone().at(9).awayGone(b),
			violates(early),
		},
	}.check(t)
}
