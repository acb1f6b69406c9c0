package reflection

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// identity asks a cluster in its own name, which the cluster may refuse.
type identity struct {
	client.WithWatch
	asked   atomic.Int32
	refused atomic.Bool
}

// IsWatchListSemanticsUnSupported says what fake clients say.
func (*identity) IsWatchListSemanticsUnSupported() bool { return true }

func identityOn(cluster client.WithWatch) *identity {
	id := &identity{}
	id.WithWatch = interceptor.NewClient(cluster, interceptor.Funcs{
		List: func(
			ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption,
		) error {
			id.asked.Add(1)
			if id.refused.Load() {
				return apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "", errors.New("no"))
			}
			return c.List(ctx, list, opts...)
		},
	})
	return id
}

func TestOneWatchServesSeveralIdentities(t *testing.T) {
	cluster := newWatchedCluster(t, plain("shop", "web"))
	milan, turin := identityOn(cluster), identityOn(cluster)
	shared := NewSources(SourceOptions{Client: cluster})
	asMilan, asTurin := shared.As(milan), shared.As(turin)
	a := asMilan.open(t.Context(), serviceSubject(), "shop", &heard{})
	completed(t, a)
	b := asTurin.open(t.Context(), serviceSubject(), "shop", &heard{})
	completed(t, b)
	cluster.expectWatches(t, "shop")
	if m, u := milan.asked.Load(), turin.asked.Load(); m != 1 || u != 0 {
		t.Errorf("asked %d times in the name of the first and %d of the second, want 1 and 0", m, u)
	}
	if asMilan.client != client.WithWatch(milan) || asTurin.client != client.WithWatch(turin) {
		t.Error("who asks for single objects does so in another name")
	}
	if !ended(asMilan.close(a)) || b.get("web") == nil {
		t.Error("what the second sees went with the first")
	}
	if !ended(asTurin.close(b)) {
		t.Error("the watch outlives the last")
	}
	cluster.expectWatches(t)
}

func TestWhomTheServerRefusesAnotherSpeaksFor(t *testing.T) {
	cluster := newWatchedCluster(t, plain("shop", "web"))
	milan, turin := identityOn(cluster), identityOn(cluster)
	milan.refused.Store(true)
	shared := NewSources(SourceOptions{Client: cluster})
	a := shared.As(milan).open(t.Context(), serviceSubject(), "shop", &heard{})
	b := shared.As(turin).open(t.Context(), serviceSubject(), "shop", &heard{})
	completed(t, a)
	completed(t, b)
	if a.get("web") == nil || turin.asked.Load() != 1 {
		t.Errorf("the second was asked %d times, want once, and the first to see it as well", turin.asked.Load())
	}
}

func TestInWhoseNameAWatchIsAsked(t *testing.T) {
	first, second := &identity{}, &identity{}
	shared := NewSources(SourceOptions{})
	milan, turin := shared.As(first), shared.As(second)
	src := newSource(shared, serviceSubject(), sourceKey{})
	viewOf := func(by *Sources, namespace string) *view { return &view{source: src, namespace: namespace, asker: by} }
	views := []*view{viewOf(milan, "shop"), viewOf(milan, "blog"), viewOf(turin, "shop")}
	for _, v := range views {
		src.add(v)
	}
	names := map[client.WithWatch]string{first: "milan", second: "turin", nil: "nobody"}
	var got []string
	ask := func(failed bool) { got = append(got, names[src.lent(failed)]) }
	ask(false)
	ask(false)
	ask(true) // it is the next one's turn
	ask(true) // and the first one's again
	src.remove(views[0])
	ask(false) // who still has a view
	src.remove(views[1])
	ask(false)
	src.remove(views[2])
	ask(false)
	want := []string{"milan", "milan", "turin", "milan", "milan", "turin", "nobody"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want,+got):\n%s", diff)
	}
}
