package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
	"github.com/twinspace/twinspace/e2e/env"
	"github.com/twinspace/twinspace/peering"
	"github.com/twinspace/twinspace/reflection/remote"
)

// asAgent makes the test binary the agent.
const asAgent = "TWINSPACE_TEST_AS_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		os.Exit(program().Main())
	}
	os.Exit(m.Run())
}

const (
	// patience is long enough for anything that happens by itself, on a busy machine.
	patience = 2 * time.Minute
	// most is how many watches of an API server one agent may have open, however many namespaces are offloaded.
	most = 12
)

// watchSample is the number of watches of a resource, of one scope and version.
var watchSample = regexp.MustCompile(`^apiserver_longrunning_requests\{.*,resource="([^"]*)".*verb="WATCH".*\} (\d+)`)

// TestWatches runs the agent as a process, with the rights of a peering, and has both API servers count its watches.
func TestWatches(t *testing.T) {
	for name, c := range map[string]struct {
		scope v1beta1.WatchScope
		// each says what one more namespace adds to home and to the provider.
		home, away map[string]int
	}{
		"of single namespaces": {
			scope: v1beta1.WatchNamespaces,
			home: map[string]int{
				"services": 1, "endpointslices": 1, "configmaps": 1, "ingresses": 1, "persistentvolumeclaims": 1,
				"secrets": 1,
			},
			away: map[string]int{
				"services": 1, "endpointslices": 1, "configmaps": 1, "ingresses": 1, "persistentvolumeclaims": 1,
				"secrets": 1, "pods": 1, "events": 1,
			},
		},
		"of whole clusters": {
			scope: v1beta1.WatchCluster,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPeered(t, c.scope)
			w.offload(1, 10)
			homeBefore, awayBefore := w.settled(w.home), w.settled(w.away)
			w.offload(11, 20)
			home, away := w.settled(w.home), w.settled(w.away)
			t.Logf("of 20 namespaces, at home: %v; on the provider: %v", home, away)
			if diff := cmp.Diff(tenfold(c.home), less(home, homeBefore)); diff != "" {
				t.Errorf("ten more namespaces open at home (-want,+got):\n%s", diff)
			}
			if diff := cmp.Diff(tenfold(c.away), less(away, awayBefore)); diff != "" {
				t.Errorf("ten more namespaces open on the provider (-want,+got):\n%s", diff)
			}
			if n := total(home, c.home); n > most {
				t.Errorf("besides, %d are open at home: %v", n, home)
			}
			if n := total(away, c.away); n > most {
				t.Errorf("besides, %d are open on the provider: %v", n, away)
			}
		})
	}
}

// peered is two API servers with a peering and its agent.
type peered struct {
	*testing.T
	home, away *env.Cluster
	scope      v1beta1.WatchScope
	none       map[*env.Cluster]map[string]int // watches that were open before the agent
}

func newPeered(t *testing.T, scope v1beta1.WatchScope) *peered {
	t.Helper()
	w := unserved(t, scope)
	for _, c := range []*env.Cluster{w.home, w.away} {
		w.none[c] = w.settled(c)
	}
	w.replica("agent", "127.0.0.1", "--leader-elect=false")
	return w
}

// unserved is a peering that has no agent yet.
func unserved(t *testing.T, scope v1beta1.WatchScope) *peered {
	t.Helper()
	planes := env.Planes(t, 2)
	w := &peered{T: t, home: planes[0], away: planes[1], scope: scope, none: map[*env.Cluster]map[string]int{}}
	w.must(w.home.Apply(t.Context(), "base"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	away := w.away.Config()
	w.must((&peering.Peering{
		Home: w.home.Client(), Away: w.away.Client(), HomeID: w.home.Name, AwayID: w.away.Name,
		Endpoint: remote.Credential{Server: w.away.Server(), CA: away.CAData},
		AsPeer: func(token string) (client.Client, error) {
			config := rest.AnonymousClientConfig(away)
			config.BearerToken = token
			return client.New(config, client.Options{Scheme: w.away.Client().Scheme()})
		},
		NodeName: w.away.Name, WatchScope: scope, TokenTTL: time.Hour, Report: func(string) {},
	}).Peer(ctx))
	w.must(w.home.Client().Create(t.Context(), build.Map(w.away.Name).Obj()))
	return w
}

func (w *peered) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// offload does for namespaces what the controller-manager does, and waits for their twins.
func (w *peered) offload(from, to int) {
	w.Helper()
	key := client.ObjectKey{Namespace: v1beta1.TenantNamespace(w.away.Name), Name: w.away.Name}
	var m v1beta1.NamespaceMap
	w.must(w.home.Client().Get(w.Context(), key, &m))
	before := m.DeepCopy()
	if m.Spec.DesiredMapping == nil {
		m.Spec.DesiredMapping = map[string]string{}
	}
	for i := from; i <= to; i++ {
		name := fmt.Sprintf("team-%02d", i)
		m.Spec.DesiredMapping[name] = name + "-" + w.home.Name
		w.must(w.home.Client().Create(w.Context(), build.Namespace(name).Obj()))
		w.must(w.home.Client().Create(w.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "agent"},
			RoleRef: rbacv1.RoleRef{
				APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: v1beta1.OffloadedNamespaceRole,
			},
			Subjects: []rbacv1.Subject{{
				Kind: rbacv1.ServiceAccountKind, Name: v1beta1.AgentServiceAccount,
				Namespace: v1beta1.TenantNamespace(w.away.Name),
			}},
		}))
		w.must(w.home.Client().Create(w.Context(), &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: "settings"},
		}))
	}
	w.must(w.home.Client().Patch(w.Context(), &m, client.MergeFrom(before)))
	w.eventually("twins with what belongs into them", func(ctx context.Context) string {
		for i := from; i <= to; i++ {
			at := client.ObjectKey{Namespace: fmt.Sprintf("team-%02d-%s", i, w.home.Name), Name: "settings"}
			if err := w.away.Client().Get(ctx, at, &corev1.ConfigMap{}); err != nil {
				return err.Error()
			}
		}
		return ""
	})
}

func (w *peered) eventually(what string, wrong func(context.Context) string) {
	w.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(w.Context(), 250*time.Millisecond, patience, true,
		func(ctx context.Context) (bool, error) {
			last = wrong(ctx)
			return last == "", nil
		})
	if err != nil {
		w.Fatalf("%s: %s", what, last)
	}
}

// settled counts the agent's watches of an API server by resource, once none came or went for a while.
func (w *peered) settled(c *env.Cluster) map[string]int {
	w.Helper()
	var counted map[string]int
	calm := 0
	w.eventually("watches that settle", func(ctx context.Context) string {
		all, err := w.watches(ctx, c)
		if err != nil {
			return err.Error() // on a busy machine that takes long
		}
		now := less(all, w.none[c])
		if calm++; !maps.Equal(now, counted) {
			counted, calm = now, 0
		}
		if calm < 12 {
			return fmt.Sprint(now)
		}
		return ""
	})
	return counted
}

func (w *peered) watches(ctx context.Context, c *env.Cluster) (map[string]int, error) {
	w.Helper()
	text, err := c.Metrics(ctx, env.APIServer)
	if err != nil {
		return nil, err
	}
	out := map[string]int{}
	for line := range strings.Lines(text) {
		sample := watchSample.FindStringSubmatch(line)
		if sample == nil {
			continue
		}
		n, err := strconv.Atoi(sample[2])
		w.must(err)
		// In cluster scope they are watched where one is referred to, and for a minute to make sure that none is.
		if sample[1] != "secrets" || w.scope == v1beta1.WatchNamespaces {
			out[sample[1]] += n
		}
	}
	return out, nil
}

func less(a, b map[string]int) map[string]int {
	out := map[string]int{}
	for key := range a {
		if n := a[key] - b[key]; n != 0 {
			out[key] = n
		}
	}
	return out
}

func tenfold(each map[string]int) map[string]int {
	out := map[string]int{}
	for key, n := range each {
		out[key] = 10 * n
	}
	return out
}

// total counts the watches that do not grow with the namespaces.
func total(all, growing map[string]int) int {
	n := 0
	for _, key := range slices.Collect(maps.Keys(all)) {
		n += all[key] - 20*growing[key]
	}
	return n
}
