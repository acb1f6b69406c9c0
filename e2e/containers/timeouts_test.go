package containers

import "time"

// How long a scenario waits. They are generous: the machine runs two control planes, a kubelet and the race detector.
const (
	// later is for what goes through several components and back.
	later = 2 * time.Minute
	// poll is how often a condition is looked at.
	poll = 200 * time.Millisecond
)
