package namespacemap

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// twinsOf is what the watch knows of the twins of home namespaces.
func twinsOf(t *testing.T, homes ...string) cache.Indexer {
	t.Helper()
	twins := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{})
	for _, home := range homes {
		twin := namespaceMeta(home + "-a")
		twin.Annotations = map[string]string{v1beta1.AnnotationTwinHomeName: home}
		if err := twins.Add(twin); err != nil {
			t.Fatal(err)
		}
	}
	return twins
}

func TestATwinIsLookedAtWhereARightIsMissing(t *testing.T) {
	many := make([]string, 600)
	for i := range many {
		many[i] = fmt.Sprint("home-", i)
	}
	for name, tc := range map[string]struct {
		homes []string
		pause time.Duration
	}{
		"one of few":  {pause: refusalPause},
		"one of many": {homes: many, pause: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := workqueue.NewTypedRateLimitingQueue(backoff[TwinKey]())
				defer q.ShutDown()
				var refused func(namespace string)
				agent := &Twins{OnRefusal: func(f func(string)) { refused = f }}
				twins := twinsOf(t, append(tc.homes, "shop", "bank")...)
				if err := agent.refusals(twins).Start(t.Context(), q); err != nil {
					t.Fatal(err)
				}
				expect := func(after time.Duration, namespace string, want ...string) {
					t.Helper()
					<-time.After(after)
					refused(namespace)
					if diff := cmp.Diff(want, drained(q, homeOfKey)); diff != "" {
						t.Errorf("%s, -want,+got:\n%s", namespace, diff)
					}
				}
				expect(0, "shop-a", "shop")
				expect(0, "bank-a", "bank")
				expect(0, "somebody's")
				expect(tc.pause-time.Second, "shop-a")
				expect(time.Minute, "shop-a", "shop")
			})
		})
	}
}
