package nemesis

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/twinspace/twinspace/e2e/env"
)

// serverFaults are those of API servers and what they keep their objects in.
func serverFaults() []Fault {
	// A home that starts again is away for longer than a leader may go on without it. So whoever leads gives up, starts
	// again with pauses of up to 10 s, waits for the lease of 15 s to run out, and reads everything anew.
	const down, bound, anew = 5 * time.Second, 30 * time.Second, 45 * time.Second
	var out []Fault
	for _, part := range []Part{HomeServer, ProviderServer} {
		where, _, _ := strings.Cut(string(part), " ")
		cluster := func(s *Scene) string {
			if part == HomeServer {
				return env.Consumer
			}
			return s.Provider
		}
		server := func(name, does string, hold time.Duration, inject Inject) Fault {
			f := Fault{Name: where + name, Does: does, Breaks: part, Hold: hold, Inject: inject}
			if part == HomeServer {
				return f.here(anew)
			}
			return f.here(bound)
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
			server("-history-forgotten",
				"the etcd of "+where+" is compacted and its API server restarted: all watches expire",
				0, func(ctx context.Context, s *Scene) (Heal, error) {
					err := s.Env.Compact(ctx, cluster(s))
					return nil, errors.Join(err, s.Env.Restart(ctx, cluster(s), env.APIServer))
				}),
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
