package peering_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/peering"
	"github.com/twinspace/twinspace/reflection/remote"
)

// said gathers what a peering reports.
type said []string

func (s *said) report(sentence string) { *s = append(*s, sentence) }

func (s *said) has(t *testing.T, part string) {
	t.Helper()
	if !slices.ContainsFunc(*s, func(sentence string) bool { return strings.Contains(sentence, part) }) {
		t.Errorf("%q was not reported, only %q", part, *s)
	}
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1beta1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func connect(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c, err := client.New(config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// as returns a client that shows a token and nothing else.
func as(t *testing.T, config *rest.Config, token string) client.Client {
	t.Helper()
	config = rest.AnonymousClientConfig(config)
	config.BearerToken = token
	return connect(t, config)
}

// between returns a peering of two planes that is ready to be made.
func between(t *testing.T, home, away *env.Cluster, reports *said) *peering.Peering {
	t.Helper()
	return &peering.Peering{
		Home: connect(t, home.Config()), Away: connect(t, away.Config()), HomeID: home.Name, AwayID: away.Name,
		Endpoint: remote.Credential{Server: away.Server(), CA: away.Config().CAData},
		AsPeer: func(token string) (client.Client, error) {
			return as(t, away.Config(), token), nil
		},
		NodeName: away.Name, NodeLabels: map[string]string{"region": "eu"},
		TokenTTL: time.Hour, Report: reports.report,
	}
}

func peer(t *testing.T, p *peering.Peering) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Peer(ctx); err != nil {
		t.Fatal(err)
	}
}

// credential returns what the agent gets for the provider.
func credential(t *testing.T, p *peering.Peering) remote.Credential {
	t.Helper()
	secret := secretOf(t, p)
	got, err := remote.Parse(secret.Data[v1beta1.KubeconfigKey])
	if err != nil {
		t.Fatal(err)
	}
	return got
}
