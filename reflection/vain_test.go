package reflection

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// insisting is a harness whose provider takes patches of ConfigMaps and leaves them as they were, as an API server does
// whose defaults put back what the patch takes away.
func insisting(t *testing.T) *harness {
	t.Helper()
	h := newHarness(t)
	h.has(configMap("settings"))
	h.settle("configmaps", "settings")
	h.meddle(func(c client.Client) error { return edit(t.Context(), c, "settings", "default") })
	h.m.opts.Away.client = interceptor.NewClient(h.away, interceptor.Funcs{
		Patch: func(
			ctx context.Context, c client.WithWatch, o client.Object, _ client.Patch, _ ...client.PatchOption,
		) error {
			h.calls = append(h.calls, "patch "+o.GetName())
			calls := h.calls
			defer func() { h.calls = calls }()
			return c.Get(ctx, client.ObjectKeyFromObject(o), o)
		},
	})
	return h
}

// note has somebody write something on the copy that is not ours to decide.
func (h *harness) note(value string) {
	h.t.Helper()
	h.meddle(func(c client.Client) error {
		obj := copied(h, &corev1.ConfigMap{}, "settings")
		obj.Annotations["cloud.example/note"] = value
		return c.Update(h.t.Context(), obj)
	})
}

func TestWhatTheProviderInsistsOnIsAskedForOnce(t *testing.T) {
	h := insisting(t)
	h.settle("configmaps", "settings")
	h.expect("get settings", "patch settings")
	h.settle("configmaps", "settings")
	h.expect()
	for range 2 * maxRepairs { // the copy changes again and again, as a status does
		h.note(h.clock.Now().String())
		h.clock.Step(time.Second)
		h.settle("configmaps", "settings")
		h.expect("get settings")
	}
	if diff := cmp.Diff(map[string]string{}, h.reasons()); diff != "" {
		t.Errorf("a conflict with nobody, -want,+got:\n%s", diff)
	}
}

func TestWhatOthersDoToACopyOnWhichTheProviderInsistsIsUndone(t *testing.T) {
	h := insisting(t)
	h.settle("configmaps", "settings")
	h.meddle(func(c client.Client) error { return edit(t.Context(), c, "settings", "theirs") })
	h.settle("configmaps", "settings")
	h.expect("get settings", "patch settings")

	changed := configMap("settings")
	changed.Data["key"] = "new"
	h.has(changed)
	h.settle("configmaps", "settings")
	h.expect("get settings", "patch settings")
}
