package nemesis

import (
	"context"
	"errors"
	"time"

	"github.com/twinspace/twinspace/e2e/env"
)

// serverFaults are those of API servers and what they keep their objects in.
func serverFaults() []Fault {
	const down, bound = 5 * time.Second, 30 * time.Second
	var out []Fault
	for where, part := range map[string]Part{"home": HomeServer, "provider": ProviderServer} {
		cluster := func(s *Scene) string {
			if part == HomeServer {
				return env.Consumer
			}
			return s.Provider
		}
		server := func(name, does string, hold time.Duration, inject Inject) Fault {
			return Fault{Name: where + name, Does: does, Breaks: part, Hold: hold, Inject: inject}.here(bound)
		}
		out = append(out,
			server("-server-restarted", "the API server of "+where+" is asked to end, and starts again", 0,
				func(ctx context.Context, s *Scene) (Heal, error) {
					return nil, s.Env.Restart(ctx, cluster(s), env.APIServer)
				}),
			server("-server-killed", "the API server of "+where+" is killed, and is gone for 5 s", down,
				killed(cluster, env.APIServer)),
			server("-etcd-killed", "the etcd of "+where+" is killed, and is gone for 5 s", down,
				killed(cluster, env.Etcd)),
		)
	}
	return out
}

// killed kills components; they start again, the last first, when it is over.
func killed(cluster func(*Scene) string, component string) Inject {
	return func(ctx context.Context, s *Scene) (Heal, error) {
		name := cluster(s)
		return func(ctx context.Context) error { return s.Env.Start(ctx, name, component) },
			s.Env.Kill(ctx, name, component)
	}
}

// processFaults are those of our own processes, and of the scheduler that has our plugin.
func processFaults() []Fault {
	const while, bound = 30 * time.Second, 30 * time.Second
	often := func(s *Scene) time.Duration {
		return time.Second + time.Duration(s.Rand.Int64N(int64(5*time.Second)))
	}
	return []Fault{
		Fault{
			Name: "agent-killed", Does: "agents of a provider are killed at random, again and again", Breaks: AgentProcess,
			Hold: while, Inject: crashing(often, func(s *Scene) []string { return replicas(s, env.AgentOf(s.Provider)) }),
		}.within(bound),
		Fault{
			Name: "manager-killed", Does: "controller-managers are killed at random, again and again",
			Breaks: ManagerProcess, Hold: while,
			Inject: crashing(often, func(s *Scene) []string { return replicas(s, env.Manager) }),
		}.here(bound),
		Fault{
			Name: "scheduler-killed", Does: "the scheduler is killed at random, again and again", Breaks: SchedulerPart,
			Hold: while, Inject: crashing(often, func(*Scene) []string { return []string{env.Scheduler} }),
		}.here(bound),
	}
}

// replicas returns the processes of a component of home: its name, and its name with a number.
func replicas(s *Scene, name string) []string {
	var out []string
	for _, p := range s.Env.Processes() {
		if p.Cluster == env.Consumer && (p.Component == name || isReplica(p.Component, name)) {
			out = append(out, p.Component)
		}
	}
	return out
}

// isReplica tells NAME-2 from other names that begin the same.
func isReplica(component, name string) bool {
	return len(component) == len(name)+2 && component[:len(name)+1] == name+"-"
}

// crashing kills one of the processes at a time and starts it again, all the while.
func crashing(every func(*Scene) time.Duration, of func(*Scene) []string) Inject {
	return func(ctx context.Context, s *Scene) (Heal, error) {
		stop, err := Repeat(ctx, func() time.Duration { return every(s) }, func(ctx context.Context) error {
			names := of(s)
			if len(names) == 0 {
				return errors.New("there is no process to kill")
			}
			name := names[s.Rand.IntN(len(names))]
			if err := s.Env.Kill(ctx, env.Consumer, name); err != nil {
				return err
			}
			return s.Env.Start(ctx, env.Consumer, name)
		})
		return func(ctx context.Context) error {
			var errs []error
			if stop != nil {
				errs = append(errs, stop(ctx))
			}
			for _, name := range of(s) {
				errs = append(errs, s.Env.Start(ctx, env.Consumer, name))
			}
			return errors.Join(errs...)
		}, err
	}
}
