package namespacemap

import (
	"context"
	"time"

	expiring "k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// refusalPause is how often a twin is looked at because of refusals. Those that last are not for want of our role
// binding, and of thousands of twins each is looked at less often, as with resyncPace.
const refusalPause = 10 * time.Second

// refusals enqueues twins in which the provider says that we lack a right: role bindings cannot be watched, and the
// next look may be more than a minute away.
func (t *Twins) refusals(twins cache.Indexer) source.TypedSource[TwinKey] {
	return source.TypedFunc[TwinKey](func(_ context.Context, q twinQueue) error {
		if t.OnRefusal == nil {
			return nil
		}
		looked := expiring.NewExpiring()
		t.OnRefusal(func(namespace string) {
			twin, _, _ := twins.GetByKey(namespace) // an indexer's store does not fail
			home := homeOf(twin)
			if _, lately := looked.Get(home); lately || home == "" {
				return
			}
			looked.Set(home, nil, spread(refusalPause, len(twins.ListKeys())))
			q.Add(TwinKey{Home: home})
		})
		return nil
	})
}
