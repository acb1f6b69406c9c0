package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"syscall"
	"time"
)

const (
	// warmUp pods are scheduled before the measured ones: caches are filled, and the policies are known, after them.
	warmUp = 50
	// trailing is how long after the last binding the scheduler's events may still be written.
	trailing = time.Second
)

// schedulingRound is what one round took.
type schedulingRound struct {
	// Seconds from the moment the scheduler may take pods until the last is bound.
	Seconds float64
	// CPU seconds of the scheduler, and of the API server.
	CPU, ServerCPU float64
	// Away is the number of pods on virtual nodes.
	Away int
}

// round schedules the pods of one side, with a scheduler of its own that is held back until all of them exist.
func (c *schedulingCluster) round(ctx context.Context, s side, o schedulingOptions) (r schedulingRound, err error) {
	ctx, cancel := context.WithTimeout(ctx, roundTimeout)
	defer cancel()
	sched, err := c.start(ctx, s)
	if err != nil {
		return r, err
	}
	defer sched.stop()
	if err := c.pods(ctx, s, "warm", warmUp); err != nil {
		return r, err
	}
	if err := sched.wait(ctx, &sched.bound, warmUp); err != nil {
		return r, fmt.Errorf("warm up: %w", err)
	}
	release := sched.hold()
	defer release()
	if err := c.pods(ctx, s, "pod", o.pods); err != nil {
		return r, err
	}
	if err := sched.wait(ctx, &sched.seen, warmUp+o.pods); err != nil {
		return r, err
	}
	away := sched.away.Load()
	runtime.GC() // of what was needed to create the pods
	end, err := c.profile(o, s)
	if err != nil {
		return r, err
	}
	cpu, server, start := selfCPU(), c.serverCPU(), time.Now()
	release()
	if err := sched.wait(ctx, &sched.bound, warmUp+o.pods); err != nil {
		return r, err
	}
	r.Seconds = time.Since(start).Seconds()
	if err := pause(ctx, trailing); err != nil {
		return r, err
	}
	r.CPU, r.ServerCPU = selfCPU()-cpu, c.serverCPU()-server
	r.Away = int(sched.away.Load() - away)
	end()
	sched.stop()
	return r, c.clean(ctx, s)
}

// profile starts a CPU profile, if wanted.
func (c *schedulingCluster) profile(o schedulingOptions, s side) (end func(), err error) {
	if o.profiles == "" {
		return func() {}, nil
	}
	name := s.name + "-" + strconv.Itoa(c.nodes) + ".pprof"
	f, err := os.Create(filepath.Join(o.profiles, name))
	if err != nil {
		return nil, fmt.Errorf("write profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // an incomplete profile shows when it is read
	}, nil
}

// selfCPU returns the CPU seconds of this process, which runs the scheduler and, while it is measured, nothing else.
func selfCPU() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // the call cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func (c *schedulingCluster) serverCPU() float64 {
	var sum float64
	for _, u := range c.env.Usage() {
		sum += u.CPU.Seconds()
	}
	return sum
}
