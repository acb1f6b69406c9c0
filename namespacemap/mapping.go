package namespacemap

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// mapView reads the NamespaceMaps of all providers without copying them (each may hold thousands of namespaces), and
// never older than this process' own last write, so that a reconcile which follows close on another one neither repeats
// its write nor takes a namespace for forgotten. The maps it returns must not be changed.
type mapView struct {
	mu     sync.Mutex
	latest map[types.NamespacedName]*v1beta1.NamespaceMap
}

// list returns the maps by cluster id.
func (v *mapView) list(ctx context.Context, home client.Reader) (map[string]*v1beta1.NamespaceMap, error) {
	written := v.written()
	var cached v1beta1.NamespaceMapList
	if err := home.List(ctx, &cached, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list namespace maps: %w", err)
	}
	byCluster := make(map[string]*v1beta1.NamespaceMap, len(cached.Items))
	for i := range cached.Items {
		m := &cached.Items[i]
		if m.Namespace == v1beta1.TenantNamespace(m.Name) {
			byCluster[m.Name] = v.newest(m, written[client.ObjectKeyFromObject(m)])
		}
	}
	return byCluster, nil
}

// get returns one map.
func (v *mapView) get(ctx context.Context, home client.Reader, key client.ObjectKey) (*v1beta1.NamespaceMap, error) {
	written := v.written()
	m := &v1beta1.NamespaceMap{}
	if err := home.Get(ctx, key, m, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("get namespace map %s: %w", key.Name, err)
	}
	return v.newest(m, written[key]), nil
}

// written returns our last writes. They are looked up before the cache is read: what is forgotten by then, the cache
// has. The other way round, it may be forgotten after a read that was too early to see it.
func (v *mapView) written() map[types.NamespacedName]*v1beta1.NamespaceMap {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.latest)
}

// newest returns the later of a map from the cache and the answer to our last write, if there was one. It forgets that
// answer once it is outdated.
func (v *mapView) newest(cached, written *v1beta1.NamespaceMap) *v1beta1.NamespaceMap {
	if written == nil {
		return cached
	}
	if newer(written, cached) {
		return written
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if key := client.ObjectKeyFromObject(cached); v.latest[key] == written {
		delete(v.latest, key)
	}
	return cached
}

// wrote remembers the answer to a write.
func (v *mapView) wrote(m *v1beta1.NamespaceMap) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.latest == nil {
		v.latest = map[types.NamespacedName]*v1beta1.NamespaceMap{}
	}
	key := client.ObjectKeyFromObject(m)
	if known, ok := v.latest[key]; ok && newer(known, m) {
		return
	}
	v.latest[key] = m
}

// setDesired writes one key of a map; an empty twin removes it. It returns the map as it is now.
func (g *groupCommit) setDesired(ctx context.Context, c client.Client, m client.ObjectKey, home, twin string,
) (*v1beta1.NamespaceMap, error) {
	var value any
	if twin != "" {
		value = twin
	}
	return g.write(ctx, c, place{m, desiredHalf}, home, value)
}

// setEntry writes one key of a map's status; nil removes it. It returns the map as it is now.
func (g *groupCommit) setEntry(ctx context.Context, c client.Client, m client.ObjectKey, home string,
	entry *v1beta1.TwinStatus,
) (*v1beta1.NamespaceMap, error) {
	var value any
	if entry != nil {
		// Empty fields are written as null, or the merge would keep what was there.
		value = map[string]any{
			"remoteNamespace": entry.RemoteNamespace, "phase": entry.Phase,
			"reason": orNull(entry.Reason), "message": orNull(entry.Message),
		}
	}
	return g.write(ctx, c, place{m, currentHalf}, home, value)
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// entryOf returns what the agent answered for a namespace, nil while it did not.
func entryOf(m *v1beta1.NamespaceMap, home string) *v1beta1.TwinStatus {
	if m == nil {
		return nil
	}
	if entry, ok := m.Status.CurrentMapping[home]; ok {
		return &entry
	}
	return nil
}

// changedKeys returns the home namespaces for which two states of a map differ; either may be nil.
func changedKeys(before, after *v1beta1.NamespaceMap) []string {
	if before == nil {
		before = &v1beta1.NamespaceMap{}
	}
	if after == nil {
		after = &v1beta1.NamespaceMap{}
	}
	changed := sets.New[string]() // of the thousands that there are, few
	differences(changed, before.Spec.DesiredMapping, after.Spec.DesiredMapping)
	differences(changed, before.Status.CurrentMapping, after.Status.CurrentMapping)
	return slices.Collect(maps.Keys(changed))
}

func differences[V comparable](changed sets.Set[string], before, after map[string]V) {
	for key, is := range after {
		if was, had := before[key]; !had || was != is {
			changed.Insert(key)
		}
	}
	for key := range before {
		if _, has := after[key]; !has {
			changed.Insert(key)
		}
	}
}
