package nemesis

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/env"
)

// processFaults are those of our own processes, and of the scheduler that has our plugin. What is killed starts again
// by itself, as it does under a kubelet.
func processFaults() []Fault {
	const while, steps, bound = 30 * time.Second, 60 * time.Second, 30 * time.Second
	killed := func(name, does string, breaks Part, of func(*Scene) []string) Fault {
		return Fault{Name: name, Does: does, Breaks: breaks, Hold: while, Inject: crashing(of)}.within(bound)
	}
	return []Fault{
		killed("agent-killed", "the agents of a provider are killed at random, again and again", AgentProcess, agents),
		killed("manager-killed", "the controller-managers are killed at random, again and again",
			ManagerProcess, managers),
		killed("scheduler-killed", "the scheduler is killed at random, again and again", SchedulerPart, schedulers),
		Fault{
			Name: "agent-killed-at-steps", Does: "the agents of a provider die at named steps between requests",
			Breaks: AgentProcess, Hold: steps, Inject: dyingAt(agents, agentSteps()),
		}.within(bound).needs(HomeServer),
		Fault{
			Name: "manager-killed-at-steps", Does: "the controller-managers die at named steps between requests",
			Breaks: ManagerProcess, Hold: steps, Inject: dyingAt(managers, managerSteps()),
		}.within(bound).needs(HomeServer),
		Fault{
			Name: "scheduler-killed-at-steps", Does: "the scheduler dies at named steps around the binding of a pod",
			Breaks: SchedulerPart, Hold: steps, Inject: dyingAt(schedulers, schedulerSteps()),
		}.within(bound).needs(HomeServer),
		Fault{
			Name:   "leader-stopped",
			Does:   "the leading agent is stopped, another takes over within 20 s; then it goes on",
			Breaks: AgentProcess, Hold: 10 * time.Second, Inject: stopped,
		}.here(bound).needs(HomeServer, HomeLink, Link),
		Fault{
			Name: "clock-wrong", Does: "the agent that leads has a clock that is 10 min fast, and then another leads",
			Breaks: AgentProcess, Hold: while, Inject: wrongClock,
		}.here(bound).needs(HomeServer, HomeLink, Link),
	}
}

func agents(s *Scene) []string   { return s.Env.Replicas(env.AgentOf(s.Provider)) }
func managers(s *Scene) []string { return s.Env.Replicas(env.Manager) }
func schedulers(*Scene) []string { return []string{env.Scheduler} }

// kill ends one of the processes at home that are kept running.
func (s *Scene) kill(names ...string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, s.Env.Signal(env.Consumer, name, syscall.SIGKILL))
	}
	return errors.Join(errs...)
}

// started waits until the processes run and are ready. One that was killed a moment ago may be on its way out still.
func (s *Scene) started(ctx context.Context, names ...string) error {
	var errs []error
	for _, name := range names {
		errs = append(errs, until(ctx, name+" runs", func(ctx context.Context) (bool, error) {
			err := s.Env.Start(ctx, env.Consumer, name)
			return err == nil, err
		}))
	}
	return errors.Join(errs...)
}

// crashing kills one of the processes at a time, all the while.
func crashing(of func(*Scene) []string) Inject {
	return func(ctx context.Context, s *Scene) (Heal, error) {
		every := func() time.Duration { return time.Second + time.Duration(s.Rand.Int64N(int64(5*time.Second))) }
		stop, err := Repeat(ctx, every, func(context.Context) error {
			names := of(s)
			return s.kill(names[s.Rand.IntN(len(names))])
		})
		return func(ctx context.Context) error { return errors.Join(stop.do(ctx), s.started(ctx, of(s)...)) }, err
	}
}

// failpoints is the environment variable that builds of make build-faults read.
const failpoints = "TWINSPACE_FAILPOINTS"

// agentSteps are the steps between a home pod and its remote pod, and back.
func agentSteps() []string {
	return []string{
		"remote-pod-created", "remote-pod-written", "remote-pod-deleted", "home-pod-status-written", "home-pod-deleted",
		"remote-namespace-created", "remote-rolebinding-created", "home-namespacemap-status",
		"remote-configmap-written", "remote-endpointslice-written", "home-node-status-written",
		"home-credential-stored",
	}
}

// managerSteps are the steps between a NamespaceOffloading and what agents are asked for, and back.
func managerSteps() []string {
	return []string{
		"home-offloading-written", "home-offloading-status", "home-namespacemap-written", "home-namespace-labelled",
		"home-rolebinding-created",
	}
}

// schedulerSteps are the steps by which a pod gets the toleration of virtual nodes, and a node.
func schedulerSteps() []string { return []string{"home-pod-patched", "home-pod-bound"} }

// dyingAt makes processes die at one step after the other, while there is something to do for them.
func dyingAt(of func(*Scene) []string, steps []string) Inject {
	return func(ctx context.Context, s *Scene) (Heal, error) {
		arm := func(fault string) error {
			var errs []error
			for _, name := range of(s) {
				errs = append(errs, s.Env.SetEnviron(env.Consumer, name, []string{failpoints + "=" + fault}))
			}
			return errors.Join(append(errs, s.kill(of(s)...))...)
		}
		stop, err := Repeat(ctx, func() time.Duration { return 20 * time.Second }, func(ctx context.Context) error {
			when := []string{"before", "after"}[s.Rand.IntN(2)]
			fault := fmt.Sprintf("%s-%s=kill,skip:%d", when, steps[s.Rand.IntN(len(steps))], s.Rand.IntN(4))
			s.Say("dying at %s", fault)
			return errors.Join(arm(fault), replacePods(ctx, s))
		})
		return func(ctx context.Context) error {
			return errors.Join(stop.do(ctx), arm(""), s.started(ctx, of(s)...))
		}, err
	}
}

// leads returns which of a provider's agents serves its node: each replica has an address of its own.
func leads(ctx context.Context, s *Scene) (string, *corev1.Node, error) {
	var node corev1.Node
	if err := atHome(s).Get(ctx, client.ObjectKey{Name: s.Provider}, &node); err != nil {
		return "", nil, fmt.Errorf("read node: %w", err)
	}
	for _, address := range node.Status.Addresses {
		if address.Type != corev1.NodeInternalIP {
			continue
		}
		last := address.Address[strings.LastIndex(address.Address, ".")+1:]
		for k, name := range agents(s) {
			if fmt.Sprint(k+1) == last {
				return name, &node, nil
			}
		}
	}
	return "", &node, errors.New("the node's address is none of its agents'")
}

// takeover is how soon a standby must lead.
const takeover = 20 * time.Second

// tookOver waits until another than the given agent leads. The node must stay ready meanwhile.
func tookOver(ctx context.Context, s *Scene, from string) error {
	began := s.Clock.Now()
	err := until(ctx, "another agent leads", func(ctx context.Context) (bool, error) {
		now, node, err := leads(ctx, s)
		if err == nil && !nodeReady(node) {
			s.Break("node %s was not ready while another agent took over", node.Name)
		}
		return now != from, err
	})
	if took := s.Clock.Since(began); err == nil && took > takeover {
		s.Break("the standby took over after %s, not within %s", round(took), takeover)
	} else if err == nil {
		s.Say("the standby took over after %s", round(took))
	}
	return err
}

func nodeReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// stopped stops the leader past its lease.
func stopped(ctx context.Context, s *Scene) (Heal, error) {
	leader, _, err := leads(ctx, s)
	if err != nil {
		return nil, err
	}
	heal := func(context.Context) error { return s.Env.Signal(env.Consumer, leader, syscall.SIGCONT) }
	if err := s.Env.Signal(env.Consumer, leader, syscall.SIGSTOP); err != nil {
		return heal, err
	}
	return heal, tookOver(ctx, s, leader)
}

// wrongClock starts the standby with a wrong clock and has it take over.
func wrongClock(ctx context.Context, s *Scene) (Heal, error) {
	leader, _, err := leads(ctx, s)
	if err != nil {
		return nil, err
	}
	standby := agents(s)[0]
	if standby == leader {
		standby = agents(s)[1]
	}
	heal := func(ctx context.Context) error {
		err := s.Env.SetEnviron(env.Consumer, standby, nil)
		return errors.Join(err, s.kill(standby), s.started(ctx, agents(s)...))
	}
	if err := errors.Join(
		s.Env.SetEnviron(env.Consumer, standby, []string{failpoints + "=clock=+10m"}),
		s.kill(standby), s.started(ctx, standby),
		s.Env.Kill(ctx, env.Consumer, leader), // stays down until it is started
	); err != nil {
		return heal, err
	}
	return heal, errors.Join(tookOver(ctx, s, leader), s.started(ctx, leader))
}
