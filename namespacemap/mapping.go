package namespacemap

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
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
	var cached v1beta1.NamespaceMapList
	if err := home.List(ctx, &cached, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list namespace maps: %w", err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	byCluster := make(map[string]*v1beta1.NamespaceMap, len(cached.Items))
	for i := range cached.Items {
		m := &cached.Items[i]
		if m.Namespace == v1beta1.TenantNamespace(m.Name) {
			byCluster[m.Name] = v.newest(m)
		}
	}
	return byCluster, nil
}

// newest returns the later of the cached map and the answer to our last write, which it forgets once it is outdated.
func (v *mapView) newest(cached *v1beta1.NamespaceMap) *v1beta1.NamespaceMap {
	key := client.ObjectKeyFromObject(cached)
	written, ok := v.latest[key]
	if !ok {
		return cached
	}
	order, err := resourceversion.CompareResourceVersion(written.ResourceVersion, cached.ResourceVersion)
	if err == nil && order > 0 && written.UID == cached.UID {
		return written
	}
	delete(v.latest, key)
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
	if known, ok := v.latest[key]; ok {
		order, err := resourceversion.CompareResourceVersion(known.ResourceVersion, m.ResourceVersion)
		if err == nil && order > 0 && known.UID == m.UID {
			return
		}
	}
	v.latest[key] = m
}

// setDesired writes one key of a map, so that writers of different namespaces never fight; an empty twin removes it. It
// returns the map as it is now.
func setDesired(ctx context.Context, c client.Client, m client.ObjectKey, home, twin string,
) (*v1beta1.NamespaceMap, error) {
	var value any
	if twin != "" {
		value = twin
	}
	patch, err := keyPatch("spec", "desiredMapping", home, value)
	if err != nil {
		return nil, err
	}
	now := &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name}}
	if err := c.Patch(ctx, now, patch); err != nil {
		return nil, fmt.Errorf("patch key %s of namespace map %s: %w", home, m.Name, err)
	}
	return now, nil
}

// setEntry writes one key of a map's status; nil removes it.
func setEntry(ctx context.Context, c client.Client, m client.ObjectKey, home string, entry *v1beta1.TwinStatus) error {
	var value any
	if entry != nil {
		// Empty fields are written as null, or the merge would keep what was there.
		value = map[string]any{
			"remoteNamespace": entry.RemoteNamespace, "phase": entry.Phase,
			"reason": orNull(entry.Reason), "message": orNull(entry.Message),
		}
	}
	patch, err := keyPatch("status", "currentMapping", home, value)
	if err != nil {
		return err
	}
	now := &v1beta1.NamespaceMap{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: m.Name}}
	if err := c.Status().Patch(ctx, now, patch); err != nil {
		return fmt.Errorf("patch status %s of namespace map %s: %w", home, m.Name, err)
	}
	return nil
}

func keyPatch(section, mapping, key string, value any) (client.Patch, error) {
	data, err := json.Marshal(map[string]any{section: map[string]any{mapping: map[string]any{key: value}}})
	if err != nil {
		return nil, fmt.Errorf("encode key %s: %w", key, err)
	}
	return client.RawPatch(types.MergePatchType, data), nil
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
	var changed []string
	see := func(home string) {
		was, had := before.Status.CurrentMapping[home]
		is, has := after.Status.CurrentMapping[home]
		wanted, want := before.Spec.DesiredMapping[home], after.Spec.DesiredMapping[home]
		if had != has || was != is || wanted != want {
			changed = append(changed, home)
		}
	}
	seen := make(map[string]struct{}, len(after.Spec.DesiredMapping))
	for _, m := range []*v1beta1.NamespaceMap{after, before} {
		for home := range m.Spec.DesiredMapping {
			if _, ok := seen[home]; !ok {
				seen[home] = struct{}{}
				see(home)
			}
		}
		for home := range m.Status.CurrentMapping {
			if _, ok := seen[home]; !ok {
				seen[home] = struct{}{}
				see(home)
			}
		}
	}
	return changed
}
