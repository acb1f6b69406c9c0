package namespacemap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

var shopMap = client.ObjectKey{Namespace: tenantB, Name: "b"}

// patches is an API server that knows nothing but patches of maps, and answers when it is told to.
type patches struct {
	client.Client

	mu sync.Mutex
	// groups are the keys of every patch that arrived, stored the values of those that were accepted.
	groups [][]string
	stored map[string]string
	// refuse is asked before anything is stored.
	refuse func(keys []string) error
	// hold, if not nil, is waited for by every patch.
	hold chan struct{}
}

func (p *patches) Patch(ctx context.Context, o client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return p.patch(ctx, o, patch, "spec")
}

func (p *patches) Status() client.SubResourceWriter { return statusPatches{p: p} }

type statusPatches struct {
	client.SubResourceWriter
	p *patches
}

func (s statusPatches) Patch(ctx context.Context, o client.Object, patch client.Patch,
	_ ...client.SubResourcePatchOption) error {
	return s.p.patch(ctx, o, patch, "status")
}

func (p *patches) patch(ctx context.Context, o client.Object, patch client.Patch, section string) error {
	data, err := patch.Data(o)
	if err != nil {
		return err
	}
	var body map[string]json.RawMessage
	var mappings map[string]map[string]any
	if err := errors.Join(json.Unmarshal(data, &body), json.Unmarshal(body[section], &mappings)); err != nil {
		return err
	}
	values := map[string]string{}
	for _, mapping := range mappings {
		for key, value := range mapping {
			values[key] = fmt.Sprint(value)
		}
	}
	keys := slices.Sorted(maps.Keys(values))
	p.mu.Lock()
	p.groups = append(p.groups, keys)
	hold := p.hold
	p.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return p.store(o, keys, values)
}

func (p *patches) store(o client.Object, keys []string, values map[string]string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse != nil {
		if err := p.refuse(keys); err != nil {
			return err
		}
	}
	if p.stored == nil {
		p.stored = map[string]string{}
	}
	maps.Copy(p.stored, values)
	o.SetResourceVersion(fmt.Sprint(len(p.groups)))
	return nil
}

// writer writes one key and keeps what came of it.
type writer struct {
	cancel context.CancelFunc
	m      *v1beta1.NamespaceMap
	err    error
	done   bool
}

// start has somebody write a key, and returns when that waits for something.
func start(t *testing.T, g *groupCommit, p *patches, key string) *writer {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &writer{cancel: cancel}
	go func() {
		defer cancel()
		w.m, w.err = g.setDesired(ctx, p, shopMap, key, key+"-a")
		w.done = true
	}()
	synctest.Wait()
	return w
}

// answer lets all patches through that wait, and those that follow.
func (p *patches) answer() {
	p.mu.Lock()
	close(p.hold)
	p.hold = nil
	p.mu.Unlock()
	synctest.Wait()
}

func (p *patches) mustHaveSeen(t *testing.T, want ...[]string) {
	t.Helper()
	if diff := cmp.Diff(want, p.groups); diff != "" {
		t.Errorf("patches (-want,+got):\n%s", diff)
	}
}

func TestAKeyAloneIsWrittenAtOnce(t *testing.T) {
	g, p := &groupCommit{}, &patches{}
	for _, key := range []string{"shop", "bank"} {
		if _, err := g.setDesired(t.Context(), p, shopMap, key, "x"); err != nil {
			t.Fatal(err)
		}
	}
	p.mustHaveSeen(t, []string{"shop"}, []string{"bank"})
	if len(g.places) > 0 {
		t.Errorf("nobody writes, and yet it is remembered: %v", g.places)
	}
}

func TestKeysThatGatherGoInOnePatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := &groupCommit{}, &patches{hold: make(chan struct{})}
		writers := []*writer{start(t, g, p, "k0")}
		for _, key := range []string{"k1", "k2", "k3"} {
			writers = append(writers, start(t, g, p, key))
		}
		p.answer()
		p.mustHaveSeen(t, []string{"k0"}, []string{"k1", "k2", "k3"})
		for i, w := range writers {
			if !w.done || w.err != nil {
				t.Fatalf("writer %d: done %v, %v", i, w.done, w.err)
			}
			if want := []string{"1", "2", "2", "2"}[i]; w.m.ResourceVersion != want {
				t.Errorf("writer %d got version %s, want that of its own patch, %s", i, w.m.ResourceVersion, want)
			}
		}
	})
}

func TestOtherMapsAndTheOtherHalfDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := &groupCommit{}, &patches{hold: make(chan struct{})}
		start(t, g, p, "k0")
		other := client.ObjectKey{Namespace: "liqo-tenant-c", Name: "c"}
		go func() { _, _ = g.setDesired(t.Context(), p, other, "k1", "x") }()
		synctest.Wait()
		go func() { _, _ = g.setEntry(t.Context(), p, shopMap, "k2", accepted("x")) }()
		synctest.Wait()
		p.mustHaveSeen(t, []string{"k0"}, []string{"k1"}, []string{"k2"})
		p.answer()
	})
}

var mapKind = schema.GroupKind{Group: v1beta1.GroupVersion.Group, Kind: "NamespaceMap"}

func TestAKeyThatIsRefusedFailsNobodyElse(t *testing.T) {
	tooLarge := apierrors.NewInternalError(errors.New("etcdserver: request is too large"))
	for name, refusal := range map[string]error{
		"by validation":        apierrors.NewInvalid(mapKind, "b", nil),
		"by an admission rule": apierrors.NewForbidden(schema.GroupResource{}, "b", errors.New("no")),
		"by size, at the door": apierrors.NewRequestEntityTooLargeError("limit"),
		"by size, when stored": tooLarge,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g, p := &groupCommit{}, &patches{hold: make(chan struct{})}
				p.refuse = func(keys []string) error {
					if slices.Contains(keys, "poison") {
						return refusal
					}
					return nil
				}
				first := start(t, g, p, "k0")
				poison := start(t, g, p, "poison")
				others := []*writer{first, start(t, g, p, "k1"), start(t, g, p, "k2"), start(t, g, p, "k3")}
				p.answer()
				for i, w := range others {
					if !w.done || w.err != nil {
						t.Errorf("neighbour %d: done %v, %v", i, w.done, w.err)
					}
				}
				if !poison.done || !errors.Is(poison.err, refusal) {
					t.Errorf("the refused key: done %v, %v", poison.done, poison.err)
				}
				if _, stored := p.stored["k3"]; !stored || len(p.stored) != 4 {
					t.Errorf("stored %v", p.stored)
				}
			})
		})
	}
}

func TestAFailureThatSaysNothingOfAKeyIsEverybodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := &groupCommit{}, &patches{hold: make(chan struct{})}
		gone := apierrors.NewNotFound(schema.GroupResource{Resource: "namespacemaps"}, "b")
		p.refuse = func([]string) error { return gone }
		writers := []*writer{start(t, g, p, "k0"), start(t, g, p, "k1"), start(t, g, p, "k2")}
		p.answer()
		for i, w := range writers {
			if !apierrors.IsNotFound(w.err) {
				t.Errorf("writer %d: %v", i, w.err)
			}
		}
		p.mustHaveSeen(t, []string{"k0"}, []string{"k1", "k2"})
	})
}

func TestWhoWaitsNoLongerWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := &groupCommit{}, &patches{hold: make(chan struct{})}
		start(t, g, p, "k0")
		impatient, patient := start(t, g, p, "k1"), start(t, g, p, "k2")
		impatient.cancel()
		synctest.Wait()
		if !impatient.done || !errors.Is(impatient.err, context.Canceled) {
			t.Errorf("done %v, %v", impatient.done, impatient.err)
		}
		p.answer()
		p.mustHaveSeen(t, []string{"k0"}, []string{"k2"})
		if patient.err != nil {
			t.Error(patient.err)
		}
	})
}

func TestWhoIsStoppedWhileWritingForOthersFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := &groupCommit{}, &patches{hold: make(chan struct{})}
		first := start(t, g, p, "k0")
		leader, left, follower := start(t, g, p, "k1"), start(t, g, p, "k2"), start(t, g, p, "k3")
		first.cancel() // its patch never gets an answer; k1 writes for k2 and k3
		synctest.Wait()
		left.cancel() // though its key is on its way
		synctest.Wait()
		leader.cancel()
		synctest.Wait()
		p.mustHaveSeen(t, []string{"k0"}, []string{"k1", "k2", "k3"}, []string{"k3"})
		p.answer()
		for name, w := range map[string]*writer{"first": first, "leader": leader, "left": left} {
			if !w.done || !errors.Is(w.err, context.Canceled) {
				t.Errorf("%s: done %v, %v", name, w.done, w.err)
			}
		}
		if !follower.done || follower.err != nil || len(p.stored) != 1 {
			t.Errorf("follower: done %v, %v, stored %v", follower.done, follower.err, p.stored)
		}
	})
}

// TestATurnThatNobodyTakesIsPassedOn: the one whose turn it is may have stopped waiting in the same moment.
func TestATurnThatNobodyTakesIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, p := &groupCommit{}, &patches{hold: make(chan struct{})}
		start(t, g, p, "k0")
		at := place{shopMap, desiredHalf}
		chosen := &change{key: "k1", done: make(chan outcome, 1)}
		g.join(at, chosen)
		other := start(t, g, p, "k2")
		p.answer() // hands the turn to k1, which does not take it
		p.mustHaveSeen(t, []string{"k0"})
		g.leave(at, chosen)
		synctest.Wait()
		p.mustHaveSeen(t, []string{"k0"}, []string{"k2"})
		if !other.done || other.err != nil {
			t.Errorf("done %v, %v", other.done, other.err)
		}
	})
}

func TestManyWritersOfWhomSomeGiveUp(t *testing.T) {
	const writers = 200
	g, p := &groupCommit{}, &patches{}
	p.refuse = func(keys []string) error {
		if slices.ContainsFunc(keys, func(key string) bool { return strings.HasSuffix(key, "7") }) {
			return apierrors.NewBadRequest("no sevens")
		}
		return nil
	}
	results := make([]error, writers)
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if i%5 == 0 {
				go cancel()
			}
			_, results[i] = g.setDesired(ctx, p, shopMap, fmt.Sprintf("ns-%d", i), "x")
		})
	}
	all.Wait()
	for i, err := range results {
		key := fmt.Sprintf("ns-%d", i)
		switch _, stored := p.stored[key]; {
		case err == nil && !stored, i%10 == 7 && stored:
			t.Errorf("%s: stored %v, but the writer was told %v", key, stored, err)
		case err != nil && i%5 != 0 && i%10 != 7:
			t.Errorf("%s: %v", key, err)
		}
	}
	if len(g.places) > 0 {
		t.Errorf("all are done, and yet somebody's turn is kept: %v", g.places)
	}
}

func TestWhatMayBeHalved(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"success":                {nil, false},
		"no answer":              {errors.New("connection refused"), false},
		"a lost race":            {apierrors.NewConflict(schema.GroupResource{}, "b", errors.New("x")), false},
		"too many requests":      {apierrors.NewTooManyRequests("later", 1), false},
		"who are you":            {apierrors.NewUnauthorized("x"), false},
		"a broken server":        {apierrors.NewInternalError(errors.New("x")), false},
		"a value that is no map": {apierrors.NewBadRequest("x"), true},
		"wrapped, too": {
			fmt.Errorf("patch: %w", &apierrors.StatusError{ErrStatus: metav1.Status{Code: 422}}), true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := divisible(test.err); got != test.want {
				t.Errorf("divisible(%v) = %v", test.err, got)
			}
		})
	}
}
