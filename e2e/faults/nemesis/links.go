package nemesis

import (
	"context"
	"time"

	"github.com/twinspace/twinspace/e2e/env"
)

// link makes the provider's link do something for a while.
func link(mode string) Inject {
	return func(ctx context.Context, s *Scene) (Heal, error) { return setLink(ctx, s, s.Provider, mode) }
}

// homeLink makes home's link do something for a while.
func homeLink(mode string) Inject {
	return func(ctx context.Context, s *Scene) (Heal, error) { return setLink(ctx, s, env.Consumer, mode) }
}

func setLink(ctx context.Context, s *Scene, cluster, text string) (Heal, error) {
	mode, err := env.ParseMode(text)
	if err != nil {
		return nil, err
	}
	heal := func(ctx context.Context) error { return s.Env.SetLink(ctx, cluster, env.Mode{Kind: env.Heal}) }
	return heal, s.Env.SetLink(ctx, cluster, mode)
}

// Where bounds are from.
const (
	fromAcceptance = "acceptance.md"
	fromUs         = "set here"
)

// linkFaults are those of the networks between clusters.
func linkFaults() []Fault {
	const breath, minute = 30 * time.Second, time.Minute
	return []Fault{
		Fault{
			Name: "cut-10s", Does: "the link to a provider is cut for 10 s, and nobody notices", Breaks: Link,
			Hold: 10 * time.Second, Inject: cutting(false),
		}.within(15 * time.Second),
		Fault{
			Name: "cut-60s", Does: "the link to a provider is cut for 60 s; its node says so, and nothing is evicted",
			Breaks: Link, Hold: minute, Inject: cutting(true),
		}.within(15 * time.Second),
		away("cut-10m", "the link to a provider is cut for 10 min, and Kubernetes evicts", "cut", 10*minute).
			within(90 * time.Second).long(),
		Fault{
			Name: "black-hole", Does: "packets to and from a provider vanish for 60 s; nobody waits longer than 45 s",
			Breaks: Link, Hold: minute, Inject: vanishing,
		}.within(minute),
		away("slow-200ms", "each round trip to a provider takes 200 ms more", "slow=200ms", breath).
			here(breath),
		away("slow-2s", "each round trip to a provider takes 2 s more", "slow=2s", minute).here(30 * time.Second),
		away("reset-5%", "5 % of what a provider's link carries ends its connection", "reset=5%", breath).here(breath),
		away("throttle-20", "a provider answers 429 beyond 20 requests a second", "throttle=20", breath).here(breath),
		away("unheard-creates", "a provider creates half of the pods, and the answers are lost",
			"commitcut=create pods:50%", breath).here(breath),
		away("unheard-deletes", "a provider deletes half of the pods, and the answers are lost",
			"commitcut=delete pods:50%", breath).here(breath),
		away("unheard-twins", "a provider creates half of the twins, and the answers are lost",
			"commitcut=create namespaces:50%", breath).here(breath),
		away("unheard-writes", "a provider does a tenth of all writes, and the answers are lost",
			"commitcut=* *:10%", breath).here(breath),
		home("unheard-status", "home takes half of the pods' statuses, and the answers are lost",
			"commitcut=* pods/status:50%", breath),
		home("home-unheard-writes", "home does a tenth of all writes of ours, and the answers are lost",
			"commitcut=* *:10%", breath),
		home("home-reset-5%", "5 % of what home's link carries ends its connection", "reset=5%", breath),
		home("home-throttle-20", "home answers 429 beyond 20 requests a second of each of ours", "throttle=20", breath),
		home("home-cut-10s", "all of ours lose home for 10 s", "cut", 10*time.Second),
		home("home-slow-200ms", "each round trip to home takes 200 ms more", "slow=200ms", breath),
	}
}

// away is a fault of the link to a provider.
func away(name, does, mode string, hold time.Duration) Fault {
	return Fault{Name: name, Does: does, Breaks: Link, Hold: hold, Inject: link(mode)}
}

// home is a fault of the link between our components and home.
func home(name, does, mode string, hold time.Duration) Fault {
	return Fault{Name: name, Does: does, Breaks: HomeLink, Hold: hold, Inject: homeLink(mode)}.here(30 * time.Second)
}

// within sets a bound that docs/acceptance.md has.
func (f Fault) within(bound time.Duration) Fault {
	f.Bound, f.Source = bound, fromAcceptance
	return f
}

// here sets a bound that is set here.
func (f Fault) here(bound time.Duration) Fault {
	f.Bound, f.Source = bound, fromUs
	return f
}

func (f Fault) long() Fault {
	f.Long = true
	return f
}

// needs says what must work.
func (f Fault) needs(parts ...Part) Fault {
	f.Needs = parts
	return f
}
