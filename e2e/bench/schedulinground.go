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

// play lets a scheduler schedule pods. It calls start when what is to be measured begins, and returns when the last pod
// is bound.
type play func(ctx context.Context, run *schedulerRun, s side, o schedulingOptions, start func() error) error

// round schedules the pods of one side with a scheduler of its own.
func (c *schedulingCluster) round(ctx context.Context, s side, o schedulingOptions, play play) (
	r schedulingRound, err error,
) {
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
	away := sched.away.Load()
	var begun time.Time
	end := func() {}
	err = play(ctx, sched, s, o, func() (err error) {
		runtime.GC() // of what was needed to create pods
		if end, err = c.profile(o, s); err != nil {
			return err
		}
		r.CPU, r.ServerCPU, begun = selfCPU(), c.serverCPU(), time.Now()
		return nil
	})
	if err != nil {
		return r, err
	}
	r.Seconds = time.Since(begun).Seconds()
	if err := pause(ctx, trailing); err != nil {
		return r, err
	}
	r.CPU, r.ServerCPU = selfCPU()-r.CPU, c.serverCPU()-r.ServerCPU
	r.Away = int(sched.away.Load() - away)
	end()
	sched.stop()
	return r, c.clean(ctx, s)
}

// backlog holds the scheduler back until all pods exist, so that what is measured is how fast it can be.
func (c *schedulingCluster) backlog(
	ctx context.Context, run *schedulerRun, s side, o schedulingOptions, start func() error,
) error {
	release := run.hold()
	defer release()
	if err := c.pods(ctx, s, "pod", o.pods); err != nil {
		return err
	}
	if err := run.wait(ctx, &run.seen, warmUp+o.pods); err != nil {
		return err
	}
	if err := start(); err != nil {
		return err
	}
	release()
	return run.wait(ctx, &run.bound, warmUp+o.pods)
}

// steady lets pods come more slowly than they could be scheduled.
func (c *schedulingCluster) steady(
	ctx context.Context, run *schedulerRun, s side, o schedulingOptions, start func() error,
) error {
	if err := start(); err != nil {
		return err
	}
	if err := c.stream(ctx, s, "pod", o); err != nil {
		return err
	}
	return run.wait(ctx, &run.bound, warmUp+o.pods)
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
