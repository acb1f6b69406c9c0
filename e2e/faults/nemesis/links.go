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
	return []Fault{
		{
			Name: "cut-10s", Does: "the link to a provider is cut for 10 s", Breaks: Link,
			Hold: 10 * time.Second, Bound: 15 * time.Second, Source: fromAcceptance, Inject: link("cut"),
		},
		{
			Name: "cut-60s", Does: "the link to a provider is cut for 60 s", Breaks: Link,
			Hold: time.Minute, Bound: 15 * time.Second, Source: fromAcceptance, Inject: link("cut"),
		},
		{
			Name: "cut-10m", Does: "the link to a provider is cut for 10 min: Kubernetes evicts", Breaks: Link,
			Hold: 10 * time.Minute, Bound: 90 * time.Second, Source: fromAcceptance, Long: true, Inject: link("cut"),
		},
		{
			Name: "black-hole", Does: "packets to and from a provider vanish for 60 s", Breaks: Link,
			Hold: time.Minute, Bound: time.Minute, Source: fromAcceptance, Inject: link("blackhole"),
		},
		{
			Name: "slow-200ms", Does: "every round trip to a provider takes 200 ms more", Breaks: Link,
			Hold: 30 * time.Second, Bound: 15 * time.Second, Source: fromUs, Inject: link("slow=200ms"),
		},
		{
			Name: "slow-2s", Does: "every round trip to a provider takes 2 s more", Breaks: Link,
			Hold: time.Minute, Bound: 15 * time.Second, Source: fromUs, Inject: link("slow=2s"),
		},
		{
			Name: "reset-5%", Does: "connections to a provider are reset at random", Breaks: Link,
			Hold: time.Minute, Bound: 30 * time.Second, Source: fromUs, Inject: link("reset=5%"),
		},
	}
}
