package namespacemap

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// inquiries counts what is asked of home's API server about offloadings.
type inquiries struct {
	client.Reader
	about int
}

func (i *inquiries) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, ok := o.(*v1beta1.NamespaceOffloading); ok {
		i.about++
	}
	return i.Reader.Get(ctx, key, o, opts...)
}

// TestASlowEndIsNotAskedAboutAgain: of thousands of twins that leave together, each is looked at many times.
func TestASlowEndIsNotAskedAboutAgain(t *testing.T) {
	twin := twinOf("uid-1").Obj()
	twin.Finalizers = []string{"example.com/hold"}
	a := newAgent(t, leaveShop(), twin)
	asked := &inquiries{Reader: a.Live}
	a.Live = asked
	for range 5 {
		a.mustVisit(t, "shop")
	}
	if asked.about != 1 {
		t.Errorf("home was asked %d times whether it requires the twin, want once, before it was deleted", asked.about)
	}
	there := get(t, a.away, "", "shop-a", &corev1.Namespace{})
	there.Finalizers = nil
	if err := a.away.Update(t.Context(), there); err != nil {
		t.Fatal(err)
	}
	a.mustVisit(t, "shop")
	if entry := a.entry(t); entry != nil || asked.about != 1 {
		t.Errorf("entry %+v after %d questions", entry, asked.about)
	}
}
