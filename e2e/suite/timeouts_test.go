package suite

import "time"

// How long a scenario waits. They are generous, because a machine with two cores runs three control planes and the race
// detector at once; what is measured is measured by e2e/bench.
const (
	// later is for what goes through several components and back.
	later = 90 * time.Second
	// outage is for what must wait until a cut provider counts as unreachable, or is back.
	outage = 2 * time.Minute
	// unreached is what is promised for the endpoints of a provider to be not ready elsewhere when it cannot be
	// reached.
	unreached = 50 * time.Second
	// soon is what is promised for an edit to reach pods that are pending.
	soon = 2 * time.Second
	// decided is until the scheduler has decided about pods and their nodes have begun with them.
	decided = 45 * time.Second
	// steady is for how long something that must not happen is watched for.
	steady = 3 * time.Second
	// skew is how much later a change of one cluster may be heard than that of another. What takes its time to end on
	// purpose takes longer.
	skew = 2 * time.Second
	// patience is for how long providers may find no node for a pod, and grudge for how long its controller's pods are
	// not sent there then.
	patience, grudge = 20 * time.Second, 30 * time.Second
	// left is how soon a Secret must have left a provider after the last reference to it.
	left = 30 * time.Second
	// contested is until what others do to copies is over for sure: a minute until it is put right once more, and one
	// in which nobody undoes that.
	contested = 3 * time.Minute
	// idle is for how long a system that is left alone is watched.
	idle = time.Minute
	// poll is how often a condition is looked at.
	poll = 200 * time.Millisecond
)
