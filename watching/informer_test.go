package watching

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/twinspace/twinspace/api/v1beta1"
)

// pods is a client whose API server answers as the functions do.
type pods struct {
	list  func() (*corev1.PodList, error)
	watch func(opts metav1.ListOptions) (watch.Interface, error)
}

func (p *pods) List(context.Context, metav1.ListOptions) (*corev1.PodList, error) { return p.list() }

func (p *pods) Watch(_ context.Context, opts metav1.ListOptions) (watch.Interface, error) {
	return p.watch(opts)
}

// informed is when an informer with a client has its first list. It must be called in a bubble.
func informed(t *testing.T, client *pods) time.Duration {
	t.Helper()
	begun := time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	informer := Informers("home")(Through(client, nil, nil), &corev1.Pod{}, 0, cache.Indexers{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		informer.RunWithContext(ctx)
	}()
	for !informer.HasSynced() && time.Since(begun) < time.Hour {
		time.Sleep(time.Second) //nolint:forbidigo // of a bubble
	}
	took := time.Since(begun)
	cancel()
	<-ended
	return took
}

func TestAnInformerAsksEveryFewSeconds(t *testing.T) {
	const absent = 10 * time.Minute
	synctest.Test(t, func(t *testing.T) {
		begun, last, longest := time.Now(), time.Now(), time.Duration(0)
		asked := func() error {
			longest, last = max(longest, time.Since(last)), time.Now()
			if time.Since(begun) < absent {
				return errNoConnection
			}
			return nil
		}
		took := informed(t, &pods{
			list: func() (*corev1.PodList, error) { return &corev1.PodList{}, asked() },
			watch: func(metav1.ListOptions) (watch.Interface, error) {
				if err := asked(); err != nil {
					return nil, err
				}
				w := watch.NewFakeWithChanSize(1, false)
				w.Action(watch.Bookmark, listed())
				return w, nil
			},
		})
		if took > absent+longestPause+time.Second || longest > longestPause {
			t.Errorf("it knew %s after the API server was there, and asked every %s", took-absent, longest)
		}
	})
}

// listed is the bookmark that follows a list which was streamed.
func listed() *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		ResourceVersion: "7", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"},
	}}
}

// Such as behind a proxy that does not pass streams on.
func TestAnInformerListsWhereListsAreNotStreamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		took := informed(t, &pods{
			list: func() (*corev1.PodList, error) {
				return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}}, nil
			},
			watch: func(metav1.ListOptions) (watch.Interface, error) {
				w := watch.NewFake()
				w.Stop()
				return w, nil
			},
		})
		if took > 10*time.Second {
			t.Errorf("it had its list after %s", took)
		}
	})
}

// As after a backup was restored: its resourceVersions begin anew.
func TestAnInformerForgetsAVersionThatNobodyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		took := informed(t, &pods{
			list: func() (*corev1.PodList, error) {
				if asked++; asked == 1 {
					return nil, tooLarge()
				}
				return &corev1.PodList{ListMeta: metav1.ListMeta{ResourceVersion: "7"}}, nil
			},
			watch: func(opts metav1.ListOptions) (watch.Interface, error) {
				if opts.SendInitialEvents != nil { // an older one, too
					return nil, apierrors.NewInvalid(schema.GroupKind{Kind: "ListOptions"}, "", nil)
				}
				return watch.NewFake(), nil
			},
		})
		if took > time.Minute {
			t.Errorf("it had its list after %s", took)
		}
	})
}

func TestWhatIsWatchedHasAName(t *testing.T) {
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	for want, object := range map[string]runtime.Object{"NamespaceMap": &v1beta1.NamespaceMap{}, "Namespace": meta} {
		if got := kindOf(object); got != want {
			t.Errorf("want %s, got %s", want, got)
		}
	}
}
