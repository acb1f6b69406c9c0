package env

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/twinspace/twinspace/e2e/build"
)

// aliased returns a playground of so many aliases, whose only provider has keys but does not run.
func aliased(t *testing.T, aliases int, objects ...client.Object) *Env {
	t.Helper()
	home := laid(t, Options{Providers: 1, Peer: true, Aliases: aliases})
	e := home.env
	away, err := e.newCluster(1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(away.configuration(), away.credentials()); err != nil {
		t.Fatal(err)
	}
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	away.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	e.clusters = append(e.clusters, away)
	return e
}

func TestGatewaysOfAliasesEndWithThePlayground(t *testing.T) {
	e := aliased(t, 3, build.Namespace("kube-system").UID("8d7e2a0c-98a6-4b62-9f0b-8ee63e1b9c03").Obj())
	var doors []string
	for _, a := range e.Aliases() {
		url, err := e.disguise(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		door := strings.TrimPrefix(url, "https://")
		conn, err := net.Dial("tcp", door)
		if err != nil {
			t.Errorf("the gateway of %s does not answer: %v", a.Name, err)
			continue
		}
		_ = conn.Close()
		doors = append(doors, door)
	}
	if slices.Sort(doors); len(slices.Compact(doors)) != 3 {
		t.Errorf("three aliases are at %v", doors)
	}
	e.undisguise()
	for _, door := range doors {
		if conn, err := net.Dial("tcp", door); err == nil {
			_ = conn.Close()
			t.Errorf("%s still answers", door)
		}
	}
	e.undisguise() // again is harmless
}

func TestAnAliasOfAClusterThatDoesNotAnswerHasNoGateway(t *testing.T) {
	e := aliased(t, 1)
	if url, err := e.disguise(t.Context(), e.Aliases()[0]); err == nil {
		t.Errorf("it is at %s", url)
	}
	if err := e.PeerAliases(t.Context()); err == nil || !strings.Contains(err.Error(), "alias-01") {
		t.Errorf("peered: %v", err)
	}
}

func TestAliasesAreBroughtUpAFewAtATime(t *testing.T) {
	e := aliased(t, 3*peersAtOnce)
	var (
		mu        sync.Mutex
		now, most int
		names     []string
	)
	err := e.eachAlias(t.Context(), func(_ context.Context, a Alias) error {
		mu.Lock()
		now++
		most = max(most, now)
		names = append(names, a.Name)
		mu.Unlock()
		defer func() {
			mu.Lock()
			now--
			mu.Unlock()
		}()
		return nil
	})
	if err != nil || most > peersAtOnce {
		t.Errorf("%d at a time, %v", most, err)
	}
	slices.Sort(names)
	if diff := cmp.Diff(e.opts.aliasNames(), names); diff != "" {
		t.Errorf("(-want,+got)\n%s", diff)
	}
	broken := errors.New("broken")
	err = e.eachAlias(t.Context(), func(ctx context.Context, a Alias) error {
		if a.Name == AliasName(2) {
			return broken
		}
		return ctx.Err()
	})
	if !errors.Is(err, broken) {
		t.Errorf("one failed, and all say %v", err)
	}
}
