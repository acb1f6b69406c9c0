package namespacemap

import (
	"context"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
	"github.com/twinspace/twinspace/e2e/build"
)

// staleOffloadings is a cache that does not see what happens to an offloading.
type staleOffloadings struct {
	client.Client
	off *v1beta1.NamespaceOffloading
}

func (s staleOffloadings) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption,
) error {
	if off, ok := o.(*v1beta1.NamespaceOffloading); ok {
		s.off.DeepCopyInto(off)
		return nil
	}
	return s.Client.Get(ctx, key, o, opts...)
}

func TestAnOffloadingIsNeverSeenOlderThanWeWroteIt(t *testing.T) {
	h := newHome(t, shopWorld(build.Offloading("shop"))...)
	h.offloadings.Home = staleOffloadings{h.server, h.offloading(t, "shop")}
	for range 3 {
		result, err := h.offloadings.Reconcile(t.Context(), offloadingOf("shop"))
		if err != nil || result.RequeueAfter == retryConflict {
			t.Errorf("it lost a race against itself: %+v, %v", result, err)
		}
	}
	for _, id := range []string{"b", "c"} {
		answer(t, h, id, "shop", accepted("shop-a"))
	}
	h.mustOffload(t, "shop")
	if got := h.offloading(t, "shop").Status.OffloadingPhase; got != v1beta1.PhaseReady {
		t.Errorf("phase %s", got)
	}
	if got := h.statusWrites(); got != 2 {
		t.Errorf("%d writes of the status: %v", got, h.writes)
	}
}

func TestWhoseWriteIsOlder(t *testing.T) {
	at := func(version string) *v1beta1.NamespaceOffloading {
		off := build.Offloading("shop").Obj()
		off.ResourceVersion, off.UID = version, "uid-1"
		return off
	}
	reborn := at("10")
	reborn.UID = "uid-2"
	for name, test := range map[string]struct {
		cached *v1beta1.NamespaceOffloading
		want   string
	}{
		"the cache is behind":         {at("9"), "20"},
		"the cache caught up":         {at("20"), "20"},
		"the cache is ahead":          {at("100"), "100"},
		"the offloading is made anew": {reborn, "10"},
	} {
		t.Run(name, func(t *testing.T) {
			var w ownWrites
			w.wrote(at("20"))
			if got := w.current(test.cached).ResourceVersion; got != test.want {
				t.Errorf("version %s, want %s", got, test.want)
			}
			if _, kept := w.latest["shop"]; kept != (name == "the cache is behind") {
				t.Errorf("kept: %v", w.latest)
			}
			w.forget("shop")
			if len(w.latest) > 0 {
				t.Errorf("kept: %v", w.latest)
			}
		})
	}
}
