// Package failpoint lets a test end or stop one of our processes at a named step: between two requests, since what a
// process does outside itself it does by requests. There is something in it only with the build tag failpoints, by make
// build-faults; otherwise its functions return what they are given.
//
// Environment variable TWINSPACE_FAILPOINTS says what is to go wrong, as in
//
//	after-remote-pod-created=kill,skip:3;clock=+10m
package failpoint

// Side is which API server a transport leads to.
type Side string

// The two sides, as names of steps have them.
const (
	Home   Side = "home"
	Remote Side = "remote"
)
