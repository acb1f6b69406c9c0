package workload

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/e2e/env"
)

// How long users work in the test, and how long what they asked for may take then.
const (
	working = 45 * time.Second
	settled = 8 * time.Minute
)

// Without any fault, users of real clusters get all that they ask for, and nothing is left of what they took back.
func TestUsersOfAQuietSystemGetWhatTheyAskFor(t *testing.T) {
	if testing.Short() {
		t.Skip("three clusters")
	}
	e := env.Start(t, env.Options{Providers: 2, Nodes: 3, Peer: true})
	user, err := User(t.Context(), e.Consumer())
	if err != nil {
		t.Fatal(err)
	}
	away := map[string]client.Client{}
	var names []string
	for _, p := range e.Providers() {
		away[p.Name] = p.Client()
		names = append(names, p.Name)
	}
	w := New(Options{Seed: 7, Home: user, Providers: names})
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer stop()
	others.Go(func() { w.Run(ctx) })
	// On a machine that is busy a leader can lose its lease, and ends.
	others.Go(func() { e.Keep(ctx, func(r env.Restarted) { t.Logf("started again: %+v", r) }) })
	for range 2 {
		quiet(t, w, user, away)
	}
	busy := func(ns ExpectedNamespace) bool { return len(ns.Apps) > 1 }
	if got := w.Expect(); !slices.ContainsFunc(got.Namespaces, busy) {
		t.Errorf("nothing much was asked for: %+v", got)
	}
}

// quiet lets users work for a while, and then waits for everything that they asked for.
func quiet(t *testing.T, w *Workload, user client.Client, away map[string]client.Client) {
	t.Helper()
	w.Resume()
	select {
	case <-t.Context().Done():
	case <-time.After(working):
	}
	resting, cancel := context.WithTimeout(t.Context(), settled)
	defer cancel()
	if err := w.Rest(resting); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	unmet := []string{"nobody has looked yet"}
	err := wait.PollUntilContextCancel(resting, time.Second, true, func(ctx context.Context) (bool, error) {
		seen, err := Look(ctx, user, away)
		if err == nil {
			unmet = w.Expect().Unmet(seen)
		}
		return err == nil && len(unmet) == 0, nil
	})
	t.Logf("after %d steps everything was as expected in %s", w.Steps(), time.Since(began).Round(time.Second))
	if err != nil {
		t.Fatalf("%v:\n%s", err, strings.Join(unmet, "\n"))
	}
}
